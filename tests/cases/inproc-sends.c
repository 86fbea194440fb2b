/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends with the time limit of their socket, in the middle of many checkpoints: they end in time,
 * as waits do (inproc-waits.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include "tests/lib/act.h"

#define MS 230
#define TIMED(want, call) ACT_TIMED(a, MS, want, call)

static int full[2], full_packets[2], some[2], file;

static void do_send(struct act *a)
{
	TIMED(-EAGAIN, send(full[0], "x", 1, 0));
}

static void do_write(struct act *a)
{
	TIMED(-EAGAIN, write(full[0], "x", 1));
}

static void do_sendmsg(struct act *a)
{
	struct iovec v = { "x", 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	TIMED(-EAGAIN, sendmsg(full_packets[0], &m, 0));
}

static void do_writev(struct act *a)
{
	struct iovec v[2] = { { "x", 1 }, { "y", 1 } };

	TIMED(-EAGAIN, writev(full_packets[0], v, 2));
}

static void do_sendmmsg(struct act *a)
{
	struct iovec v = { "x", 1 };
	struct mmsghdr m[2] = { { .msg_hdr = { .msg_iov = &v, .msg_iovlen = 1 } },
				{ .msg_hdr = { .msg_iov = &v, .msg_iovlen = 1 } } };

	TIMED(-EAGAIN, sendmmsg(full_packets[0], m, 2, 0));
}

static void do_sendfile(struct act *a)
{
	off_t at = 0;

	TIMED(-EAGAIN, sendfile(full[0], file, &at, 1));
	CHECK_INT(at, 0);
}

/* There is room for a part of it. */
static void do_send_much(struct act *a)
{
	static char much[1 << 20];
	struct act_clock c = act_clock();
	ssize_t sent = send(some[0], much, sizeof(much), 0);

	if (sent <= 0 || sent == sizeof(much))
		case_fail("%s returns %zd (%s)", a->name, sent, strerror(errno));
	act_took(&c, a->name, MS);
	while (recv(some[1], much, sizeof(much), MSG_DONTWAIT) > 0)
		;
}

static struct act sends[] = {
	{ "send", do_send },
	{ "write to a socket", do_write },
	{ "sendmsg", do_sendmsg },
	{ "writev to a socket", do_writev },
	{ "sendmmsg", do_sendmmsg },
	{ "sendfile to a socket", do_sendfile },
	{ "sending more than there is room for", do_send_much },
};

/* Nobody reads from the other end. */
static void make_full(int pair[2], int type)
{
	CHECK_CALL(socketpair(AF_UNIX, type, 0, pair));
	while (send(pair[0], "x", 1, MSG_DONTWAIT) == 1)
		;
}

static void limit(int fd, int option)
{
	struct timeval t = { 0, MS * 1000 };

	CHECK_CALL(setsockopt(fd, SOL_SOCKET, option, &t, sizeof(t)));
}

/* A restored queue holds the same bytes, in fewer pieces, and is not as full. */
static void setup(void)
{
	make_full(full, SOCK_STREAM);
	limit(full[0], SO_SNDTIMEO);
	make_full(full_packets, SOCK_DGRAM);
	limit(full_packets[0], SO_SNDTIMEO);
	CHECK_CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, some));
	limit(some[0], SO_SNDTIMEO);
	CHECK(test_write("one", "1"));
	file = CHECK_CALL(open("one", O_RDONLY));
	act_start(sends, ARRAY_SIZE(sends));
}

static void check(void)
{
	act_end(sends, ARRAY_SIZE(sends));
}

CASES({ "sends with a limit end in time and say nothing of checkpoints", setup, check,
	.flags = CASE_INSIDE | CASE_MANY | CASE_LOSSY | CASE_RUNS | CASE_STAYS })
