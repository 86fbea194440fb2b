/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For scripts: `reaper [-u] COMMAND ARGS...` runs COMMAND (with -u as an ordinary user) as a
 * subreaper, which a restored process needs where pid 1 does not reap, with nothing open but the
 * standard descriptors, and ends whatever is left when COMMAND has ended. Never longer than
 * $CKPT_TEST_LIMIT seconds (300).
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/proc.h"

static unsigned int limit_ms(void)
{
	const char *s = getenv("CKPT_TEST_LIMIT");

	return s && atoi(s) > 0 ? atoi(s) * 1000u : 300000;
}

/* Collects all the others, too, meanwhile. */
static int wait_for(pid_t pid)
{
	int64_t end = test_now_ns() + limit_ms() * 1000000ll;
	int status;

	while (test_now_ns() < end) {
		pid_t got = waitpid(-1, &status, WNOHANG | __WALL);

		if (got == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		if (got <= 0)
			test_sleep_ms(2);
	}
	fprintf(stderr, "reaper: out of time\n");
	return 1;
}

int main(int argc, char **argv)
{
	bool user = argc > 1 && !strcmp(argv[1], "-u");
	int status;
	pid_t pid;

	if (argc < 2 + user)
		return 2;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (user && getuid() == 0)
		test_become_user();
	syscall(SYS_close_range, 3u, ~0u, 0);
	pid = fork();
	if (pid == 0) {
		execvp(argv[1 + user], argv + 1 + user);
		perror(argv[1 + user]);
		_exit(127);
	}
	status = wait_for(pid);
	return test_end_descendants() ? status : 1;
}
