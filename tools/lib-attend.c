/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A dump is made by a child of the process that was started, so that SIGKILL of the latter lets the
 * child take everything back: a stop shows in calls that the kernel does not make again (EINTR of
 * epoll_wait(2)) until ckpt has put them right, which takes some microseconds that a dead process
 * does not have. But a folder that was made goes with who was started or not at all: when that is
 * gone, the next dump may have opened it, and find it empty as well.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine/store/temp.h"
#include "tools/ckpt.h"

/* What asks a dump to stop; a terminal sends them to both. */
static const int passed_on[] = { SIGINT, SIGTERM, SIGHUP, SIGALRM, SIGQUIT };

static void be_worker(struct ckpt_tool *t, pid_t parent, const sigset_t *mask)
{
	t->made_dir = false;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	sigprocmask(SIG_SETMASK, mask, NULL);
}

static void __attribute__((noreturn)) end_as(struct ckpt_tool *t, int status)
{
	if (WIFSIGNALED(status) && t->dirfd >= 0)
		ckpt_temp_sweep(t->dirfd); /* or what it wrote would keep the folder */
	ckpt_tool_close(t, status);
	if (WIFEXITED(status))
		_exit(WEXITSTATUS(status));
	ckpt_refuse(&t->err, CKPT_E_WORKER_KILLED, -ECHILD, "its worker was ended by SIG%s",
		    sigabbrev_np(WTERMSIG(status)));
	_exit(ckpt_report_failure(t));
}

static void __attribute__((noreturn))
attend(struct ckpt_tool *t, pid_t worker, const sigset_t *signals)
{
	for (;;) {
		siginfo_t info;
		int status, sig = sigwaitinfo(signals, &info);

		if (sig == SIGCHLD && waitpid(worker, &status, WNOHANG) == worker)
			end_as(t, status);
		if (sig > 0 && sig != SIGCHLD && info.si_code <= 0) /* by kill(2), to us alone */
			kill(worker, sig);
	}
}

int ckpt_attend(struct ckpt_tool *t)
{
	sigset_t signals, mask;
	pid_t parent = getpid(), worker;

	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++)
		sigaddset(&signals, passed_on[i]);
	sigprocmask(SIG_BLOCK, &signals, &mask);
	signal(SIGCHLD, SIG_DFL); /* ignored by our caller, children would leave no status */
	worker = fork();
	if (worker > 0)
		attend(t, worker, &signals);
	if (worker < 0) {
		sigprocmask(SIG_SETMASK, &mask, NULL);
		return ckpt_fail(&t->err, -errno, "cannot fork");
	}
	be_worker(t, parent, &mask);
	return 0;
}
