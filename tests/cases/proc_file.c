/* SPDX-License-Identifier: Apache-2.0 */
/* Files of /proc that show processes of the tree, by every path that leads there. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "tests/lib/case.h"

static int status, maps, mem, net, fds, of_child, thread_stat, environ_fd, root;
static pid_t child;
static char text[4096];
static int here = 1234567;

static void check_child(void)
{
	ssize_t n = pread(status, text, sizeof(text) - 1, 0);

	CHECK(n > 0);
	text[n] = 0;
	snprintf(text + 2000, 100, "\nPid:\t%d\n", getppid());
	CHECK(strstr(text, text + 2000));
}

static void setup(void)
{
	char path[64];

	status = CHECK_CALL(open("/proc/self/status", O_RDONLY));
	maps = CHECK_CALL(open("/proc/self/maps", O_RDONLY | O_CLOEXEC));
	mem = CHECK_CALL(open("/proc/self/mem", O_RDWR));
	net = CHECK_CALL(open("/proc/net/dev", O_RDONLY));
	fds = CHECK_CALL(open("/proc/self/fd", O_RDONLY | O_DIRECTORY));
	root = CHECK_CALL(open("/proc/self", O_PATH));
	environ_fd = CHECK_CALL(open("/proc/thread-self/environ", O_RDONLY));
	CHECK(read(status, text, 10) == 10);
	CHECK_INT(lseek(mem, (off_t)(uintptr_t)&here, SEEK_SET), (off_t)(uintptr_t)&here);
	child = case_child(NULL, check_child);
	snprintf(path, sizeof(path), "/proc/%d/stat", child);
	of_child = CHECK_CALL(open(path, O_RDONLY));
	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", child, child);
	thread_stat = CHECK_CALL(open(path, O_RDONLY));
}

static void expect_pid(int fd, pid_t pid)
{
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	CHECK(n > 0);
	text[n] = 0;
	CHECK_INT(atoi(text), pid);
}

static void check(void)
{
	char line[64];
	struct stat st;
	int value = 0, n = 0;
	DIR *dir;

	CHECK_INT(lseek(status, 0, SEEK_CUR), 10);
	CHECK(pread(status, text, sizeof(text) - 1, 0) > 0);
	snprintf(line, sizeof(line), "\nPid:\t%d\n", getpid());
	CHECK(strstr(text, line));
	CHECK(read(maps, text, sizeof(text)) > 0);
	CHECK(fcntl(maps, F_GETFD) == FD_CLOEXEC);
	CHECK(read(mem, &value, sizeof(value)) == sizeof(value));
	CHECK_INT(value, 1234567);
	value = 7654321;
	CHECK(pwrite(mem, &value, sizeof(value), (off_t)(uintptr_t)&here) == sizeof(value));
	CHECK_INT(*(volatile int *)&here, 7654321);
	CHECK(read(net, text, sizeof(text)) > 0);
	CHECK(read(environ_fd, text, sizeof(text)) >= 0);
	CHECK_CALL(fstatat(root, "status", &st, 0));
	CHECK_CALL(fstatat(fds, "0", &st, AT_SYMLINK_NOFOLLOW));
	dir = fdopendir(fds);
	while (readdir(dir))
		n++;
	CHECK(n > 8);
	expect_pid(of_child, child);
	expect_pid(thread_stat, child);
}

/* What cannot be opened by who restores. */
static pthread_t thread;
static int late;

static void *run(void *arg)
{
	int fd = open("/proc/thread-self/stat", O_RDONLY);

	(void)arg;
	dup2(fd, 57);
	close(fd);
	__atomic_store_n(&late, 1, __ATOMIC_RELEASE);
	for (;;)
		pause();
	return NULL;
}

static void setup_refused(void)
{
	char path[64];
	int fd;

	CHECK(!pthread_create(&thread, NULL, run, NULL));
	CHECK(EVENTUALLY(__atomic_load_n(&late, __ATOMIC_ACQUIRE)));
	snprintf(path, sizeof(path), "/proc/%d/stat", getppid());
	fd = CHECK_CALL(open(path, O_RDONLY));
	CHECK_INT(dup2(fd, 58), 58);
	close(fd);
}

static void check_refused(void)
{
	expect_pid(58, getppid());
}

CASES({ "files of processes show the same processes", setup, check },
      { "files of threads and of others are named", setup_refused, check_refused,
	.refused = { "fd 57", "fd 58", "thread", "outside of the tree" } })
