/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that are about to be made, and never are. With TCP such a program is refused, which
 * interrupts its call, and the call ends as if nobody had asked; so it does in the middle of many
 * checkpoints where the listener is a Unix socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "tests/lib/act.h"

#define LONG_MS 4000
static pthread_t connector;
static struct sockaddr_in busy = { AF_INET };

static void *connect_in_vain(void *arg)
{
	struct timeval t = { LONG_MS / 1000, 0 };
	struct act_clock c = act_clock();
	int fd = CHECK_CALL(socket(AF_INET, SOCK_STREAM, 0));

	CHECK_CALL(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)));
	CHECK_INT(connect(fd, (struct sockaddr *)&busy, sizeof(busy)), -1);
	CHECK_INT(errno, EINPROGRESS);
	act_took(&c, "connect", LONG_MS);
	close(fd);
	return arg;
}

static void setup(void)
{
	socklen_t len = sizeof(busy);
	int fd = CHECK_CALL(socket(AF_INET, SOCK_STREAM, 0));

	busy.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK_CALL(bind(fd, (struct sockaddr *)&busy, len));
	CHECK_CALL(listen(fd, 0));
	CHECK_CALL(getsockname(fd, (struct sockaddr *)&busy, &len));
	/* One finds a place. */
	CHECK_CALL(connect(CHECK_CALL(socket(AF_INET, SOCK_STREAM, 0)), (struct sockaddr *)&busy,
			   len));
	CHECK(!pthread_create(&connector, NULL, connect_in_vain, NULL));
	test_sleep_ms(200);
}

static void check(void)
{
	CHECK(!pthread_join(connector, NULL));
}

/* ---- a Unix socket that has no place left ---- */

#define SHORT_MS 230
static struct sockaddr_un full = { AF_UNIX };
static int late;

static void connect_late(struct act *a)
{
	ACT_TIMED(a, SHORT_MS, -EAGAIN, connect(late, (struct sockaddr *)&full, sizeof(full)));
	CHECK(!(fcntl(late, F_GETFL) & O_NONBLOCK));
}
static struct act connects[] = { { "connect to a Unix socket", connect_late } };

static void make_full(void)
{
	int s = CHECK_CALL(socket(AF_UNIX, SOCK_STREAM, 0));

	CHECK_CALL(bind(s, (struct sockaddr *)&full, sizeof(full)));
	CHECK_CALL(listen(s, 0));
	CHECK_CALL(connect(CHECK_CALL(socket(AF_UNIX, SOCK_STREAM, 0)), (struct sockaddr *)&full,
			   sizeof(full)));
}

static void setup_unix(void)
{
	struct timeval t = { 0, SHORT_MS * 1000 };

	strcpy(full.sun_path, "busy");
	make_full();
	late = CHECK_CALL(socket(AF_UNIX, SOCK_STREAM, 0));
	CHECK_CALL(setsockopt(late, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)));
	act_start(connects, ARRAY_SIZE(connects));
}

static void check_unix(void)
{
	act_end(connects, ARRAY_SIZE(connects));
}

CASES({ "a connection that is not made fails in time", setup, check,
	.flags = CASE_INSIDE | CASE_LOSSY | CASE_RUNS, .refused = { "CKPT-E0" } },
      { "a connection to a Unix socket without a place fails in time", setup_unix, check_unix,
	.flags = CASE_INSIDE | CASE_MANY | CASE_LOSSY | CASE_RUNS })
