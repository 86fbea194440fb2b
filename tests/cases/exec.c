/* SPDX-License-Identifier: Apache-2.0 */
/* Storms: programs that fork, map and unmap, exec and end all the time while they are dumped. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/case.h"

static volatile int stop;
static volatile unsigned long rounds[4];
static pthread_t threads[4];

static void *fork_and_wait(void *arg)
{
	while (!stop) {
		int status;
		pid_t pid = CHECK_CALL(fork());

		if (pid == 0)
			_exit(17);
		CHECK_INT(waitpid(pid, &status, 0), pid);
		CHECK(WIFEXITED(status));
		CHECK_INT(WEXITSTATUS(status), 17);
		rounds[0]++;
	}
	return arg;
}

static void *map_and_unmap(void *arg)
{
	while (!stop) {
		char *p = mmap(NULL, 64 << 10, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			       -1, 0);

		CHECK(p != MAP_FAILED);
		memset(p, 5, 64 << 10);
		CHECK_CALL(mprotect(p + 4096, 4096, PROT_READ));
		CHECK_INT(p[4096] + p[8191], 10);
		CHECK_CALL(munmap(p, 64 << 10));
		rounds[1]++;
	}
	return arg;
}

static void *signal_self(void *arg)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	while (!stop) {
		int sig;

		CHECK(!pthread_kill(pthread_self(), SIGUSR1));
		CHECK(!sigwait(&set, &sig));
		rounds[2]++;
	}
	return arg;
}

static void *pass_along(void *arg)
{
	int p[2];

	CHECK_CALL(pipe(p));
	for (unsigned int i = 0; !stop; i++) {
		unsigned int got;

		CHECK(write(p[1], &i, sizeof(i)) == sizeof(i));
		CHECK(read(p[0], &got, sizeof(got)) == sizeof(got));
		CHECK_INT(got, i);
		rounds[3]++;
	}
	return arg;
}

static void setup(void)
{
	static void *(*const run[])(void *) = { fork_and_wait, map_and_unmap, signal_self,
						pass_along };

	for (int i = 0; i < 4; i++)
		CHECK(!pthread_create(&threads[i], NULL, run[i], NULL));
	CHECK(EVENTUALLY(rounds[0] && rounds[1] && rounds[2] && rounds[3]));
}

static void check(void)
{
	for (int i = 0; i < 4; i++) {
		unsigned long before = rounds[i];

		CHECK(EVENTUALLY(rounds[i] > before + 5));
	}
	stop = true;
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_join(threads[i], NULL));
}

/* A child that executes itself anew, again and again. */
static pid_t child;

static void setup_exec(void)
{
	child = CHECK_CALL(fork());
	if (child == 0) {
		execl("/bin/sh", "sh", "-c",
		      "n=${1:-0}; echo $n > n.new; mv n.new n; exec sh -c \"$0\" \"$0\" $((n+1))",
		      "n=${1:-0}; echo $n > n.new; mv n.new n; exec sh -c \"$0\" \"$0\" $((n+1))",
		      NULL);
		_exit(1);
	}
	CHECK(EVENTUALLY(test_exists("n")));
}

static void check_exec(void)
{
	long before = test_number("n");

	CHECK(EVENTUALLY(test_number("n") > before + 3));
	CHECK_INT(waitpid(child, NULL, WNOHANG), 0);
}

CASES({ "forking, mapping, signalling and passing along go on", setup, check, .flags = CASE_LOSSY },
      { "a child that executes all the time goes on", setup_exec, check_exec, .flags = CASE_LOSSY })
