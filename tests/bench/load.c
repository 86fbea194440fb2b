/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For bench.sh: targets of one size in one dimension (small, memory, threads, processes, areas,
 * files), the machine's own speed at the same work (write, read; warm before it), and a command's
 * wall time and peak memory (run).
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/proc.h"

#define MIB (1ul << 20)
#define PAGE 4096ul

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static char *map(size_t size)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

/* Memory that the machine's host has just given us, free again. */
static void warm(long mib)
{
	char *p = map(mib * MIB);

	memset(p, 1, mib * MIB);
	munmap(p, mib * MIB);
}

/* Random, so that nothing can be left out as zeros or duplicates. */
static char *random_memory(size_t size)
{
	uint64_t *p = (uint64_t *)map(size), x = 88172645463325252ull ^ getpid();

	for (size_t i = 0; i < size / 8; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = x;
	}
	return (char *)p;
}

static void *wait_in_thread(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void threads(long n)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 << 10);
	for (long i = 1; i < n; i++)
		if (pthread_create(&t, &attr, wait_in_thread, NULL))
			die("pthread_create");
}

static void processes(long n)
{
	for (long i = 1; i < n; i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (pid == 0) {
			random_memory(MIB);
			wait_in_thread(NULL);
		}
	}
	random_memory(MIB);
	test_sleep_ms(1000);
}

static void areas(long n)
{
	char *p = map(2 * n * PAGE);

	for (long i = 0; i < n; i += 2) {
		p[i * PAGE] = i;
		if (mprotect(p + i * PAGE, PAGE, PROT_READ) < 0)
			die("mprotect");
	}
}

static void files(long n, const char *dir)
{
	struct rlimit lim;
	char name[300];

	getrlimit(RLIMIT_NOFILE, &lim);
	lim.rlim_cur = lim.rlim_max;
	setrlimit(RLIMIT_NOFILE, &lim);
	for (long i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%s/f%ld", dir, i);
		if (open(name, O_CREAT | O_RDWR, 0600) < 0)
			die(name);
	}
}

static void target(const char *sort, long n, const char *dir)
{
	char *ready = test_text("%s/ready", dir);

	if (!strcmp(sort, "memory"))
		random_memory(n * MIB);
	else if (!strcmp(sort, "threads"))
		threads(n);
	else if (!strcmp(sort, "processes"))
		processes(n);
	else if (!strcmp(sort, "areas"))
		areas(n);
	else if (!strcmp(sort, "files"))
		files(n, dir);
	test_write(ready, "%d\n", getpid());
	wait_in_thread(NULL);
}

static void write_file(const char *path, long mib)
{
	char *p = random_memory(mib * MIB);
	size_t done = 0;
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	int64_t start;

	warm(mib);
	start = test_now_ns();
	while (done < mib * MIB) {
		ssize_t n = write(fd, p + done, MIB);

		if (n <= 0)
			die(path);
		done += n;
	}
	printf("%.3f\n", (test_now_ns() - start) / 1e6);
}

static void read_file(const char *path, long mib)
{
	int fd = open(path, O_RDONLY);
	size_t done = 0;
	int64_t start = test_now_ns();
	char *p = map(mib * MIB);

	while (done < mib * MIB) {
		ssize_t n = pread(fd, p + done, MIB, done);

		if (n <= 0)
			die(path);
		done += n;
	}
	printf("%.3f\n", (test_now_ns() - start) / 1e6);
}

/* "wall ms, KiB of memory at the peak, exit status" after what the command prints. */
static int run(char **argv)
{
	int64_t start = test_now_ns();
	struct rusage usage;
	int status;
	pid_t pid = vfork();

	if (pid == 0) {
		execv(argv[0], argv);
		_exit(127);
	}
	if (wait4(pid, &status, 0, &usage) < 0)
		die("wait4");
	printf("wall %.3f peak %ld status %d\n", (test_now_ns() - start) / 1e6, usage.ru_maxrss,
	       WIFEXITED(status) ? WEXITSTATUS(status) : 128);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[1], "run"))
		return run(argv + 2);
	if (argc != 4)
		return 2;
	if (!strcmp(argv[1], "write"))
		write_file(argv[3], atol(argv[2]));
	else if (!strcmp(argv[1], "read"))
		read_file(argv[3], atol(argv[2]));
	else if (!strcmp(argv[1], "warm"))
		warm(atol(argv[2]));
	else
		target(argv[1], atol(argv[2]), argv[3]);
	return 0;
}
