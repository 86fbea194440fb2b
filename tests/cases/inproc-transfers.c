/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transfers in pieces and of many messages, in the middle of many checkpoints: none is shorter than
 * it would be without. The other side is slow, so that a checkpoint mostly meets one that waits.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include "tests/lib/act.h"

#define MUCH (1 << 20)
#define PIECES 41
#define MESSAGES 40
#define PACKET 64
#define PART 512

/* A way for bytes, from an act to its reader. */
static int ways[4][2];

/* Pieces of all lengths, some of them empty; byte I of all is I * 7 + SALT. */
static size_t cut(char *bytes, size_t len, struct iovec v[PIECES])
{
	size_t at = 0;

	for (int i = 0; i < PIECES; i++) {
		size_t n = i == PIECES - 1 ? len - at : i % 5 ? (len / PIECES) * (i % 3) : 0;

		n = n > len - at ? len - at : n;
		v[i] = (struct iovec){ bytes + at, n };
		at += n;
	}
	return at;
}

static void salt(char *bytes, size_t len, long with)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (char)(i * 7 + with);
}

static void tastes(const struct act *a, const char *bytes, size_t from, size_t len, long of)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i] != (char)((from + i) * 7 + of))
			case_fail("%s: byte %zu of round %ld is wrong", a->name, from + i, of);
}

/* All of it by one call: OWN[0] counts, OWN[1] is the way. */
static void much(struct act *a, ssize_t (*by)(int fd, struct iovec *v, int n))
{
	char *bytes = malloc(MUCH);
	struct iovec v[PIECES];

	salt(bytes, MUCH, a->own[0]++);
	CHECK_INT(cut(bytes, MUCH, v), MUCH);
	CHECK_INT(by(ways[a->own[1]][1], v, PIECES), MUCH);
	free(bytes);
}

static ssize_t by_writev(int fd, struct iovec *v, int n)
{
	return writev(fd, v, n);
}

static ssize_t by_sendmsg(int fd, struct iovec *v, int n)
{
	return sendmsg(fd, &(struct msghdr){ .msg_iov = v, .msg_iovlen = n }, 0);
}

/* Two messages on a stream: each is whole, and their number. */
static ssize_t by_sendmmsg(int fd, struct iovec *v, int n)
{
	struct mmsghdr m[2] = { { { .msg_iov = v, .msg_iovlen = n / 2 }, 0 },
				{ { .msg_iov = v + n / 2, .msg_iovlen = n - n / 2 }, 0 } };

	CHECK_INT(sendmmsg(fd, m, 2, 0), 2);
	return m[0].msg_len + m[1].msg_len;
}

static ssize_t by_sendfile(int fd, struct iovec *v, int n)
{
	/* Its pages are sent as they are: each time new ones. */
	int file = CHECK_CALL(open("file", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
	off_t at = 0;
	ssize_t sent;

	CHECK_INT(pwritev(file, v, n, 0), MUCH);
	sent = sendfile(fd, file, &at, MUCH);
	CHECK_INT(at, sent);
	close(file);
	return sent;
}

static void do_writev(struct act *a)
{
	much(a, by_writev);
}

static void do_sendmsg(struct act *a)
{
	much(a, by_sendmsg);
}

static void do_sendmmsg(struct act *a)
{
	much(a, by_sendmmsg);
}

static void do_sendfile(struct act *a)
{
	much(a, by_sendfile);
}

static void read_slowly(struct act *a)
{
	char bytes[65536];
	ssize_t n = CHECK_CALL(read(ways[a->own[1]][0], bytes, sizeof(bytes)));

	for (ssize_t done = 0; done < n;) {
		size_t in_round = a->own[0] % MUCH;
		size_t len = n - done < (ssize_t)(MUCH - in_round) ? (size_t)(n - done) :
								     MUCH - in_round;

		tastes(a, bytes + done, in_round, len, a->own[0] / MUCH);
		a->own[0] += len;
		done += len;
	}
	test_sleep_ms(1);
}

static struct act writers[] = {
	{ "writev", do_writev, { 0, 0 } },     { "reading writev", read_slowly, { 0, 0 } },
	{ "sendmsg", do_sendmsg, { 0, 1 } },   { "reading sendmsg", read_slowly, { 0, 1 } },
	{ "sendmmsg", do_sendmmsg, { 0, 2 } }, { "reading sendmmsg", read_slowly, { 0, 2 } },
	{ "sendfile", do_sendfile, { 0, 3 } }, { "reading sendfile", read_slowly, { 0, 3 } },
};

static void setup_writers(void)
{
	CHECK_CALL(pipe(ways[0]));
	CHECK_CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, ways[1]));
	CHECK_CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, ways[2]));
	CHECK_CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, ways[3]));
	act_start(writers, ARRAY_SIZE(writers));
}

/* Half of them wait for the other half: they are not joined. */
static void go_on(const struct act *v, size_t n)
{
	unsigned long before[16];

	for (size_t i = 0; i < n; i++)
		before[i] = __atomic_load_n(&v[i].rounds, __ATOMIC_ACQUIRE);
	for (size_t i = 0; i < n; i++)
		if (!EVENTUALLY(__atomic_load_n(&v[i].rounds, __ATOMIC_ACQUIRE) > before[i] + 1))
			case_fail("%s does not go on", v[i].name);
}

