/* SPDX-License-Identifier: Apache-2.0 */
/* Connections to Unix sockets that nobody has accepted yet. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "tests/lib/case.h"

static struct sockaddr_un server = { .sun_family = AF_UNIX };
static int type = SOCK_STREAM, listener, accepted, client[3];
static char buf[100];

static int join(const char *name)
{
	int fd = CHECK_CALL(socket(AF_UNIX, type, 0));
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	strcpy(a.sun_path, name);
	if (*name)
		CHECK_CALL(bind(fd, (void *)&a, sizeof(a)));
	CHECK_CALL(connect(fd, (void *)&server, sizeof(server)));
	return fd;
}

static void start(void)
{
	CHECK(getcwd(server.sun_path, sizeof(server.sun_path) - 10));
	strcat(server.sun_path, "/server");
	listener = CHECK_CALL(socket(AF_UNIX, type, 0));
	CHECK_CALL(bind(listener, (void *)&server, sizeof(server)));
	CHECK_CALL(listen(listener, 5));
}

static void setup_child(void)
{
	client[1] = join("second");
}

static void check_child(void)
{
	CHECK(read(client[1], buf, 100) == 6 && !memcmp(buf, "second", 6));
}

static void listen_and_join(void)
{
	start();
	client[0] = join("zeroth");
	accepted = CHECK_CALL(accept(listener, NULL, NULL));
	close(client[0]);
	client[0] = join("first");
	case_child(setup_child, check_child);
	client[2] = join("third");
	CHECK_CALL(shutdown(client[2], SHUT_WR));
	CHECK_CALL(listen(listener, 1));
}

/* The file that all have connected through is gone. */
static void setup(void)
{
	listen_and_join();
	CHECK_CALL(unlink(server.sun_path));
}

static void setup_packets(void)
{
	type = SOCK_SEQPACKET;
	listen_and_join();
}

/* Answers the next one, which has that name. */
static int answer(const char *name)
{
	struct sockaddr_un a;
	socklen_t len = sizeof(a);
	int fd = CHECK_CALL(accept(listener, (void *)&a, &len));

	CHECK(!strcmp(a.sun_path, name));
	CHECK(write(fd, name, strlen(name)) == (ssize_t)strlen(name));
	return fd;
}

static void check(void)
{
	int fd = answer("first");

	CHECK(read(client[0], buf, 100) == 5 && !memcmp(buf, "first", 5));
	CHECK(write(client[0], "x", 1) == 1 && read(fd, buf, 10) == 1);
	answer("second");
	fd = answer("third");
	CHECK(read(client[2], buf, 100) == 5 && read(fd, buf, 10) == 0);
	CHECK_CALL(fcntl(listener, F_SETFL, O_NONBLOCK));
	CHECK(accept(listener, NULL, NULL) < 0 && errno == EAGAIN);
	CHECK(read(accepted, buf, 10) == 0);
}

/* What nobody can look at. */
static void setup_sent(void)
{
	start();
	client[0] = join("");
	CHECK(write(client[0], "early", 5) == 5);
}

static void setup_closed(void)
{
	start();
	client[0] = join("");
	CHECK_CALL(close(client[0]));
}

/* One has sent something, one was closed. */
static void setup_skipped(void)
{
	start();
	client[0] = join("first");
	CHECK(write(client[0], "early", 5) == 5);
	close(join(""));
}

static void check_skipped(void)
{
	CHECK(read(client[0], buf, 9) == 0);
	CHECK_CALL(fcntl(listener, F_SETFL, O_NONBLOCK));
	CHECK(accept(listener, NULL, NULL) < 0 && errno == EAGAIN);
	client[1] = join("");
	CHECK(accept(listener, NULL, NULL) >= 0);
}

CASES({ "connections wait to be accepted, in order", setup, check },
      { "the same of packets", setup_packets, check },
      { "what was sent before is refused by name", setup_sent, NULL,
	.refused = { "CKPT-E0491", "has not been accepted yet" } },
      { "one that was closed is refused by name", setup_closed, NULL,
	.refused = { "CKPT-E0491", "some of them are closed", "--skip-in-flight" } },
      { "with --skip-in-flight they are closed", setup_skipped, check_skipped,
	CASE_GOES | CASE_ONCE, .options = { "--skip-in-flight" }, .differs = { "*/open/[3-5]/*" } })
