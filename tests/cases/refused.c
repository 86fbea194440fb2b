/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What cannot be captured is refused by name, all of it at once, by `ckpt check -t` and by the
 * dump, which leaves no image; the program goes on and does not notice.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/case.h"

static int tcp[3], ring, uffd, pidfd, fds[2];
static char buf[100];

/* Moves a descriptor to a number that can be found in what ckpt says. */
static int at(int fd, int number)
{
	CHECK(dup2(fd, number) == number);
	close(fd);
	return number;
}

static int userfaultfd(void)
{
	int fd = syscall(SYS_userfaultfd,
			 O_CLOEXEC | O_NONBLOCK | 1 /* UFFD_USER_MODE_ONLY, 5.11 */);

	if (fd < 0)
		case_skip("no userfaultfd: %m");
	return fd;
}

static void connect_tcp(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);

	tcp[0] = CHECK_CALL(socket(AF_INET, SOCK_STREAM, 0));
	if (bind(tcp[0], (struct sockaddr *)&a, len) < 0)
		case_skip("no loopback network: %m");
	CHECK_CALL(listen(tcp[0], 1));
	CHECK_CALL(getsockname(tcp[0], (struct sockaddr *)&a, &len));
	tcp[1] = CHECK_CALL(socket(AF_INET, SOCK_STREAM, 0));
	if (connect(tcp[1], (struct sockaddr *)&a, len) < 0)
		case_skip("no loopback network: %m");
	tcp[2] = CHECK_CALL(accept(tcp[0], NULL, NULL));
	tcp[1] = at(tcp[1], 41);
	tcp[2] = at(tcp[2], 42);
}

static void setup(void)
{
	struct io_uring_params params = { 0 };

	connect_tcp();
	ring = syscall(SYS_io_uring_setup, 4, &params);
	if (ring < 0)
		case_skip("no io_uring: %m");
	ring = at(ring, 43);
	uffd = at(userfaultfd(), 44);
	pidfd = CHECK_CALL(syscall(SYS_pidfd_open, getppid(), 0));
	pidfd = at(pidfd, 45);
}

static void check(void)
{
	struct stat st;

	CHECK(write(tcp[1], "over tcp", 8) == 8);
	CHECK(read(tcp[2], buf, 100) == 8);
	CHECK(write(42, "back", 4) == 4 && read(41, buf, 100) == 4);
	CHECK(read(uffd, buf, 100) < 0);
	CHECK_CALL(fcntl(pidfd, F_GETFD));
	CHECK_CALL(fstat(ring, &st));
}

/* Of a child, one is named, too. */
static void setup_child(void)
{
	at(userfaultfd(), 47);
}

static void setup_in_child(void)
{
	case_child(setup_child, NULL);
}

static void setup_lock(void)
{
	int fd = CHECK_CALL(open("locked", O_CREAT | O_RDWR, 0644));

	fd = at(fd, 48);
	CHECK_CALL(flock(fd, LOCK_EX));
}

static void check_lock(void)
{
	int fd = CHECK_CALL(open("locked", O_RDWR));

	CHECK(flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK);
}

static char *secret;

static void setup_area(void)
{
	int fd = syscall(447, 0); /* memfd_secret, Linux 5.14 */

	if (fd < 0)
		case_skip("no secret memory: %m");
	CHECK_CALL(ftruncate(fd, 4096));
	secret = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (secret == MAP_FAILED)
		case_skip("no secret memory: %m");
	strcpy(secret, "quiet");
	close(fd);
}

static void check_area(void)
{
	CHECK_TEXT(secret, "quiet");
}

/* The other end of a pipe and of a socket is in a process outside of the tree. */
static void setup_outside(void)
{
	int p[2];
	pid_t pid;

	CHECK_CALL(pipe(p));
	CHECK_CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
	pid = fork();
	if (pid == 0) {
		/* An orphan: its parent ends, so it becomes the harness'. */
		setsid();
		if (fork() == 0) {
			for (;;)
				pause();
		}
		_exit(0);
	}
	CHECK(dup2(p[0], 51) == 51);
	close(p[0]);
	close(p[1]);
	CHECK(dup2(fds[0], 52) == 52);
	close(fds[0]);
	close(fds[1]);
	CHECK_INT(waitpid(pid, NULL, 0), pid);
}

static void check_outside(void)
{
	struct pollfd p[2] = { { 51, POLLIN, 0 }, { 52, POLLIN, 0 } };

	CHECK_INT(poll(p, 2, 0), 0);
	CHECK(write(52, "x", 1) == 1);
}

CASES({ "files that cannot be captured are named all at once", setup, check,
	.refused = { "fd 41", "fd 42", "fd 43", "fd 44", "fd 45", "an io_uring", "a userfaultfd",
		     "kernel.io_uring_disabled", "CKPT-E0201" } },
      { "what a child holds is named", setup_in_child, NULL,
	.refused = { "fd 47", "a userfaultfd" } },
      { "a file lock is refused", setup_lock, check_lock,
	.refused = { "fd 48", "CKPT-E0209", "--file-locks" },
	.not_inside = "from inside locks are kept without being asked for" },
      { "secret memory is refused", setup_area, check_area, .refused = { "CKPT-E0205" } },
      { "files that lead outside of the tree are named", setup_outside, check_outside,
	.refused = { "fd 51", "fd 52", "CKPT-E0202" } })
