/* SPDX-License-Identifier: Apache-2.0 */
/* A stopped thread runs for a moment. */
#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include "injector/caller.h"
#include "injector/ptrace.h"
#include "injector/run.h"

#define ODD_STOPS_MAX 1000
#define SPIN_NS 30000
#define SPIN_PAUSES 20

/* An idle processor takes long to wake up, for us as well: so we look for a moment before we sleep.
 * Without sched_yield(2): since Linux 6.18 who yields is put back by a whole slice each time, and
 * beside busy programs would not run again for seconds. */
static int await(pid_t tid, int *statusp)
{
	uint64_t until = ckpt_now_ns() + SPIN_NS;

	do {
		int r = ckpt_pt_wait(tid, false, statusp);

		if (r)
			return r;
		for (int i = 0; i < SPIN_PAUSES; i++)
			__builtin_ia32_pause();
	} while (ckpt_now_ns() < until);
	return ckpt_pt_wait(tid, true, statusp);
}

static bool stops(int sig)
{
	return sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
}

/* Nothing can come between but SIGSTOP, which cannot be blocked, SIGCONT after it, and the end. A
 * stop is let happen: it holds the thread as soon as we are gone. */
int ckpt_tracee_ran(struct ckpt_tracee *t, int request, int want, struct ckpt_err *err)
{
	for (int i = 0; i < ODD_STOPS_MAX; i++) {
		int status, sig, r = await(t->tid, &status);

		if (r < 0 || !WIFSTOPPED(status)) {
			t->state = CKPT_TRACEE_GONE;
			return ckpt_caller_lost(t, -ESRCH, "run a system call in it", err);
		}
		if (status >> 16 == PTRACE_EVENT_CLONE || status >> 16 == PTRACE_EVENT_VFORK)
			return ckpt_pt_event(t->tid, &t->born) < 0 ? -ESRCH : 1;
		sig = status >> 16 == CKPT_EVENT_STOP ? 0 : WSTOPSIG(status);
		if (sig == want)
			return 0;
		if (sig && !stops(sig))
			return ckpt_fail(err, -EIO,
					 "thread %d: cannot run a system call in it: signal %d",
					 t->tid, sig);
		r = ckpt_pt_resume(request, t->tid, sig);
		if (r < 0)
			return ckpt_caller_lost(t, r, "run a system call in it", err);
	}
	return ckpt_fail(err, -EBUSY, "thread %d: cannot run a system call in it", t->tid);
}

int ckpt_tracee_resume(struct ckpt_tracee *t, int request, struct ckpt_err *err)
{
	int r = ckpt_pt_resume(request, t->tid, 0);

	return r < 0 ? ckpt_caller_lost(t, r, "run a system call in it", err) : 0;
}

int ckpt_tracee_run(struct ckpt_tracee *t, int request, int want, struct ckpt_err *err)
{
	int r = ckpt_tracee_resume(t, request, err);

	return r < 0 ? r : ckpt_tracee_ran(t, request, want, err);
}

int ckpt_tracee_enter(struct ckpt_tracee *t, const struct user_regs_struct *regs, uint64_t mask,
		      struct ckpt_err *err)
{
	int r = ckpt_pt_set_regs(t->tid, regs);

	if (r < 0)
		return ckpt_caller_lost(t, r, "set its registers", err);
	if (!t->now && t->blocked == mask)
		return 0;
	t->now = NULL;
	t->blocked = mask;
	t->mask_lost = true;
	r = ckpt_pt_set_mask(t->tid, mask);
	return r < 0 ? ckpt_caller_lost(t, r, "block its signals", err) : 0;
}
