/* SPDX-License-Identifier: Apache-2.0 */
/* Trees of processes: parents, sessions, groups, children that have ended or are stopped. */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/case.h"

static pid_t me, child[8], parent;

static pid_t start(void)
{
	pid_t pid = CHECK_CALL(fork());

	if (pid == 0)
		for (;;)
			pause();
	return pid;
}

static void setup_grandchild(void)
{
	me = getpid();
	parent = getppid();
}

static void check_grandchild(void)
{
	CHECK_INT(getpid(), me);
	CHECK_INT(getppid(), parent);
}

static void setup_child(void)
{
	setup_grandchild();
	for (int i = 0; i < 2; i++)
		child[i] = case_child(setup_grandchild, check_grandchild);
}

static void check_child(void)
{
	check_grandchild();
	for (int i = 0; i < 2; i++)
		CHECK_CALL(kill(child[i], 0));
	CHECK(waitpid(-1, NULL, WNOHANG) == 0);
}

static void setup(void)
{
	me = getpid();
	for (int i = 0; i < 3; i++)
		child[i] = case_child(setup_child, check_child);
	child[3] = start();
}

static void check(void)
{
	int status;
	pid_t pid;

	CHECK_INT(getpid(), me);
	CHECK_INT(getsid(0), me);
	for (int i = 0; i < 3; i++)
		CHECK_CALL(kill(child[i], 0));
	CHECK(waitpid(-1, NULL, WNOHANG) == 0);
	CHECK_CALL(kill(child[3], SIGTERM));
	CHECK_INT(waitpid(child[3], &status, 0), child[3]);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	pid = CHECK_CALL(fork());
	if (pid == 0)
		_exit(7);
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK_INT(WEXITSTATUS(status), 7);
}

/* ---- sessions and groups ---- */

static void check_ids(void)
{
	CHECK_INT(getpgrp(), me);
}

static void setup_session(void)
{
	CHECK_CALL(setsid());
	me = getpid();
	child[0] = case_child(setup_grandchild, NULL);
}

static void check_session(void)
{
	CHECK_INT(getsid(0), me);
	CHECK_INT(getpgrp(), me);
	CHECK_INT(getsid(child[0]), me);
	CHECK_INT(getpgid(child[0]), me);
}

static void setup_group(void)
{
	CHECK_CALL(setpgid(0, 0));
	me = getpid();
}

static void setup_join(void)
{
	CHECK_CALL(setpgid(0, child[1]));
	me = child[1];
}

static pid_t early;

static void setup_early(void)
{
	/* Of the old session, although its parent's is new by now. */
	early = getsid(0);
}

static void check_early(void)
{
	CHECK_INT(getsid(0), early);
	CHECK(early != getppid());
}

static void setup_late_session(void)
{
	child[0] = case_child(setup_early, check_early);
	CHECK_CALL(setsid());
	me = getpid();
}

static void check_late_session(void)
{
	CHECK_INT(getsid(0), me);
	CHECK(getsid(child[0]) != me);
}

static void setup_sessions(void)
{
	child[0] = case_child(setup_session, check_session);
	child[1] = case_child(setup_group, check_ids);
	child[2] = case_child(setup_join, check_ids);
	child[3] = case_child(setup_late_session, check_late_session);
}

static void check_sessions(void)
{
	CHECK_INT(getsid(child[0]), child[0]);
	CHECK_INT(getsid(child[1]), getpid());
	CHECK_INT(getpgid(child[1]), child[1]);
	CHECK_INT(getpgid(child[2]), child[1]);
	CHECK_INT(getpgrp(), getpid());
}

/* A group whose leader has ended and been reaped. */
static void setup_orphaned_group(void)
{
	pid_t pid = CHECK_CALL(fork());

	if (pid == 0) {
		setpgid(0, 0);
		pause();
	}
	CHECK(EVENTUALLY(getpgid(pid) == pid));
	child[0] = pid;
	child[1] = case_child(NULL, NULL);
	CHECK_CALL(setpgid(child[1], pid));
	CHECK_CALL(kill(pid, SIGKILL));
	CHECK_INT(waitpid(pid, NULL, 0), pid);
}

