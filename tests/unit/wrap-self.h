/* SPDX-License-Identifier: Apache-2.0 */
/* A program that runs itself without the preloaded library and with it. */
#pragma once
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/tap.h"

static const char *library_path(void)
{
	static char path[PATH_MAX];

	if (!path[0] && !realpath("libckpt-inproc.so", path))
		skip_all("there is no libckpt-inproc.so here: build it first");
	return path;
}

__attribute__((unused)) static sigset_t set_of(int sig)
{
	sigset_t set;

	sigemptyset(&set);
	if (sig)
		sigaddset(&set, sig);
	return set;
}

__attribute__((unused)) static bool blocked(int sig)
{
	sigset_t now;

	sigprocmask(SIG_BLOCK, NULL, &now);
	return sigismember(&now, sig);
}

/* Those of who runs the tests. */
static void clear_environment(void)
{
	extern char **environ;
	char name[100];

	for (char **e = environ; *e;) {
		size_t n = strcspn(*e, "=");

		if (strncmp(*e, "CKPT_", 5) || n >= sizeof(name)) {
			e++;
			continue;
		}
		memcpy(name, *e, n);
		name[n] = 0;
		unsetenv(name);
	}
	unsetenv("LD_PRELOAD");
}

/* In a child: this program with the argument ARG, with the library if SIGNAL is not NULL. */
static void execute_self(const char *signal, const char *arg)
{
	const char *library = library_path();

	clear_environment();
	if (signal) {
		setenv("CKPT_TEST", "1", 1);
		setenv("LD_PRELOAD", library, 1);
		setenv("CKPT_SIGNAL", signal, 1);
	}
	alarm(120);
	execl("/proc/self/exe", "self", arg, NULL);
	_exit(126);
}

/* Its exit status. */
__attribute__((unused)) static int run_self(const char *signal, const char *arg)
{
	int status = -1;
	pid_t pid;

	library_path();
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		dup2(1, 2);
		execute_self(signal, arg);
	}
	if (waitpid(pid, &status, 0) == pid && WIFEXITED(status))
		return WEXITSTATUS(status);
	return -status;
}
