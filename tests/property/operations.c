/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations on files: a row for each. Descriptors are slots, numbers from SLOT on; files are f0,
 * f1, ... of the working directory. What an operation returns is compared, so it must be the same
 * each time: no numbers of processes.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>
#include "tests/lib/case.h"
#include "tests/property/operations.h"

#define N_FILES 4
#define HOUR 3600

const char *operation_file(int i)
{
	static char name[16];

	snprintf(name, sizeof(name), "f%d", i);
	return name;
}

long operation_put(int fd, int at)
{
	if (fd < 0)
		return -1;
	dup2(fd, operation_slot(at));
	close(fd);
	return 0;
}

static long put_both(int r, const int *fd, int a, int b)
{
	if (r < 0)
		return -1;
	operation_put(fd[0], a);
	return operation_put(fd[1], b);
}

static long op_open(const int *a)
{
	static const int flags[] = {
		O_RDONLY | O_CREAT,         O_RDWR | O_CREAT, O_WRONLY | O_CREAT | O_APPEND,
		O_RDWR | O_CREAT | O_TRUNC, O_PATH,           O_RDWR | O_EXCL | O_CREAT
	};

	return operation_put(open(operation_file(a[1]), flags[a[2]] | O_NONBLOCK, 0640), a[0]);
}

static long op_dup(const int *a)
{
	return dup2(operation_slot(a[0]), operation_slot(a[1]));
}

static long op_close(const int *a)
{
	return close(operation_slot(a[0]));
}

static long op_pipe(const int *a)
{
	int fd[2];

	return put_both(pipe2(fd, O_NONBLOCK | (a[2] ? O_DIRECT : 0)), fd, a[0], a[1]);
}

static long op_socketpair(const int *a)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
	int fd[2];

	return put_both(socketpair(AF_UNIX, types[a[2]] | SOCK_NONBLOCK, 0, fd), fd, a[0], a[1]);
}

static long op_eventfd(const int *a)
{
	return operation_put(eventfd(a[1], EFD_NONBLOCK | (a[2] ? EFD_SEMAPHORE : 0)), a[0]);
}

static long op_timerfd(const int *a)
{
	struct itimerspec t = { { a[1] * HOUR, 0 }, { HOUR, 0 } };
	int fd = timerfd_create(a[2] ? CLOCK_REALTIME : CLOCK_MONOTONIC, TFD_NONBLOCK);

	timerfd_settime(fd, 0, &t, NULL);
	return operation_put(fd, a[0]);
}

static long op_signalfd(const int *a)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1 + a[1]);
	sigaddset(&set, SIGUSR2);
	return operation_put(signalfd(-1, &set, SFD_NONBLOCK), a[0]);
}

static long op_epoll(const int *a)
{
	return operation_put(epoll_create1(0), a[0]);
}

static long op_epoll_add(const int *a)
{
	struct epoll_event e = { a[2] ? EPOLLIN | EPOLLET : EPOLLIN | EPOLLOUT, { .u32 = a[1] } };

	return epoll_ctl(operation_slot(a[0]), EPOLL_CTL_ADD, operation_slot(a[1]), &e);
}

static long op_epoll_wait(const int *a)
{
	struct epoll_event e[16];
	int n = epoll_wait(operation_slot(a[0]), e, 16, 0);
	long sum = n;

	for (int i = 0; i < n; i++)
		sum += 1000 * (e[i].data.u32 + 1) + 100000 * e[i].events;
	return sum;
}

static long op_memfd(const int *a)
{
	return operation_put(memfd_create("m", a[1] ? MFD_ALLOW_SEALING : 0), a[0]);
}

static long op_seal(const int *a)
{
	return fcntl(operation_slot(a[0]), F_ADD_SEALS, a[1]);
}

static long op_write(const int *a)
{
	static char text[20000];

	memset(text, 'a' + a[2], sizeof(text));
	return write(operation_slot(a[0]), text, a[1] * 37 + 8);
}

static long op_read(const int *a)
{
	static unsigned char text[20000];
	ssize_t n = read(operation_slot(a[0]), text, a[1] * 41 + 8);
	unsigned long sum = 0;

	/* Of a signal, only which: who sent it has a number. */
	for (ssize_t i = 0; i < n && !(n == 128 && i >= 4); i++)
		sum = sum * 31 + text[i];
	return n < 0 ? n : (long)(sum & 0xffffff) * 100000 + n;
}

static long op_seek(const int *a)
{
	return lseek(operation_slot(a[0]), a[1] * 100, a[2]);
}

static long op_truncate(const int *a)
{
	return ftruncate(operation_slot(a[0]), a[1] * 777);
}

static long op_setfl(const int *a)
{
	return fcntl(operation_slot(a[0]), F_SETFL, O_NONBLOCK | (a[1] ? O_APPEND : 0));
}

static long op_cloexec(const int *a)
{
	return fcntl(operation_slot(a[0]), F_SETFD, a[1]);
}

