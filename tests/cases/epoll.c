/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Epoll: entries with their events and data, also edge-triggered, used-up oneshot and nested ones,
 * and those whose number has been closed or now means another file.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "tests/lib/case.h"

static int ep, inner, ev[6];
static struct epoll_event got[10];

static void add(int epfd, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event e = { .events = events, .data.u64 = data };

	CHECK_CALL(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &e));
}

static void fire(int fd)
{
	CHECK(write(fd, &(uint64_t){ 1 }, 8) == 8);
}

static void setup(void)
{
	ep = CHECK_CALL(epoll_create1(EPOLL_CLOEXEC));
	inner = CHECK_CALL(epoll_create1(0));
	for (int i = 0; i < 6; i++)
		ev[i] = CHECK_CALL(eventfd(0, EFD_NONBLOCK));
	add(ep, ev[0], EPOLLIN, 0x123456789abcdef0);
	add(ep, ev[1], EPOLLIN | EPOLLET, 1);
	add(ep, ev[2], EPOLLIN | EPOLLONESHOT, 2);
	add(inner, ev[3], EPOLLIN, 3);
	add(ep, inner, EPOLLIN, 30);
	/* Used up: no event until it is armed again. */
	fire(ev[2]);
	CHECK_INT(epoll_wait(ep, got, 10, 0), 1);
	CHECK_INT(got[0].data.u64, 2);
}

static void check(void)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLONESHOT, .data.u64 = 22 };

	CHECK_INT(epoll_wait(ep, got, 10, 0), 0);
	CHECK_CALL(epoll_ctl(ep, EPOLL_CTL_MOD, ev[2], &e));
	CHECK_INT(epoll_wait(ep, got, 10, 0), 1);
	CHECK_INT(got[0].data.u64, 22);
	fire(ev[0]);
	CHECK_INT(epoll_wait(ep, got, 10, 0), 1);
	CHECK(got[0].data.u64 == 0x123456789abcdef0 && got[0].events == EPOLLIN);
	CHECK_INT(epoll_wait(ep, got, 10, 0), 1);
	CHECK(read(ev[0], &(uint64_t){ 0 }, 8) == 8);
	fire(ev[1]);
	CHECK_INT(epoll_wait(ep, got, 10, 0), 1);
	CHECK_INT(got[0].data.u64, 1);
	CHECK_INT(epoll_wait(ep, got, 10, 0), 0);
	fire(ev[3]);
	CHECK_INT(epoll_wait(ep, got, 10, 0), 1);
	CHECK_INT(got[0].data.u64, 30);
	CHECK_INT(epoll_wait(inner, got, 10, 0), 1);
	CHECK_INT(got[0].data.u64, 3);
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, ev[0], &e) < 0 && errno == EEXIST);
	CHECK(epoll_ctl(ep, EPOLL_CTL_DEL, ev[4], &e) < 0 && errno == ENOENT);
	CHECK_CALL(epoll_ctl(ep, EPOLL_CTL_DEL, ev[0], NULL));
}

static int kept, reused;

/* An entry belongs to a description: closing the number that it was added by does not remove it. */
static void setup_closed(void)
{
	ep = CHECK_CALL(epoll_create1(0));
	ev[0] = CHECK_CALL(eventfd(0, 0));
	ev[1] = CHECK_CALL(eventfd(0, 0));
	kept = CHECK_CALL(dup(ev[0]));
	reused = CHECK_CALL(dup(ev[1]));
	add(ep, ev[0], EPOLLIN, 10);
	add(ep, ev[1], EPOLLIN, 11);
	close(ev[0]);
	close(ev[1]);
	CHECK_INT(open("/dev/null", O_RDONLY), ev[0]);
}

static void check_closed(void)
{
	CHECK_INT(epoll_wait(ep, got, 10, 0), 0);
	fire(kept);
	fire(reused);
	CHECK_INT(epoll_wait(ep, got, 10, 0), 2);
	CHECK_INT(got[0].data.u64 + got[1].data.u64, 21);
	CHECK(read(kept, &(uint64_t){ 0 }, 8) == 8);
	CHECK_INT(epoll_wait(ep, got, 10, 0), 1);
	CHECK_INT(got[0].data.u64, 11);
	CHECK(fcntl(ev[1], F_GETFD) < 0);
}

static void check_child(void)
{
	CHECK(EVENTUALLY(epoll_wait(ep, got, 10, 0) == 1));
	CHECK_INT(got[0].data.u64, 5);
}

