/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocking reads and writes in the middle of many checkpoints: no byte twice, none lost, no short
 * count that there would not be without.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include "tests/lib/act.h"

/* Small: both sides are nearly always waiting. */
static int pipes[2], stream[2], packets[2];

static uint32_t next(long *state)
{
	*state = (uint32_t)*state * 1103515245u + 12345;
	return (uint32_t)*state >> 8;
}

static void fill(struct act *a, uint32_t *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		v[i] = next(&a->own[0]);
}

static void same(struct act *a, const uint32_t *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t want = next(&a->own[0]);

		if (v[i] != want)
			case_fail("%s: round %lu: word %zu is %x, not %x", a->name, a->rounds, i,
				  v[i], want);
	}
}

static void write_all(int fd, const void *from, size_t len)
{
	while (len) {
		ssize_t n = CHECK_CALL(write(fd, from, len));

		from = (const char *)from + n;
		len -= n;
	}
}

static void read_all(int fd, void *to, size_t len)
{
	while (len) {
		ssize_t n = CHECK_CALL(read(fd, to, len));

		CHECK(n > 0);
		to = (char *)to + n;
		len -= n;
	}
}

#define WORDS 3000

static void to_pipe(struct act *a)
{
	uint32_t v[WORDS];

	fill(a, v, WORDS);
	write_all(pipes[1], v, sizeof(v));
}

static void from_pipe(struct act *a)
{
	uint32_t v[WORDS];

	read_all(pipes[0], v, sizeof(v));
	test_sleep_ms(1);
	same(a, v, WORDS);
}

static void to_stream(struct act *a)
{
	uint32_t v[WORDS];

	fill(a, v, WORDS);
	write_all(stream[1], v, sizeof(v));
	if (a->rounds % 4 == 0)
		test_sleep_ms(3);
}

static void from_stream(struct act *a)
{
	uint32_t v[WORDS];

	read_all(stream[0], v, sizeof(v));
	same(a, v, WORDS);
}

static void to_packets(struct act *a)
{
	uint32_t v[100];

	fill(a, v, ARRAY_SIZE(v));
	CHECK_INT(send(packets[1], v, sizeof(v), 0), sizeof(v));
	if (a->rounds % 8 == 0)
		test_sleep_ms(2);
}

static void from_packets(struct act *a)
{
	uint32_t v[200];
	struct iovec iov = { v, sizeof(v) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	CHECK_INT(recvmsg(packets[0], &m, 0), 400);
	same(a, v, 100);
}

/* Opening a named pipe waits for the other side. */
static void do_fifo_write(struct act *a)
{
	int fd = CHECK_CALL(open("fifo", O_WRONLY | O_CLOEXEC));
	uint32_t v = a->own[0]++;

	CHECK(write(fd, &v, sizeof(v)) == sizeof(v));
	/* So that whoever opens it next is the other side of a new pair. */
	CHECK(read(a->own[1], &v, 1) == 1);
	close(fd);
	CHECK(write(a->own[2], "x", 1) == 1);
}

static void do_fifo_read(struct act *a)
{
	int fd = CHECK_CALL(open("fifo", O_RDONLY | O_CLOEXEC));
	uint32_t v = 0;

	CHECK(read(fd, &v, sizeof(v)) == sizeof(v));
	CHECK_INT(v, (uint32_t)a->own[0]++);
	close(fd);
	test_sleep_ms(1);
	CHECK(write(a->own[2], "x", 1) == 1);
	CHECK(read(a->own[1], &v, 1) == 1);
}

static void do_file(struct act *a)
{
	uint32_t v[WORDS], got[WORDS];
	int fd = CHECK_CALL(open("data", O_RDWR | O_CREAT | O_CLOEXEC, 0600));

	fill(a, v, WORDS);
	CHECK_INT(pwrite(fd, v, sizeof(v), 4096), sizeof(v));
	CHECK_INT(pread(fd, got, sizeof(got), 4096), sizeof(got));
	CHECK(!memcmp(v, got, sizeof(v)));
	close(fd);
	test_sleep_ms(5);
}

static struct act acts[] = {
	{ "writing to a pipe", to_pipe },
	{ "reading from a pipe", from_pipe },
	{ "writing to a socket", to_stream },
	{ "reading from a socket", from_stream },
	{ "sending packets", to_packets },
	{ "receiving packets", from_packets },
	{ "opening a named pipe to write", do_fifo_write },
	{ "opening a named pipe to read", do_fifo_read },
	{ "a file", do_file },
};

static void setup(void)
{
	int turn[2], back[2];

	CHECK_CALL(pipe(pipes));
	CHECK_CALL(fcntl(pipes[1], F_SETPIPE_SZ, 4096));
	CHECK_CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, stream));
	CHECK_CALL(socketpair(AF_UNIX, SOCK_DGRAM, 0, packets));
	CHECK_CALL(mkfifo("fifo", 0600));
	CHECK_CALL(pipe(turn));
	CHECK_CALL(pipe(back));
	acts[6].own[1] = turn[0];
	acts[7].own[2] = turn[1];
	acts[7].own[1] = back[0];
	acts[6].own[2] = back[1];
	act_start(acts, ARRAY_SIZE(acts));
}