static long op_state(const int *a)
{
	struct stat st = { 0 };
	long flags = fcntl(operation_slot(a[0]), F_GETFL);

	if (flags < 0)
		return -1;
	fstat(operation_slot(a[0]), &st);
	return flags + fcntl(operation_slot(a[0]), F_GETFD) * 10000000l +
	       (S_ISREG(st.st_mode) ? st.st_size * 100000000l + st.st_nlink * 20000000l : 0);
}

static long op_unlink(const int *a)
{
	return unlink(operation_file(a[0]));
}

static long op_rename(const int *a)
{
	char from[16];

	snprintf(from, sizeof(from), "%s", operation_file(a[0]));
	return rename(from, operation_file(a[1]));
}

static long op_chdir(const int *a)
{
	if (a[0])
		return chdir("..");
	mkdir("d", 0777);
	return chdir("d");
}

static long op_umask(const int *a)
{
	return umask(a[0]);
}

static long op_flock(const int *a)
{
	return flock(operation_slot(a[0]), LOCK_NB | (a[1] == 2 ? LOCK_UN :
						      a[1]      ? LOCK_EX :
								  LOCK_SH));
}

static long op_lock(const int *a)
{
	struct flock l = { .l_type = a[1] == 2 ? F_UNLCK :
				     a[1]      ? F_WRLCK :
						 F_RDLCK,
			   .l_start = a[2] * 10,
			   .l_len = 5 };

	return fcntl(operation_slot(a[0]), F_SETLK, &l);
}

static long op_socket(const int *a)
{
	return operation_put(socket(AF_UNIX, (a[1] ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK, 0),
			     a[0]);
}

static socklen_t address(struct sockaddr_un *to, int i)
{
	*to = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(to->sun_path, sizeof(to->sun_path), "s%d", i);
	return sizeof(*to);
}

static long op_bind(const int *a)
{
	struct sockaddr_un un;
	socklen_t len = address(&un, a[1]);

	return bind(operation_slot(a[0]), (void *)&un, len);
}

static long op_listen(const int *a)
{
	return listen(operation_slot(a[0]), 3);
}

/* Accepted at once: connections that wait are refused. */
static long op_connect(const int *a)
{
	struct sockaddr_un un;
	socklen_t len = address(&un, a[1]);

	if (connect(operation_slot(a[0]), (void *)&un, len) < 0)
		return -1;
	for (int i = 0; i < PROGRAM_SLOTS; i++) {
		int fd = accept4(operation_slot(i), NULL, NULL, SOCK_NONBLOCK);

		if (fd >= 0)
			return operation_put(fd, a[2]);
	}
	return 0;
}

static long op_shutdown(const int *a)
{
	return shutdown(operation_slot(a[0]), a[1]);
}

#define S PROGRAM_SLOTS
#define F N_FILES
static const struct operation rows[] = {
	{ "open", 8, { S, F, 6 }, op_open },
	{ "dup", 5, { S, S }, op_dup },
	{ "close", 4, { S }, op_close },
	{ "pipe", 4, { S, S, 2 }, op_pipe },
	{ "socketpair", 3, { S, S, 3 }, op_socketpair },
	{ "eventfd", 2, { S, 9, 2 }, op_eventfd },
	{ "timerfd", 2, { S, 3, 2 }, op_timerfd },
	{ "signalfd", 2, { S, 3 }, op_signalfd },
	{ "epoll", 2, { S }, op_epoll },
	{ "epoll_add", 4, { S, S, 2 }, op_epoll_add },
	{ "epoll_wait", 2, { S }, op_epoll_wait },
	{ "memfd", 2, { S, 2 }, op_memfd },
	{ "seal", 1, { S, 16 }, op_seal },
	{ "write", 10, { S, 200, 26 }, op_write },
	{ "read", 8, { S, 200 }, op_read },
	{ "seek", 2, { S, 50, 3 }, op_seek },
	{ "truncate", 2, { S, 60 }, op_truncate },
	{ "setfl", 1, { S, 2 }, op_setfl },
	{ "cloexec", 1, { S, 2 }, op_cloexec },
	{ "state", 4, { S }, op_state },
	{ "unlink", 2, { F }, op_unlink },
	{ "rename", 1, { F, F }, op_rename },
	{ "chdir", 1, { 2 }, op_chdir },
	{ "umask", 1, { 0100 }, op_umask },
	{ "flock", 1, { S, 3 }, op_flock },
	{ "lock", 1, { S, 3, 5 }, op_lock },
	{ "socket", 2, { S, 2 }, op_socket },
	{ "bind", 2, { S, 2 }, op_bind },
	{ "listen", 2, { S }, op_listen },
	{ "connect", 3, { S, 2, S }, op_connect },
	{ "shutdown", 1, { S, 3 }, op_shutdown },
};
const struct operations file_operations = { rows, ARRAY_SIZE(rows) };
