/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many system calls a dump makes for each thread, each descriptor and each process more: times
 * are no test, but nobody makes a dump slower without calls. Whoever adds some on purpose raises
 * the bound here and knows what it costs: a microsecond each, and the target stands still.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/fault.h"

#define FEW 8
#define MANY 40

static void *wait_in_thread(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void threads(int n)
{
	pthread_t t;

	for (int i = 0; i < n; i++)
		if (pthread_create(&t, NULL, wait_in_thread, NULL))
			_exit(1);
}

static void files(int n)
{
	for (int i = 0; i < n; i++)
		if (open("/proc/self/exe", O_RDONLY) < 0)
			_exit(1);
}

static void processes(int n)
{
	for (int i = 0; i < n; i++)
		if (!fork()) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			wait_in_thread(NULL);
		}
}

static pid_t start(void (*make)(int n), int n)
{
	int ready[2];
	char byte = 0;
	pid_t pid;

	if (pipe(ready) < 0)
		exit(1);
	pid = fork();
	if (!pid) {
		int null = open("/dev/null", O_RDWR);

		setsid();
		for (int fd = 0; fd < 3; fd++)
			dup2(null, fd);
		make(n);
		if (write(ready[1], &byte, 1) != 1)
			_exit(1);
		close(ready[0]);
		close(ready[1]);
		wait_in_thread(NULL);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		exit(1);
	close(ready[0]);
	return pid;
}

/* Calls of a dump of N of them. */
static double count(struct fault *f, void (*make)(int n), int n)
{
	struct step s = { .timeout_ms = 60000, .attended = true };
	pid_t pid = start(make, n);
	char target[24];

	snprintf(target, sizeof(target), "-t%d", pid);
	if (!step_run(&s, fault_argv(f, "dump", target, "-R"), f->out) || s.status)
		fault_failed(f, "a dump under a tracer fails (status %x)", s.status);
	fault_remove_image(f);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return s.n_calls - s.n_waits;
}

static void check(struct fault *f, const char *what, void (*make)(int n), double most)
{
	double each = (count(f, make, MANY) - count(f, make, FEW)) / (MANY - FEW);

	printf("# %.1f calls for each %s, at most %.0f are allowed\n", each, what, most);
	if (each > most)
		fault_failed(f, "a dump makes %.1f calls for each %s", each, what);
}

int main(int argc, char **argv)
{
	struct fault f;

	fault_init(&f, argc, argv);
	check(&f, "thread", threads, 90);
	check(&f, "descriptor", files, 16);
	check(&f, "process", processes, 375);
	return fault_end(&f, "calls of dumps");
}
