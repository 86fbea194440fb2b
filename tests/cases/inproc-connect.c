/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection that is about to be made, and never is: such a program is refused, which interrupts
 * its call, and the call ends as if nobody had asked.
 */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
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

CASES({ "a connection that is not made fails in time", setup, check,
	.flags = CASE_INSIDE | CASE_LOSSY | CASE_RUNS, .refused = { "CKPT-E0" } })
