/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many system calls a dump makes for each thread, each descriptor and each process more: times
 * are no test, but nobody makes a dump slower without calls. Whoever adds some on purpose raises
 * the bound here and knows what it costs: a microsecond each, and the target stands still. From
 * inside the same, of who asks the program.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/fault.h"

#define FEW 8
#define MANY 40
#define READY 3 /* of a program that is executed: what it says so on */

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

static const struct sort {
	const char *name;
	void (*make)(int n);
	double most, most_inside; /* calls; 0: not counted */
} sorts[] = {
	{ "thread", threads, 68, 50 },
	{ "descriptor", files, 16, 0 },
	{ "process", processes, 328, 0 },
};

static void run(const struct sort *sort, int n, int ready)
{
	char byte = 0;

	sort->make(n);
	if (write(ready, &byte, 1) != 1)
		_exit(1);
	close(ready);
	wait_in_thread(NULL);
}

/* The library comes with an execve(2). */
static void execute(const struct fault *f, const struct sort *sort, int n, int ready)
{
	char number[12];

	snprintf(number, sizeof(number), "%d", n);
	dup2(ready, READY);
	inside_env_set(f->inside, f->dir);
	execl(f->program, f->program, sort->name, number, NULL);
	_exit(127);
}

static pid_t start(const struct fault *f, const struct sort *sort, int n)
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
		close(ready[0]);
		if (f->inside)
			execute(f, sort, n, ready[1]);
		run(sort, n, ready[1]);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		exit(1);
	close(ready[0]);
	return pid;
}

/* Calls of a dump of N of them. */
static double count(struct fault *f, const struct sort *sort, int n)
{
	struct step s = { .timeout_ms = 60000, .attended = !f->inside };
	pid_t pid = start(f, sort, n);
	char target[24], **argv;

	snprintf(target, sizeof(target), f->inside ? "%d" : "-t%d", pid);
	argv = fault_argv(f, "dump", target, "-R");
	if (f->inside) {
		argv[1] = (char *)f->inside->requester;
		argv++;
	}
	if (!step_run(&s, argv, f->out) || s.status)
		fault_failed(f, "a dump under a tracer fails (status %x)", s.status);
	fault_remove_image(f);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return s.n_calls - s.n_waits;
}

static double calls_for_each(struct fault *f, const struct sort *sort)
{
	return (count(f, sort, MANY) - count(f, sort, FEW)) / (MANY - FEW);
}

/* On a busy machine a dump looks again for what was on its way: the least of some tries counts. */
static void check(struct fault *f, const struct sort *sort, double most)
{
	const char *from = f->inside ? " from inside" : "";
	double each = calls_for_each(f, sort);

	for (int i = 0; each > most && i < 4; i++) {
		double again = calls_for_each(f, sort);

		each = again < each ? again : each;
	}
	printf("# %.1f calls for each %s%s, at most %.0f are allowed\n", each, sort->name, from,
	       most);
	if (each > most)
		fault_failed(f, "a dump%s makes %.1f calls for each %s", from, each, sort->name);
}

int main(int argc, char **argv)
{
	struct inside inside;
	struct fault f;

	for (size_t i = 0; argc == 3 && i < sizeof(sorts) / sizeof(sorts[0]); i++)
		if (!strcmp(argv[1], sorts[i].name))
			run(&sorts[i], atoi(argv[2]), READY);
#ifdef __SANITIZE_ADDRESS__
	puts("skip - a process with a sanitizer has more areas, each of which is looked at");
	return 77;
#endif
	fault_init(&f, argc, argv);
	for (size_t i = 0; i < sizeof(sorts) / sizeof(sorts[0]); i++)
		check(&f, &sorts[i], sorts[i].most);
	f.inside = inside_find(&inside, f.ckpt) ? &inside : NULL;
	for (size_t i = 0; f.inside && i < sizeof(sorts) / sizeof(sorts[0]); i++)
		if (sorts[i].most_inside)
			check(&f, &sorts[i], sorts[i].most_inside);
	return fault_end(&f, "calls of dumps");
}
