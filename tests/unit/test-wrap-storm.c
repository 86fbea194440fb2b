/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request that comes while a program is replaced by another, or while one is started, must kill
 * neither: the new one has no handler yet. Many programs, under a storm of signals.
 */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include "tests/unit/wrap-self.h"

#define SELF "/proc/self/exe"
#define OWN_SIGNAL 64

extern char **environ;

/* A request that nobody waits for: the handler ignores it, the default is death. */
static void hit(pid_t pid)
{
	sigqueue(pid, OWN_SIGNAL, (union sigval){ .sival_ptr = (void *)0x1234500000001ul });
}

static int storm_left(int left)
{
	char next[20];

	if (left == 0)
		return 17;
	snprintf(next, sizeof(next), "%d", left - 1);
	if (left % 10 == 3)
		return system("exit 0") ? 18 : execl(SELF, "self", next, NULL);
	if (left % 10 == 6) {
		pid_t pid;
		int status = -1;
		char *const sub[] = { "self", "0", NULL };

		if (posix_spawn(&pid, SELF, NULL, NULL, sub, environ))
			return 19;
		hit(pid);
		waitpid(pid, &status, 0);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 17)
			return 20;
	}
	execl(SELF, "self", next, NULL);
	return 21;
}

/* With the library: this is one of many programs, one after the other. */
static int told(void)
{
	int status = -1, n = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(execl(SELF, "self", "150", NULL));
	while (waitpid(pid, &status, WNOHANG) == 0) {
		hit(pid);
		n++;
		usleep(n % 200);
	}
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 17, "150 execs under %d signals: status %#x",
	   n, status);
	return tap_end();
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return strcmp(argv[1], "storm") ? storm_left(atoi(argv[1])) : told();
	is(run_self("64", "storm"), 0, "with the library");
	return tap_end();
}
