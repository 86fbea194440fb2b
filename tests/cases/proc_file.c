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

/* Of threads, which are there last of all. */
static pthread_t thread;
static int opened;
static pid_t tid;

static void *run(void *arg)
{
	int fd = open("/proc/thread-self/stat", O_RDONLY);

	(void)arg;
	tid = syscall(SYS_gettid);
	dup2(fd, 57);
	dup3(fd, 59, O_CLOEXEC);
	close(fd);
	__atomic_store_n(&opened, 1, __ATOMIC_RELEASE);
	for (;;)
		pause();
	return NULL;
}

static void setup_thread(void)
{
	CHECK(!pthread_create(&thread, NULL, run, NULL));
	CHECK(EVENTUALLY(__atomic_load_n(&opened, __ATOMIC_ACQUIRE)));
	CHECK(read(57, text, 3) == 3);
	/* A gap below it. */
	CHECK_INT(dup2(57, 56), 56);
	CHECK_INT(dup2(2, 10), 10);
}

static void check_thread(void)
{
	expect_pid(57, tid);
	CHECK_INT(lseek(57, 0, SEEK_CUR), 3);
	CHECK_INT(lseek(59, 1, SEEK_SET), 1);
	CHECK_INT(lseek(56, 0, SEEK_CUR), 1);
	CHECK(fcntl(59, F_GETFD) == FD_CLOEXEC);
	CHECK(fcntl(57, F_GETFD) == 0);
	CHECK_INT(fcntl(0, F_DUPFD, 3), 3);
}

static void setup_refused(void)
{
	char path[64];
	int fd;

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
      { "files of threads show the same threads", setup_thread, check_thread },
      { "files of others are named", setup_refused, check_refused,
	.refused = { "fd 58", "outside of the tree" } })
