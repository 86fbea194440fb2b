/* SPDX-License-Identifier: Apache-2.0 */
/* What waits in queues of Unix sockets beside data: descriptors and credentials. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "tests/lib/case.h"

static int s[2], d[2], q[2], file;
static char buf[1000];

/* Sends DATA with N descriptors, and with credentials if PID is not 0. */
static void send_along(int to, const char *data, const int *fd, size_t n, pid_t pid)
{
	union {
		struct cmsghdr align;
		char room[256];
	} control = { .room = { 0 } };
	struct iovec iov = { (char *)data, strlen(data) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control };
	struct cmsghdr *c = &control.align;

	if (n) {
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fd, n * sizeof(int));
		m.msg_controllen += CMSG_SPACE(n * sizeof(int));
		c = (void *)(control.room + m.msg_controllen);
	}
	if (pid) {
		struct ucred u = { pid, getuid(), getgid() };

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_CREDENTIALS;
		c->cmsg_len = CMSG_LEN(sizeof(u));
		memcpy(CMSG_DATA(c), &u, sizeof(u));
		m.msg_controllen += CMSG_SPACE(sizeof(u));
	}
	if (!m.msg_controllen)
		m.msg_control = NULL;
	CHECK_INT(sendmsg(to, &m, 0), (int)strlen(data));
}

/* Receives up to LEN bytes, which must be DATA with N descriptors; PIDP: and credentials. */
static void receive(int from, size_t len, const char *data, int *fd, size_t n, struct ucred *u)
{
	union {
		struct cmsghdr align;
		char room[256];
	} control;
	struct iovec iov = { buf, len };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	size_t got = 0;

	CHECK_INT(recvmsg(from, &m, MSG_DONTWAIT), (int)strlen(data));
	CHECK(!memcmp(buf, data, strlen(data)));
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_type == SCM_CREDENTIALS && u)
			memcpy(u, CMSG_DATA(c), sizeof(*u));
		if (c->cmsg_type != SCM_RIGHTS)
			continue;
		got = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		CHECK_INT(got, n);
		memcpy(fd, CMSG_DATA(c), n * sizeof(int));
	}
	CHECK_INT(got, n);
}

static void setup(void)
{
	int fd[3];

	CHECK_CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	CHECK_CALL(socketpair(AF_UNIX, SOCK_DGRAM, 0, d));
	CHECK_CALL(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, q));
	file = CHECK_CALL(open("kept", O_RDWR | O_CREAT, 0600));
	CHECK(write(file, "0123456789", 10) == 10);
	CHECK_INT(lseek(file, 4, SEEK_SET), 4);
	fd[0] = CHECK_CALL(eventfd(7, 0));
	CHECK_CALL(pipe(fd + 1));
	CHECK(write(fd[2], "in the pipe", 11) == 11);
	CHECK(write(s[0], "before", 6) == 6);
	send_along(s[0], "with", fd, 3, 0);
	CHECK(write(s[0], "behind", 6) == 6);
	send_along(s[0], "again", &file, 1, 0);
	send_along(d[0], "datagram", &file, 1, 0);
	send_along(q[0], "packet", fd, 1, 0);
	for (int i = 0; i < 3; i++)
		close(fd[i]);
	/* A deleted file that nobody has. */
	fd[0] = CHECK_CALL(open("deleted", O_RDWR | O_CREAT, 0600));
	CHECK(write(fd[0], "deleted", 7) == 7);
	CHECK_CALL(unlink("deleted"));
	send_along(q[0], "second", fd, 1, 0);
	close(fd[0]);
}

static void check(void)
{
	uint64_t n;
	int fd[3];

	/* Data that came before is not glued to the descriptors. */
	receive(s[1], 6, "before", NULL, 0, NULL);
	receive(s[1], 100, "with", fd, 3, NULL);
	CHECK(read(fd[0], &n, 8) == 8 && n == 7);
	CHECK(read(fd[1], buf, 100) == 11 && !memcmp(buf, "in the pipe", 11));
	CHECK(write(fd[2], "x", 1) == 1 && read(fd[1], buf, 100) == 1);
	CHECK(write(fd[0], &n, 8) == 8);
	receive(s[1], 6, "behind", NULL, 0, NULL);
	receive(s[1], 100, "again", fd, 1, NULL);
	CHECK(read(fd[0], buf, 2) == 2 && !memcmp(buf, "45", 2));
	CHECK(read(file, buf, 2) == 2 && !memcmp(buf, "67", 2));
	receive(d[1], 100, "datagram", fd, 1, NULL);
	CHECK(read(fd[0], buf, 2) == 2 && !memcmp(buf, "89", 2));
	receive(q[1], 100, "packet", fd, 1, NULL);
	CHECK(read(fd[0], &n, 8) == 8 && n == 7);
	receive(q[1], 100, "second", fd, 1, NULL);
	CHECK(pread(fd[0], buf, 100, 0) == 7 && !memcmp(buf, "deleted", 7));
}