/* Half of the acts wait for the other half: they are not joined, the process ends. */
static void check(void)
{
	unsigned long before[ARRAY_SIZE(acts)];

	for (size_t i = 0; i < ARRAY_SIZE(acts); i++)
		before[i] = __atomic_load_n(&acts[i].rounds, __ATOMIC_ACQUIRE);
	for (size_t i = 0; i < ARRAY_SIZE(acts); i++)
		if (!EVENTUALLY(__atomic_load_n(&acts[i].rounds, __ATOMIC_ACQUIRE) > before[i] + 3))
			case_fail("%s does not go on", acts[i].name);
}

/* ---- counts that only a signal makes short ---- */

#define MUCH (1 << 20)
static int wide[2], waiting[2];

/* The other side takes it slowly: the writer is in the middle of one call all the time. */
static void write_much(struct act *a)
{
	char *bytes = malloc(MUCH);

	memset(bytes, (int)a->rounds, MUCH);
	CHECK_INT(write(wide[1], bytes, MUCH), MUCH);
	free(bytes);
}

static void read_slowly(struct act *a)
{
	char bytes[16384];

	read_all(wide[0], bytes, sizeof(bytes));
	CHECK_INT((unsigned char)bytes[9], (unsigned char)(a->own[0]++ * sizeof(bytes) / MUCH));
	test_sleep_ms(1);
}

static void receive_whole(struct act *a)
{
	char bytes[4096];

	CHECK_INT(recv(waiting[0], bytes, sizeof(bytes), MSG_WAITALL), sizeof(bytes));
	CHECK_INT(bytes[77], (char)a->own[0]++);
}

static void send_in_parts(struct act *a)
{
	char bytes[512];

	memset(bytes, (int)a->own[0], sizeof(bytes));
	for (int i = 0; i < 8; i++) {
		CHECK_INT(send(waiting[1], bytes, sizeof(bytes), 0), sizeof(bytes));
		test_sleep_ms(4);
	}
	a->own[0]++;
}

static struct act whole[] = {
	{ "one long write", write_much },
	{ "a slow reader", read_slowly },
	{ "recv with MSG_WAITALL", receive_whole },
	{ "sending in parts", send_in_parts },
};

static void setup_whole(void)
{
	CHECK_CALL(pipe(wide));
	CHECK_CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, waiting));
	act_start(whole, ARRAY_SIZE(whole));
}

static void check_whole(void)
{
	unsigned long before = __atomic_load_n(&whole[0].rounds, __ATOMIC_ACQUIRE);

	CHECK(EVENTUALLY(__atomic_load_n(&whole[0].rounds, __ATOMIC_ACQUIRE) > before + 2));
}

#define FLAGS (CASE_INSIDE | CASE_MANY | CASE_LOSSY)
CASES({ "blocking reads and writes lose and repeat nothing", setup, check, .flags = FLAGS },
      { "a long write and a whole read are not cut short", setup_whole, check_whole,
	.flags = FLAGS | CASE_RUNS })
