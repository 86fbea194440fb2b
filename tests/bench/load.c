/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For bench.sh: targets of one size in one dimension (small, memory, threads, processes, areas,
 * files; serve0, serve1, serve100: of so much memory, with that percentage written all the time),
 * the machine's own speed at the same work (write, read, read2: by two threads; warm before it),
 * and a command's wall time and peak memory (run).
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

/* ---- serve: requests, while a part of the memory is written all the time ---- */

#define N_TIMES (1u << 20)
#define REQUEST_US 50
#define WRITER_MS 100

struct writer {
	char *memory;
	size_t size;
	long percent; /* of it every WRITER_MS, 100: without a rest */
};

static void *write_memory(void *arg)
{
	const struct writer *w = arg;
	size_t n = w->size / PAGE, page = 0;

	for (uint64_t i = 0;; i++) {
		for (size_t k = 0; k < n * w->percent / 100; k++, page = (page + 7919) % n)
			*(volatile uint64_t *)(w->memory + page * PAGE) = i;
		if (w->percent < 100)
			test_sleep_ms(WRITER_MS);
	}
	return arg;
}

/* Of it as it is. */
static int64_t time_fork(void)
{
	int64_t start = test_now_ns(), taken;
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	taken = test_now_ns() - start;
	waitpid(pid, NULL, 0);
	return taken;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* TEXT, which it frees, is there at once or not at all. */
static void say(const char *dir, char *text)
{
	char *said = test_text("%s/said", dir), *new = test_text("%s/said.new", dir);

	test_write(new, "%s\n", text);
	rename(new, said);
	free(said);
	free(new);
	free(text);
}

/* The longest one, that of which one in a thousand is longer, in ms; how many a second; and how
 * long it was made to stand still. */
static void tell(const char *dir, uint32_t *us, size_t n, int64_t since, uint32_t still)
{
	qsort(us, n, sizeof(*us), by_value);
	say(dir, test_text("%.3f %.3f %.0f %.3f", us[n - 1] / 1e3, us[n - 1 - n / 1000] / 1e3,
			   n / ((test_now_ns() - since) / 1e9), still / 1e3));
}

/* How often this thread has given up its processor. */
static long n_waits(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nvcsw;
}

/* A request takes a rest and looks at some memory. Who had to wait another time than for the rest
 * was stopped, or had to wait for a lock or a page: it stood still. A request that is long without
 * that is one whose processor did something else, or stood still itself, as virtual ones do. When
 * there is DIR/ask, or DIR/fork, DIR/said is written. */
static void serve(char *memory, size_t size, const char *dir)
{
	char *ask = test_text("%s/ask", dir), *fork = test_text("%s/fork", dir);
	uint32_t *us = (uint32_t *)map(N_TIMES * sizeof(*us));
	volatile uint64_t sum = 0;
	int64_t since = test_now_ns(), last = since, looked = since;
	uint32_t still = 0;
	long waits = n_waits();
	size_t n = 0;

	for (uint64_t i = 0;; i++) {
		long waits_before = waits;
		int64_t now;

		usleep(REQUEST_US);
		for (int k = 0; k < 16; k++)
			sum += memory[(i * 16 + k) * 7919 % (size / PAGE) * PAGE];
		now = test_now_ns();
		waits = n_waits();
		us[n] = (now - last) / 1000;
		if (waits - waits_before > 1 && us[n] > still)
			still = us[n];
		n += n + 1 < N_TIMES;
		last = now;
		if (now - looked < 20000000)
			continue;
		looked = now;
		if (!unlink(ask)) {
			tell(dir, us, n, since, still);
			n = still = 0;
			since = last = test_now_ns();
		}
		if (!unlink(fork)) {
			say(dir, test_text("%.3f", time_fork() / 1e6));
			last = test_now_ns();
		}
		waits = n_waits();
	}
}

static void start_to_serve(long mib, long percent, const char *dir)
{
	static struct writer w;
	pthread_t t;

	w = (struct writer){ random_memory(mib * MIB), mib * MIB, percent };
	if (percent && pthread_create(&t, NULL, write_memory, &w))
		die("pthread_create");
	test_write(test_text("%s/ready", dir), "%d\n", getpid());
	serve(w.memory, w.size, dir);
}

static void target(const char *sort, long n, const char *dir)
{
	char *ready = test_text("%s/ready", dir);

	if (!strncmp(sort, "serve", 5))
		start_to_serve(n, atol(sort + 5), dir);
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

struct part {
	int fd;
	char *p;
	size_t from, to;
};

static void *read_part(void *arg)
{
	const struct part *part = arg;

	for (size_t done = part->from; done < part->to;) {
		ssize_t n = pread(part->fd, part->p + done, MIB, done);

		if (n <= 0)
			die("pread");
		done += n;
	}
	return NULL;
}

static void read_file(const char *path, long mib, bool by_two)
{
	int fd = open(path, O_RDONLY);
	int64_t start = test_now_ns();
	char *p = map(mib * MIB);
	size_t half = by_two ? mib / 2 * MIB : 0;
	struct part part[2] = { { fd, p, 0, half }, { fd, p, half, mib * MIB } };
	pthread_t t;

	if (by_two && pthread_create(&t, NULL, read_part, &part[0]))
		die("pthread_create");
	read_part(&part[1]);
	if (by_two)
		pthread_join(t, NULL);
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
	else if (!strncmp(argv[1], "read", 4))
		read_file(argv[3], atol(argv[2]), argv[1][4] == '2');
	else if (!strcmp(argv[1], "warm"))
		warm(atol(argv[2]));
	else
		target(argv[1], atol(argv[2]), argv[3]);
	return 0;
}
