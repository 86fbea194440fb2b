/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets: made, dumped, closed, restored and looked at. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>
#include "engine/base/codes.h"
#include "engine/plan/actor.h"
#include "proto/unix.pb-c.h"
#include "tests/lib/file-stage.h"
#include "tests/lib/tap.h"

static char dir[64];

static const char *in_dir(const char *name)
{
	static char path[4][108];
	static unsigned int n;

	n = (n + 1) % 4;
	snprintf(path[n], sizeof(path[n]), "%s/%s", dir, name);
	return path[n];
}

static socklen_t address(struct sockaddr_un *a, const char *name)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	strcpy(a->sun_path + (name[0] == '@'), name + (name[0] == '@'));
	return offsetof(struct sockaddr_un, sun_path) + strlen(name) + (name[0] != '@');
}

static int bound(int type, const char *name)
{
	struct sockaddr_un a;
	socklen_t len = address(&a, name);
	int fd = socket(AF_UNIX, type, 0);

	return bind(fd, (void *)&a, len) < 0 ? -1 : fd;
}

static int join(int fd, const char *name)
{
	struct sockaddr_un a;
	socklen_t len = address(&a, name);

	return connect(fd, (void *)&a, len);
}

static bool is_named(int fd, const char *name)
{
	struct sockaddr_un a, b;
	socklen_t len = sizeof(a),
		  want = name ? address(&b, name) : offsetof(struct sockaddr_un, sun_path);

	return getsockname(fd, (void *)&a, &len) == 0 && len == want &&
	       (!name ||
		!memcmp(a.sun_path, b.sun_path, len - offsetof(struct sockaddr_un, sun_path)));
}

static bool gives(int fd, const char *text)
{
	char buf[256] = "";

	return recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT) == (ssize_t)strlen(text) &&
	       !strcmp(buf, text);
}

static bool ends(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_DONTWAIT) == 0;
}

