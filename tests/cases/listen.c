/* SPDX-License-Identifier: Apache-2.0 */
/* Listening Unix sockets: by path and abstract, and connections accepted through them inside of the
 * tree. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "tests/lib/case.h"

static int by_path, abstract, client, accepted;
static struct sockaddr_un path_name = { .sun_family = AF_UNIX, .sun_path = "server" };
static struct sockaddr_un abstract_name = { .sun_family = AF_UNIX };
static socklen_t abstract_len;
static char buf[100];

static void set_up_abstract(void)
{
	int n = snprintf(abstract_name.sun_path + 1, 60, "ckpt-test-%d-%lld", getpid(),
			 (long long)test_now_ns());

	abstract_len = offsetof(struct sockaddr_un, sun_path) + 1 + n;
	abstract = CHECK_CALL(socket(AF_UNIX, SOCK_SEQPACKET, 0));
	CHECK_CALL(bind(abstract, (struct sockaddr *)&abstract_name, abstract_len));
	CHECK_CALL(listen(abstract, 3));
}

static void setup(void)
{
	by_path = CHECK_CALL(socket(AF_UNIX, SOCK_STREAM, 0));
	CHECK_CALL(bind(by_path, (struct sockaddr *)&path_name, sizeof(path_name)));
	CHECK_CALL(chmod("server", 0660));
	CHECK_CALL(listen(by_path, 5));
	set_up_abstract();
}

static void try(int server, int type, struct sockaddr_un *name, socklen_t len)
{
	int to = CHECK_CALL(socket(AF_UNIX, type, 0)), from;

	CHECK_CALL(connect(to, (struct sockaddr *)name, len));
	from = CHECK_CALL(accept(server, NULL, NULL));
	CHECK(write(to, "hello", 5) == 5);
	CHECK(read(from, buf, 100) == 5);
	close(to);
	close(from);
}

static void check(void)
{
	struct sockaddr_un name;
	socklen_t len = sizeof(name);
	struct stat st;

	try(by_path, SOCK_STREAM, &path_name, sizeof(path_name));
	try(abstract, SOCK_SEQPACKET, &abstract_name, abstract_len);
	CHECK_CALL(stat("server", &st));
	CHECK_INT(st.st_mode & 0777, 0660);
	CHECK_CALL(getsockname(by_path, (struct sockaddr *)&name, &len));
	CHECK_TEXT(name.sun_path, "server");
}

/* Who is restored finds its name in use by itself only: the file of the socket is still there. */
static void remove_socket(void)
{
	unlink("server");
}

static void setup_connected(void)
{
	setup();
	client = CHECK_CALL(socket(AF_UNIX, SOCK_STREAM, 0));
	CHECK_CALL(connect(client, (struct sockaddr *)&path_name, sizeof(path_name)));
	accepted = CHECK_CALL(accept(by_path, NULL, NULL));
	CHECK(write(client, "queued", 6) == 6);
}

static void check_connected(void)
{
	struct sockaddr_un name;
	socklen_t len = sizeof(name);

	CHECK(read(accepted, buf, 100) == 6 && !memcmp(buf, "queued", 6));
	CHECK(write(accepted, "answer", 6) == 6 && read(client, buf, 100) == 6);
	CHECK_CALL(getpeername(client, (struct sockaddr *)&name, &len));
	CHECK_TEXT(name.sun_path, "server");
	len = sizeof(name);
	CHECK_CALL(getsockname(accepted, (struct sockaddr *)&name, &len));
	CHECK_TEXT(name.sun_path, "server");
	close(client);
	CHECK(read(accepted, buf, 100) == 0);
	check();
}

CASES({ "listening sockets accept again", setup, check },
      { "a listening socket gets its file back", setup, check, .flags = CASE_GOES,
	.between = remove_socket },
      { "a connection inside of the tree keeps names and queues", setup_connected,
	check_connected })