static void setup_shared(void)
{
	ep = CHECK_CALL(epoll_create1(0));
	ev[0] = CHECK_CALL(eventfd(0, 0));
	add(ep, ev[0], EPOLLIN, 5);
	case_child(NULL, check_child);
}

static void check_shared(void)
{
	fire(ev[0]);
	CHECK_INT(epoll_wait(ep, got, 10, 0), 1);
}

/* An event that is ready when the dump comes is still reported once after it. */
static void setup_ready(void)
{
	ep = CHECK_CALL(epoll_create1(0));
	ev[0] = CHECK_CALL(eventfd(0, 0));
	add(ep, ev[0], EPOLLIN | EPOLLET, 6);
	fire(ev[0]);
}

static void check_ready(void)
{
	CHECK_INT(epoll_wait(ep, got, 10, 0), 1);
	CHECK_INT(got[0].data.u64, 6);
	CHECK_INT(epoll_wait(ep, got, 10, 0), 0);
}

static int pipes[1000][2];

static void setup_many(void)
{
	ep = CHECK_CALL(epoll_create1(0));
	for (int i = 0; i < 300; i++) {
		CHECK_CALL(pipe2(pipes[i], O_NONBLOCK));
		add(ep, pipes[i][0], EPOLLIN, i);
	}
}

static void check_many(void)
{
	for (int i = 0; i < 300; i++) {
		CHECK(write(pipes[i][1], "x", 1) == 1);
		CHECK_INT(epoll_wait(ep, got, 10, 0), 1);
		CHECK_INT(got[0].data.u64, i);
		CHECK(read(pipes[i][0], got, 1) == 1);
	}
}

/* One of several that wait for the same file; the same file by several numbers. */
static void setup_exclusive(void)
{
	ep = CHECK_CALL(epoll_create1(0));
	inner = CHECK_CALL(epoll_create1(0));
	ev[0] = CHECK_CALL(eventfd(0, 0));
	ev[1] = CHECK_CALL(dup(ev[0]));
	ev[2] = CHECK_CALL(dup(ev[0]));
	add(ep, ev[0], EPOLLIN | EPOLLEXCLUSIVE, 1);
	add(inner, ev[0], EPOLLIN | EPOLLEXCLUSIVE | EPOLLET, 2);
	add(ep, ev[1], EPOLLIN, 3);
	add(ep, ev[2], EPOLLIN | EPOLLONESHOT, 4);
	close(ev[2]);
}

static void check_exclusive(void)
{
	struct epoll_event e = { .events = EPOLLIN };

	CHECK(epoll_ctl(ep, EPOLL_CTL_MOD, ev[0], &e) < 0 && errno == EINVAL);
	CHECK_INT(epoll_wait(ep, got, 10, 0), 0);
	fire(ev[0]);
	CHECK_INT(epoll_wait(ep, got, 10, 0), 3);
	CHECK_INT(got[0].data.u64 + got[1].data.u64 + got[2].data.u64, 8);
	CHECK_INT(epoll_wait(ep, got, 10, 0), 2);
	CHECK_INT(epoll_wait(inner, got, 10, 0), 1);
	CHECK_INT(epoll_wait(inner, got, 10, 0), 0);
}

/* How it asks the network card, Linux 6.9. */
struct params {
	uint32_t usecs;
	uint16_t budget;
	uint8_t prefer, pad;
};
#define SET_PARAMS _IOW(0x8a, 1, struct params)
#define GET_PARAMS _IOR(0x8a, 2, struct params)

static void setup_params(void)
{
	struct params p = { 50, 8, 1, 0 };

	ep = CHECK_CALL(epoll_create1(0));
	if (ioctl(ep, SET_PARAMS, &p) < 0)
		case_skip("no parameters of epoll: %m");
}

static void check_params(void)
{
	struct params p = { 0 };

	CHECK_CALL(ioctl(ep, GET_PARAMS, &p));
	CHECK_INT(p.usecs, 50);
	CHECK_INT(p.budget, 8);
	CHECK_INT(p.prefer, 1);
}

CASES({ "epoll keeps entries, data, modes and nesting", setup, check },
      { "epoll keeps entries whose number was closed or reused", setup_closed, check_closed },
      { "an epoll shared with a child stays shared", setup_shared, check_shared },
      { "an edge that was not seen yet is seen once", setup_ready, check_ready },
      { "epoll keeps 300 entries", setup_many, check_many },
      { "epoll keeps exclusive entries and one file by several numbers", setup_exclusive,
	check_exclusive },
      { "epoll keeps how it polls", setup_params, check_params })