static bool is_quiet(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static int option(int fd, int name)
{
	socklen_t len = sizeof(int);
	int value = -1;

	getsockopt(fd, SOL_SOCKET, name, &value, &len);
	return value;
}

static void set_option(int fd, int name, int value)
{
	setsockopt(fd, SOL_SOCKET, name, &value, sizeof(value));
}

static bool refused(struct file_stage *s, int number)
{
	bool done = file_round_trip(s);

	printf("# %s\n", s->problem);
	return !done && s->number == number;
}

static void test_pair(void)
{
	struct timeval tv = { 7, 500000 }, got;
	socklen_t len = sizeof(got);
	int p[2];

	socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p);
	set_option(p[0], SO_SNDBUF, 10000);
	set_option(p[0], SO_PASSCRED, 1);
	set_option(p[1], SO_RCVLOWAT, 3);
	setsockopt(p[1], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	ok(send(p[0], "abc", 3, 0) == 3 && send(p[0], "def", 3, 0) == 3, "a pair");
	ok(file_round_trip_of(p[0], p[1], -1), "it comes back");
	ok(gives(p[1], "abcdef") && is_quiet(p[1]), "content of one side");
	ok(send(p[1], "xyz", 3, 0) == 3 && recv(p[0], &tv, 1, MSG_DONTWAIT) == 1,
	   "both are connected");
	ok(option(p[0], SO_SNDBUF) == 20000 && option(p[0], SO_PASSCRED) == 1 &&
		   option(p[1], SO_RCVLOWAT) == 3,
	   "options");
	ok(getsockopt(p[1], SOL_SOCKET, SO_RCVTIMEO, &got, &len) == 0 && got.tv_sec == 7 &&
		   got.tv_usec == 500000,
	   "times");
	ok(fcntl(p[0], F_GETFL) & O_NONBLOCK, "flags");
	close(p[0]), close(p[1]);
}

static void test_shut(void)
{
	int p[2];

	socketpair(AF_UNIX, SOCK_STREAM, 0, p);
	send(p[0], "last", 4, 0);
	shutdown(p[0], SHUT_WR);
	ok(file_round_trip_of(p[1], p[0], -1) && gives(p[1], "last") && ends(p[1]),
	   "shut down one way");
	ok(send(p[1], "x", 1, 0) == 1 && gives(p[0], "x"), "and not the other");
	close(p[0]), close(p[1]);
	socketpair(AF_UNIX, SOCK_STREAM, 0, p);
	send(p[0], "will", 4, 0);
	close(p[0]);
	ok(file_round_trip_of(p[1], -1) && gives(p[1], "will") && ends(p[1]),
	   "what a closed peer left");
	ok(send(p[1], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE, "and it is gone");
	close(p[1]);
	socketpair(AF_UNIX, SOCK_STREAM, 0, p);
	send(p[1], "unread", 6, 0);
	close(p[0]);
	ok(file_round_trip_of(p[1], -1) && option(p[1], SO_ERROR) == ECONNRESET,
	   "a reset connection");
	close(p[1]);
}

static void test_messages(int type, const char *what)
{
	int p[2];

	socketpair(AF_UNIX, type, 0, p);
	ok(send(p[0], "one", 3, 0) == 3 && send(p[0], "", 0, 0) == 0 &&
		   send(p[0], "three", 5, 0) == 5,
	   "%s", what);
	ok(file_round_trip_of(p[0], p[1], -1), "a pair comes back");
	ok(gives(p[1], "one") && gives(p[1], "") && gives(p[1], "three") && is_quiet(p[1]),
	   "with message boundaries");
	ok(send(p[1], "back", 4, 0) == 4 && gives(p[0], "back"), "and connected");
	set_option(p[1], SO_PEEK_OFF, 2);
	send(p[0], "four", 4, 0);
	ok(file_round_trip_of(p[0], p[1], -1) && option(p[1], SO_PEEK_OFF) == 2 &&
		   gives(p[1], "four"),
	   "SO_PEEK_OFF is kept");
	send(p[0], "five", 4, 0), send(p[0], "six", 3, 0);
	close(p[0]);
	ok(file_round_trip_of(p[1], -1) && gives(p[1], "five") && gives(p[1], "six"),
	   "without its peer");
	ok(send(p[1], "x", 1, MSG_NOSIGNAL) < 0, "that is gone");
	close(p[1]);
}

/* A dump must not be seen in the original: what it held, and where peeks start. */
static void test_untouched(void)
{
	int p[2], q[2];
	struct file_stage s = { .n = 4 };

	socketpair(AF_UNIX, SOCK_SEQPACKET, 0, p);
	socketpair(AF_UNIX, SOCK_STREAM, 0, q);
	send(p[0], "one", 3, 0), send(p[0], "two", 3, 0), send(q[0], "bytes", 5, 0);
	s.fd[0] = p[1], s.fd[1] = q[1], s.fd[2] = open("/proc/self/maps", O_RDONLY), s.fd[3] = p[0];
	ok(refused(&s, CKPT_E_FILE_KIND), "a dump that fails");
	is(option(p[1], SO_PEEK_OFF), -1, "leaves the offset");
	ok(gives(p[1], "one") && gives(p[1], "two") && gives(q[1], "bytes"), "and the queues");
	close(p[0]), close(p[1]), close(q[0]), close(q[1]), close(s.fd[2]);
}

/* Nobody can tell which error it is without taking it. */
static void test_error(void)
{
	struct file_stage s = { .n = 1 };
	int p[2];

	socketpair(AF_UNIX, SOCK_SEQPACKET, 0, p);
	send(p[1], "unread", 6, 0);
	close(p[0]);
	s.fd[0] = p[1];
	ok(refused(&s, CKPT_E_FILE_KIND) && option(p[1], SO_ERROR) == ECONNRESET,
	   "an error before the queue stays there");
	close(p[1]);
}

static void test_listener(int type, const char *name, const char *what)
{
	int l = bound(type, name), c = socket(AF_UNIX, type, 0), a = -1, b = -1;
	int d = socket(AF_UNIX, type, 0);
	struct stat st;

	listen(l, 5);
	if (name[0] != '@')
		chmod(name, 0620);
	ok(join(c, name) == 0 && (a = accept(l, NULL, NULL)) >= 0, "%s", what);
	ok(join(d, name) == 0 && (b = accept(l, NULL, NULL)) >= 0, "two connections");
	ok(send(c, "to server", 9, 0) == 9 && send(a, "to client", 9, 0) == 9, "with content");
	ok(file_round_trip_of(c, a, b, l, d, -1), "come back");
	ok(gives(a, "to server") && gives(c, "to client"), "with that");
	ok(is_named(a, name) && is_named(b, name) && is_named(c, NULL) && is_named(l, name),
	   "and their names");
	ok(send(d, "hi", 2, 0) == 2 && gives(b, "hi"), "connected as they were");
	close(c);
	c = socket(AF_UNIX, type | SOCK_NONBLOCK, 0);
	close(a);
	ok(join(c, name) == 0 && (a = accept(l, NULL, NULL)) >= 0, "and new ones can be made");
	if (name[0] != '@')
		ok(stat(name, &st) == 0 && (st.st_mode & 07777) == 0620, "the file is what it was");
	close(b), close(c), close(d), close(l);
	ok(file_round_trip_of(a, -1) && is_named(a, name) && ends(a), "one that is left of all");
	close(a);
	unlink(name);
}

static void test_names(void)
{
	int l = bound(SOCK_STREAM, in_dir("l")), c = bound(SOCK_STREAM, "@ckpt-test-client"), a, r;
	char cwd[256];

	listen(l, 1);
	join(c, in_dir("l"));
	a = accept(l, NULL, NULL);
	close(l);
	ok(file_round_trip_of(a, c, -1) && is_named(a, in_dir("l")) &&
		   is_named(c, "@ckpt-test-client"),
	   "both named, the listener closed");
	ok(send(a, "x", 1, 0) == 1 && gives(c, "x"), "and connected");
	close(a), close(c);
	ok(access(in_dir("l"), F_OK) == 0 && unlink(in_dir("l")) == 0, "its file stays");
	l = bound(SOCK_STREAM, in_dir("l"));
	listen(l, 1);
	unlink(in_dir("l"));
	ok(file_round_trip_of(l, -1) && is_named(l, in_dir("l")) && access(in_dir("l"), F_OK) < 0,
	   "one whose file is gone");
	close(l);
	getcwd(cwd, sizeof(cwd));
	chdir(dir);
	r = bound(SOCK_DGRAM, "relative");
	ok(file_round_trip_of(r, -1) && is_named(r, "relative") &&
		   access(in_dir("relative"), F_OK) == 0,
	   "a relative name");
	chdir("/");
	struct file_stage s = { .fd = { r }, .n = 1 };
	ok(refused(&s, CKPT_E_FILE_KIND), "is refused when it leads nowhere");
	chdir(cwd);
	close(r), unlink(in_dir("relative"));
}

static void take_name(void *arg)
{
	*(int *)arg = bound(SOCK_STREAM, in_dir("taken"));
	listen(*(int *)arg, 1);
}

static void test_taken(void)
{
	int l, other = -1;
	struct file_stage s = { .n = 1, .arg = &other };

	l = bound(SOCK_STREAM, in_dir("taken"));
	listen(l, 1);
	ok(file_round_trip_of(l, -1), "what the dead socket left is put aside");
	s.fd[0] = l;
	s.between = take_name;
	unlink(in_dir("taken"));
	close(l);
	s.fd[0] = bound(SOCK_STREAM, in_dir("taken"));
	listen(s.fd[0], 1);
	unlink(in_dir("taken"));
	take_name(&other);
	ok(join(s.fd[0], in_dir("taken")) < 0, "another one took the path");
	s.between = NULL;
	/* Nobody is to be connected to it: a name that nobody sees will do, where that can be made.
	 */
	ok(geteuid() ? refused(&s, CKPT_E_ADDRESS_IN_USE) : file_round_trip_of(s.fd[0], -1),
	   "which is left to it, or refused");
	ok(join(socket(AF_UNIX, SOCK_STREAM, 0), in_dir("taken")) == 0, "it listens there");
	ok(is_named(s.fd[0], in_dir("taken")), "and so does the old one, for nobody");
	close(other), unlink(in_dir("taken"));
}

static void test_datagrams(void)
{
	int s = bound(SOCK_DGRAM, in_dir("server")), c = bound(SOCK_DGRAM, "@ckpt-test-sender");
	int u = socket(AF_UNIX, SOCK_DGRAM, 0), out = bound(SOCK_DGRAM, "@ckpt-test-outside");
	struct sockaddr_un from = { 0 };
	socklen_t len = sizeof(from);
	char buf[16];
	struct file_stage st = { .n = 1 };

	join(c, in_dir("server")), join(u, in_dir("server"));
	ok(send(c, "named", 5, 0) == 5 && send(u, "nobody", 6, 0) == 6, "a datagram server");
	shutdown(c, SHUT_RD);
	ok(file_round_trip_of(u, c, s, -1), "comes back with its clients");
	ok(recvfrom(s, buf, sizeof(buf), MSG_DONTWAIT, (void *)&from, &len) == 5 &&
		   !from.sun_path[0] && !strcmp(from.sun_path + 1, "ckpt-test-sender"),
	   "knows who sent");
	ok(gives(s, "nobody") && is_quiet(s), "and who did not say");
	ok(send(u, "again", 5, 0) == 5 && gives(s, "again"), "clients are connected");
	join(u, "@ckpt-test-outside");
	ok(file_round_trip_of(u, -1) && send(u, "log", 3, 0) == 3 && gives(out, "log"),
	   "to somebody outside");
	ok(send(c, "more", 4, 0) == 4, "a message of one outside");
	st.fd[0] = s;
	ok(refused(&st, CKPT_E_EXTERNAL_PEER), "is refused");
	close(s), close(c), close(u), close(out), unlink(in_dir("server"));
}

static void test_refused(void)
{
	int p[2], l = bound(SOCK_STREAM, "@ckpt-test-l"), c = socket(AF_UNIX, SOCK_STREAM, 0);
	struct file_stage s = { .n = 1 };
	char room[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct iovec iov = { "x", 1 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = room,
			    .msg_controllen = sizeof(room) };

	for (int i = 0; i < 3; i++) {
		socketpair(AF_UNIX,
			   i == 0 ? SOCK_STREAM :
			   i == 1 ? SOCK_DGRAM :
				    SOCK_SEQPACKET,
			   0, p);
		s = (struct file_stage){ .fd = { p[0] }, .n = 1 };
		ok(refused(&s, CKPT_E_EXTERNAL_PEER), "a peer outside");
		*CMSG_FIRSTHDR(&m) =
			(struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &l, sizeof(l));
		send(p[0], "first", 5, 0);
		sendmsg(p[0], &m, 0);
		s = (struct file_stage){ .fd = { p[0], p[1] }, .n = 2 };
		ok(refused(&s, CKPT_E_IN_FLIGHT), "descriptors in flight");
		close(p[0]), close(p[1]);
	}
	listen(l, 1);
	join(c, "@ckpt-test-l");
	s = (struct file_stage){ .fd = { l }, .n = 1 };
	ok(refused(&s, CKPT_E_NOT_ACCEPTED), "a connection from outside that is not accepted yet");
	s = (struct file_stage){ .fd = { c }, .n = 1 };
	ok(refused(&s, CKPT_E_EXTERNAL_PEER), "nor one to somebody outside");
	send(c, "early", 5, 0);
	s = (struct file_stage){ .fd = { l, c }, .n = 2 };
	ok(refused(&s, CKPT_E_NOT_ACCEPTED), "what it has sent");
	close(l), close(c);
	socketpair(AF_UNIX, SOCK_STREAM, 0, p);
	send(p[0], "!", 1, MSG_OOB);
	s = (struct file_stage){ .fd = { p[0], p[1] }, .n = 2 };
	ok(refused(&s, CKPT_E_FILE_KIND), "urgent data");
	close(p[0]), close(p[1]);
}

static void forget_creds(ProtobufCMessage *msg)
{
	((Ckpt__Unix *)msg)->creds = NULL;
}

static void test_hostile(void)
{
	struct file_stage s = { .n = 1, .spoil = forget_creds };
	int p[2];

	socketpair(AF_UNIX, SOCK_DGRAM, 0, p);
	close(p[0]);
	s.fd[0] = p[1];
	ok(refused(&s, CKPT_E_IMAGE_DAMAGED), "neither a pair nor connected to a name");
	close(p[1]);
}

static int die(void *arg, struct ckpt_err *err)
{
	(void)arg, (void)err;
	kill(syscall(SYS_getpid), SIGKILL);
	return 0;
}

static void test_actor(void)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	const struct ckpt_actor any = { .uid = -1 };

	ok(ckpt_act_as(&any, die, NULL, NULL, &err) == -EIO,
	   "who is killed before it has done it has failed: %s", err.text);
}

int main(void)
{
	int plain = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(dir, "/tmp/ckpt-test-unix.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	test_pair();
	test_shut();
	test_messages(SOCK_SEQPACKET, "SOCK_SEQPACKET");
	test_messages(SOCK_DGRAM, "SOCK_DGRAM");
	test_untouched();
	test_error();
	test_listener(SOCK_STREAM, "@ckpt-test-listener", "an abstract listener");
	test_listener(SOCK_SEQPACKET, in_dir("sock"), "a listener at a path");
	test_names();
	test_taken();
	test_datagrams();
	test_refused();
	test_hostile();
	test_actor();
	ok(file_round_trip_of(plain, -1) && join(plain, "@ckpt-no-such") < 0,
	   "one that does nothing");
	ok(rmdir(dir) == 0, "nothing was left in the folder");
	return tap_end();
}