/* A socket in its own queue, two in each other's, one whose sender has closed. */
static void setup_cycle(void)
{
	int t[2];

	CHECK_CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	CHECK_CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, t));
	CHECK_CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, d));
	send_along(s[0], "itself", &s[1], 1, 0);
	send_along(s[0], "pair", t, 2, 0);
	CHECK(write(t[0], "inner", 5) == 5);
	send_along(t[0], "back", &s[1], 1, 0);
	close(t[0]);
	close(t[1]);
	send_along(d[0], "orphan", &s[0], 1, 0);
	close(d[0]);
}

static void check_cycle(void)
{
	int fd[2];

	receive(s[1], 100, "itself", fd, 1, NULL);
	CHECK(write(s[0], "x", 1) == 1);
	receive(fd[0], 100, "pair", fd, 2, NULL);
	receive(s[1], 100, "x", NULL, 0, NULL);
	receive(fd[1], 5, "inner", NULL, 0, NULL);
	receive(fd[1], 100, "back", fd, 1, NULL);
	CHECK(write(s[0], "y", 1) == 1);
	receive(fd[0], 100, "y", NULL, 0, NULL);
	receive(d[1], 100, "orphan", fd, 1, NULL);
	CHECK(write(fd[0], "z", 1) == 1);
	receive(s[1], 100, "z", NULL, 0, NULL);
	CHECK(read(d[1], buf, 10) == 0);
}

/* Credentials: asked for, of the child, and not there. */
static struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "mail" };
static int box;

static void setup_child(void)
{
	send_along(s[0], "child", NULL, 0, getpid());
	CHECK(write(s[0], "more", 4) == 4);
}

static void setup_creds(void)
{
	int on = 1;

	CHECK_CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	CHECK_CALL(socketpair(AF_UNIX, SOCK_DGRAM, 0, d));
	CHECK(write(s[0], "silent", 6) == 6);
	CHECK_CALL(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
	case_child(setup_child, NULL);
	CHECK(write(s[0], "parent", 6) == 6);
	send_along(d[0], "unasked", &s[0], 1, getpid());
	box = CHECK_CALL(socket(AF_UNIX, SOCK_DGRAM, 0));
	CHECK_CALL(bind(box, (struct sockaddr *)&name, sizeof(name)));
	CHECK_CALL(setsockopt(box, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
	q[0] = CHECK_CALL(socket(AF_UNIX, SOCK_DGRAM, 0));
	CHECK_CALL(connect(q[0], (struct sockaddr *)&name, sizeof(name)));
	send_along(q[0], "letter", &box, 1, 0);
}

static void check_creds(void)
{
	struct ucred u = { -1, 1, 1 };
	int on = 1, fd;

	receive(s[1], 100, "silent", NULL, 0, &u);
	CHECK_INT(u.pid, 0);
	receive(s[1], 100, "childmore", NULL, 0, &u);
	CHECK(u.pid > 0 && u.pid != getpid() && u.uid == getuid() && u.gid == getgid());
	receive(s[1], 100, "parent", NULL, 0, &u);
	CHECK_INT(u.pid, getpid());
	CHECK_CALL(setsockopt(d[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
	receive(d[1], 100, "unasked", &fd, 1, &u);
	CHECK_INT(u.pid, getpid());
	u.pid = 0;
	receive(box, 100, "letter", &fd, 1, &u);
	CHECK_INT(u.pid, getpid());
	send_along(q[0], "next", NULL, 0, 0);
	receive(fd, 100, "next", NULL, 0, NULL);
}

CASES({ "descriptors in flight arrive", setup, check },
      { "sockets in queues of each other and of themselves", setup_cycle, check_cycle },
      { "credentials in flight name who sent them", setup_creds, check_creds })
