/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the preloaded library costs. `inside run MIB small|huge THREADS FOLDER`: holds memory and
 * watches the clock; writes what a plain fork of it takes to FOLDER/fork and, when FOLDER/ask
 * comes, the longest gap since the last time to FOLDER/gap, both in us. `inside cost NAME`: ns for
 * one operation, the least of several rounds.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* ---- run ---- */

static volatile int64_t longest;

static void *watch(void *arg)
{
	int64_t last = now_ns();

	for (;;) {
		int64_t now;

		usleep(50);
		now = now_ns();
		if (now - last > longest)
			longest = now - last;
		last = now;
	}
	return arg;
}

static void *idle(void *arg)
{
	for (;;)
		sleep(1000);
	return arg;
}

static int64_t time_fork(void)
{
	int64_t start = now_ns(), taken;
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	taken = now_ns() - start;
	waitpid(pid, NULL, 0);
	return taken;
}

static void put(const char *name, int64_t ns)
{
	FILE *f = fopen("new", "w");

	if (!f)
		abort();
	fprintf(f, "%lld\n", (long long)ns / 1000);
	fclose(f);
	rename("new", name);
}

static int run(size_t mib, int huge, int n_threads)
{
	size_t len = mib << 20;
	uint64_t x = 88172645463325252ull, *p;
	pthread_t t;

	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return 1;
	madvise(p, len, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	for (size_t i = 0; i < len / 8; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = x;
	}
	for (int i = 2; i < n_threads; i++)
		pthread_create(&t, NULL, idle, NULL);
	time_fork();
	put("fork", time_fork());
	pthread_create(&t, NULL, watch, NULL);
	for (;;) {
		usleep(10000);
		if (unlink("ask"))
			continue;
		put("gap", longest);
		longest = 0;
	}
	return 0;
}

/* ---- cost ---- */

static void do_open(void)
{
	char byte;
	int fd = open("/proc/self/comm", O_RDONLY);

	if (read(fd, &byte, 1) < 0)
		abort();
	close(fd);
}

static void do_malloc(void)
{
	void *volatile p = malloc(300);

	free(p);
}

static void do_clock(void)
{
	now_ns();
}

static void do_stat(void)
{
	struct stat st;

	stat("/", &st);
}

static void do_pipe(void)
{
	int fd[2];
	char byte = 0;

	if (pipe(fd) || write(fd[1], &byte, 1) < 0 || read(fd[0], &byte, 1) < 0)
		abort();
	close(fd[0]);
	close(fd[1]);
}

static void do_mutex(void)
{
	static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;

	pthread_mutex_lock(&m);
	pthread_mutex_unlock(&m);
}

static void do_poll(void)
{
	poll(NULL, 0, 0);
}

static void *nothing(void *arg)
{
	return arg;
}

static void do_thread(void)
{
	pthread_t t;

	pthread_create(&t, NULL, nothing, NULL);
	pthread_join(t, NULL);
}

static void do_fork(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
}

static void do_exec(void)
{
	pid_t pid = fork();

	if (!pid) {
		execl("/bin/true", "true", NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

static const struct {
	const char *name;
	void (*once)(void);
	int times;
} costs[] = {
	{ "open-read-close", do_open, 4000 },
	{ "malloc-free", do_malloc, 400000 },
	{ "clock_gettime", do_clock, 200000 },
	{ "stat", do_stat, 20000 },
	{ "pipe", do_pipe, 4000 },
	{ "mutex", do_mutex, 600000 },
	{ "poll", do_poll, 40000 },
	{ "thread", do_thread, 600 },
	{ "fork", do_fork, 100 },
	{ "fork-exec", do_exec, 40 },
};

static int cost(const char *name)
{
	for (size_t i = 0; i < sizeof(costs) / sizeof(costs[0]); i++) {
		int64_t least = INT64_MAX;

		if (strcmp(costs[i].name, name))
			continue;
		for (int round = 0; round < 5; round++) {
			int64_t start = now_ns(), taken;

			for (int k = 0; k < costs[i].times; k++)
				costs[i].once();
			taken = now_ns() - start;
			least = taken < least ? taken : least;
		}
		printf("%.1f\n", (double)least / costs[i].times);
		return 0;
	}
	return 2;
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "run") && !chdir(argv[5]))
		return run(atoi(argv[2]), !strcmp(argv[3], "huge"), atoi(argv[4]));
	if (argc == 3 && !strcmp(argv[1], "cost"))
		return cost(argv[2]);
	return 2;
}
