/* SPDX-License-Identifier: Apache-2.0 */
/* Pipes: contents, sizes, flags of each end, ends that are closed, ends in several processes. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "tests/lib/case.h"

static int p[2], empty[2], big[2], packets[2];
static char bytes[200000], copy[200000];

static void fill(unsigned int seed)
{
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (seed = seed * 1103515245 + 12345) >> 16;
}

static void setup(void)
{
	CHECK_CALL(pipe(p));
	CHECK_CALL(pipe2(empty, O_NONBLOCK | O_CLOEXEC));
	CHECK_CALL(pipe(big));
	fill(1);
	CHECK(write(p[1], "hello", 5) == 5);
	CHECK(fcntl(big[1], F_SETPIPE_SZ, 1 << 18) == 1 << 18);
	CHECK(write(big[1], bytes, sizeof(bytes)) == sizeof(bytes));
	CHECK_CALL(fcntl(big[0], F_SETFL, O_NONBLOCK));
}

static void check(void)
{
	size_t n = 0;
	ssize_t r;

	CHECK(write(p[1], " world", 6) == 6);
	CHECK(read(p[0], copy, 100) == 11);
	CHECK(!memcmp(copy, "hello world", 11));
	CHECK(read(empty[0], copy, 1) < 0 && errno == EAGAIN);
	CHECK_INT(fcntl(big[0], F_GETPIPE_SZ), 1 << 18);
	CHECK(fcntl(big[1], F_GETFL) == O_WRONLY);
	while ((r = read(big[0], copy + n, sizeof(copy) - n)) > 0)
		n += r;
	CHECK_INT(n, sizeof(bytes));
	CHECK(!memcmp(copy, bytes, n));
	/* Still connected. */
	CHECK(write(big[1], "x", 1) == 1 && read(big[0], copy, 10) == 1);
}

static void setup_full(void)
{
	CHECK_CALL(pipe2(p, O_NONBLOCK));
	fill(2);
	CHECK(write(p[1], bytes, sizeof(bytes)) == 65536);
}

static void check_full(void)
{
	CHECK(write(p[1], "x", 1) < 0 && errno == EAGAIN);
	CHECK(read(p[0], copy, sizeof(copy)) == 65536);
	CHECK(!memcmp(copy, bytes, 65536));
	CHECK(write(p[1], "x", 1) == 1);
}

static int no_writer, no_reader;

static void setup_half(void)
{
	CHECK_CALL(pipe(p));
	CHECK(write(p[1], "last words", 10) == 10);
	close(p[1]);
	no_writer = p[0];
	CHECK_CALL(pipe(empty));
	close(empty[0]);
	no_reader = empty[1];
}

static void check_half(void)
{
	signal(SIGPIPE, SIG_IGN);
	CHECK(read(no_writer, copy, 100) == 10);
	CHECK(!memcmp(copy, "last words", 10));
	CHECK(read(no_writer, copy, 100) == 0);
	CHECK(write(no_reader, "x", 1) < 0 && errno == EPIPE);
}

static void setup_packets(void)
{
	CHECK_CALL(pipe2(packets, O_DIRECT | O_NONBLOCK));
	CHECK(write(packets[1], "one", 3) == 3);
	CHECK(write(packets[1], "two2", 4) == 4);
}

static void check_packets(void)
{
	CHECK(read(packets[0], copy, 100) == 3 && !memcmp(copy, "one", 3));
	CHECK(read(packets[0], copy, 100) == 4 && !memcmp(copy, "two2", 4));
	CHECK(read(packets[0], copy, 100) < 0 && errno == EAGAIN);
	CHECK(write(packets[1], "ab", 2) == 2 && write(packets[1], "c", 1) == 1);
	CHECK(read(packets[0], copy, 100) == 2);
}

/* The child answers what it reads, across two pipes that both processes hold. */
static int down[2], up[2];

static void setup_child(void)
{
	close(down[1]);
	close(up[0]);
}

static void check_child(void)
{
	char c;

	while (read(down[0], &c, 1) == 1)
		CHECK(write(up[1], &(char){ c + 1 }, 1) == 1);
	close(up[1]);
}

static void setup_shared(void)
{
	CHECK_CALL(pipe(down));
	CHECK_CALL(pipe(up));
	CHECK(write(down[1], "ab", 2) == 2);
	case_child(setup_child, check_child);
	close(down[0]);
	close(up[1]);
}

static void check_shared(void)
{
	CHECK(write(down[1], "z", 1) == 1);
	close(down[1]);
	for (int i = 0; i < 3; i++)
		CHECK(read(up[0], copy + i, 1) == 1);
	CHECK(!memcmp(copy, "bc{", 3));
	CHECK(read(up[0], copy, 1) == 0);
}

/* Nobody reads it, but it is there: a new reader, by /proc, finds it. */
static void setup_unread(void)
{
	signal(SIGPIPE, SIG_IGN);
	CHECK_CALL(pipe(p));
	CHECK(write(p[1], "left behind", 11) == 11);
	close(p[0]);
}

static void check_unread(void)
{
	char link[40], text[20];
	int fd, n = 0;

	CHECK_CALL(ioctl(p[1], FIONREAD, &n));
	CHECK_INT(n, 11);
	CHECK(write(p[1], "x", 1) < 0 && errno == EPIPE);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", p[1]);
	fd = CHECK_CALL(open(link, O_RDONLY | O_NONBLOCK));
	CHECK(read(fd, text, sizeof(text)) == 11 && !memcmp(text, "left behind", 11));
	close(fd);
}

CASES({ "pipes keep contents, size and flags", setup, check },
      { "a full pipe stays full", setup_full, check_full },
      { "a pipe with one end closed stays so", setup_half, check_half },
      { "a pipe in packet mode keeps its packets", setup_packets, check_packets },
      { "what a pipe without a reader holds stays in it", setup_unread, check_unread, CASE_ONCE },
      { "pipes between parent and child stay connected", setup_shared, check_shared })