static void check_writers(void)
{
	go_on(writers, ARRAY_SIZE(writers));
}

/* ---- those who wait for all of it ---- */

static int whole[2], low[2], packets[2];

static void receive_whole(struct act *a)
{
	char bytes[8 * PART];
	struct iovec v[PIECES];
	struct msghdr m = { .msg_iov = v, .msg_iovlen = PIECES };

	cut(bytes, sizeof(bytes), v);
	CHECK_INT(recvmsg(whole[0], &m, MSG_WAITALL), sizeof(bytes));
	tastes(a, bytes, 0, sizeof(bytes), a->own[0]++);
}

/* SO_RCVLOWAT: as many as that it waits for. */
static void read_at_least(struct act *a)
{
	char bytes[8 * PART];
	ssize_t n = 0, r;

	while (n < (ssize_t)sizeof(bytes)) {
		r = CHECK_CALL(read(low[0], bytes + n, sizeof(bytes) - n));
		CHECK(r >= 3 * PART || n + r == sizeof(bytes));
		n += r;
	}
	tastes(a, bytes, 0, sizeof(bytes), a->own[0]++);
}

static void send_in_parts(struct act *a)
{
	char bytes[8 * PART];
	int fd = a->own[1] ? low[1] : whole[1];

	salt(bytes, sizeof(bytes), a->own[0]++);
	for (int i = 0; i < 8; i++) {
		CHECK_INT(send(fd, bytes + i * PART, PART, 0), PART);
		test_sleep_ms(4);
	}
}

static void messages(char bytes[MESSAGES][PACKET], struct iovec v[MESSAGES],
		     struct mmsghdr m[MESSAGES])
{
	memset(m, 0, MESSAGES * sizeof(*m));
	for (int i = 0; i < MESSAGES; i++) {
		v[i] = (struct iovec){ bytes[i], PACKET };
		m[i].msg_hdr.msg_iov = &v[i];
		m[i].msg_hdr.msg_iovlen = 1;
	}
}

static void send_messages(struct act *a)
{
	char bytes[MESSAGES][PACKET];
	struct iovec v[MESSAGES];
	struct mmsghdr m[MESSAGES];

	messages(bytes, v, m);
	for (int i = 0; i < MESSAGES; i++)
		salt(bytes[i], PACKET, a->own[0]++);
	CHECK_INT(sendmmsg(packets[1], m, MESSAGES, 0), MESSAGES);
	for (int i = 0; i < MESSAGES; i++)
		CHECK_INT(m[i].msg_len, PACKET);
}

static void receive_messages(struct act *a)
{
	char bytes[MESSAGES][PACKET];
	struct iovec v[MESSAGES];
	struct mmsghdr m[MESSAGES];

	messages(bytes, v, m);
	CHECK_INT(recvmmsg(packets[0], m, MESSAGES / 2, 0, NULL), MESSAGES / 2);
	for (int i = 0; i < MESSAGES / 2; i++) {
		CHECK_INT(m[i].msg_len, PACKET);
		tastes(a, bytes[i], 0, PACKET, a->own[0]++);
	}
	CHECK_INT(recv(packets[0], bytes[0], PACKET, 0), PACKET);
	tastes(a, bytes[0], 0, PACKET, a->own[0]++);
	test_sleep_ms(2);
}

/* The kernel looks for signals while it makes them. */
static void draw(struct act *a)
{
	char *bytes = malloc(4 * MUCH);
	int fd = CHECK_CALL(open("/dev/zero", O_RDONLY | O_CLOEXEC));

	CHECK_INT(getrandom(bytes, 4 * MUCH, 0), 4 * MUCH);
	CHECK_INT(read(fd, bytes, 4 * MUCH), 4 * MUCH);
	CHECK(!bytes[a->rounds % (4 * MUCH)]);
	close(fd);
	free(bytes);
	test_sleep_ms(5);
}

static struct act readers[] = {
	{ "recvmsg with MSG_WAITALL", receive_whole },
	{ "sending in parts", send_in_parts },
	{ "SO_RCVLOWAT", read_at_least },
	{ "sending small parts", send_in_parts, { 0, 1 } },
	{ "sending many packets", send_messages },
	{ "receiving many packets", receive_messages },
	{ "random bytes and zeros", draw },
};

static void setup_readers(void)
{
	int lowest = 3 * PART;

	CHECK_CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, whole));
	CHECK_CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, low));
	CHECK_CALL(setsockopt(low[0], SOL_SOCKET, SO_RCVLOWAT, &lowest, sizeof(lowest)));
	CHECK_CALL(socketpair(AF_UNIX, SOCK_DGRAM, 0, packets));
	act_start(readers, ARRAY_SIZE(readers));
}

static void check_readers(void)
{
	go_on(readers, ARRAY_SIZE(readers));
}

#define FLAGS (CASE_INSIDE | CASE_MANY | CASE_LOSSY | CASE_RUNS)
CASES({ "transfers in pieces are not cut short", setup_writers, check_writers, .flags = FLAGS },
      { "who waits for all of it gets all of it", setup_readers, check_readers, .flags = FLAGS })