static void check_orphaned_group(void)
{
	CHECK_INT(getpgid(child[1]), child[0]);
	CHECK(kill(child[0], 0) < 0 && errno == ESRCH);
	CHECK_CALL(kill(-child[0], 0));
}

/* ---- ended and stopped ---- */

static void setup_ended(void)
{
	for (int i = 0; i < 4; i++) {
		child[i] = CHECK_CALL(fork());
		if (child[i] == 0) {
			if (i == 0)
				_exit(0);
			if (i == 1)
				_exit(42);
			raise(i == 2 ? SIGKILL : SIGUSR1);
		}
		CHECK(EVENTUALLY(test_proc_state(child[i], NULL) == 'Z'));
	}
}

static void check_ended(void)
{
	int status;

	CHECK_INT(waitpid(child[0], &status, WNOHANG), child[0]);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK_INT(waitpid(child[1], &status, WNOHANG), child[1]);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
	CHECK_INT(waitpid(child[2], &status, WNOHANG), child[2]);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	CHECK_INT(waitpid(child[3], &status, WNOHANG), child[3]);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
	CHECK(waitpid(-1, &status, WNOHANG) < 0 && errno == ECHILD);
}

static void setup_stopped(void)
{
	child[0] = start();
	child[1] = start();
	CHECK_CALL(kill(child[0], SIGSTOP));
	CHECK_INT(waitpid(child[0], NULL, WUNTRACED), child[0]);
	/* In a group of its own: an orphaned group ignores SIGTSTP. */
	CHECK_CALL(setpgid(child[1], child[1]));
	CHECK_CALL(kill(child[1], SIGTSTP));
	CHECK(EVENTUALLY(test_proc_state(child[1], NULL) == 'T'));
}

static void check_stopped(void)
{
	int status;

	CHECK_INT(test_proc_state(child[0], NULL), 'T');
	CHECK_INT(test_proc_state(child[1], NULL), 'T');
	CHECK_CALL(kill(child[0], SIGCONT));
	CHECK_INT(waitpid(child[0], &status, WCONTINUED), child[0]);
	CHECK(WIFCONTINUED(status));
	CHECK(EVENTUALLY(test_proc_state(child[0], NULL) == 'S'));
	CHECK_CALL(kill(child[1], SIGCONT));
	CHECK(EVENTUALLY(test_proc_state(child[1], NULL) == 'S'));
	for (int i = 0; i < 2; i++) {
		CHECK_CALL(kill(child[i], SIGTERM));
		CHECK_INT(waitpid(child[i], &status, 0), child[i]);
		CHECK_INT(WTERMSIG(status), SIGTERM);
	}
}

/* No SIGCHLD that was not due: not for zombies made again, not for children that were stopped all
 * the time. */
static volatile int n_sigchld;

static void on_sigchld(int sig)
{
	(void)sig;
	n_sigchld++;
}

static void setup_quiet(void)
{
	struct sigaction sa = { .sa_handler = on_sigchld, .sa_flags = SA_RESTART };

	CHECK_CALL(sigaction(SIGCHLD, &sa, NULL));
	child[0] = CHECK_CALL(fork());
	if (child[0] == 0)
		_exit(3);
	CHECK(EVENTUALLY(n_sigchld == 1));
	child[1] = start();
	CHECK_CALL(kill(child[1], SIGSTOP));
	CHECK(EVENTUALLY(n_sigchld == 2));
}

static void check_quiet(void)
{
	test_sleep_ms(20);
	CHECK_INT(n_sigchld, 2);
	CHECK_INT(waitpid(child[0], NULL, 0), child[0]);
	CHECK_CALL(kill(child[1], SIGKILL));
	CHECK_INT(waitpid(child[1], NULL, 0), child[1]);
	CHECK(EVENTUALLY(n_sigchld == 3));
}

CASES({ "parents and children find each other", setup, check },
      { "sessions and groups stay", setup_sessions, check_sessions },
      { "a group without its leader stays", setup_orphaned_group, check_orphaned_group },
      { "children that have ended keep how", setup_ended, check_ended },
      { "stopped children stay stopped and go on", setup_stopped, check_stopped },
      { "no SIGCHLD comes that was not due", setup_quiet, check_quiet })
