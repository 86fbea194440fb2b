/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting until everybody who was asked to has stopped. */
#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include "injector/freeze.h"
#include "injector/ptrace.h"

#define CS_64 0x33
#define VFORK_NS 1000000000ull /* a child that is to execute a program does that in less */
#define FIRST_NAP_NS 20000
#define LAST_NAP_NS 1000000
#define LOOKS 20 /* before the first nap: most stop within some 10 us */
#define PAUSES 50

static void nap(uint64_t ns)
{
	nanosleep(&(struct timespec){ .tv_nsec = ns }, NULL);
}

/* The stop has made a call return EINTR. Should we die, the program is not to see that: at once,
 * what is left of its time comes later. */
static void hide_eintr(struct ckpt_tracee *t)
{
	siginfo_t info;

	if (ckpt_interrupted_by(&t->found) != CKPT_INTERRUPTED_EINTR ||
	    ckpt_pt_peek_signal(t->tid, false, 0, &info) > 0 ||
	    ckpt_pt_peek_signal(t->tid, true, 0, &info) > 0)
		return;
	t->back = t->found;
	ckpt_interrupted_wind_back(&t->back, t->found.orig_rax);
	t->hidden = !ckpt_pt_set_regs(t->tid, &t->back);
}

static int stopped(struct ckpt_tracee *t, int sig, struct ckpt_err *err)
{
	int r = ckpt_pt_get_regs(t->tid, &t->found);

	if (r == -ESRCH)
		return 0; /* killed since, or replaced by the thread that executed a program */
	if (r < 0)
		return ckpt_fail(err, r, "thread %d: cannot read its registers", t->tid);
	t->now = NULL;
	if (t->found.cs != CS_64)
		return ckpt_refuse(err, CKPT_E_TASK_STATE, -ENOEXEC,
				   "thread %d: it runs 32-bit code", t->tid);
	t->state = CKPT_TRACEE_STOPPED;
	t->stopped_at = ckpt_now_ns();
	if (sig != SIGTRAP) {
		t->proc->stopped = true;
		t->proc->stop_signal = sig;
		return 1;
	}
	hide_eintr(t);
	return 1;
}

/* 1: it stands or is gone, 0: not yet. */
static int collect(struct ckpt_tree *tree, struct ckpt_tracee *t, struct ckpt_err *err)
{
	int status, r = ckpt_pt_wait(t->tid, false, &status);

	if (!r)
		return 0;
	if (r < 0 || !WIFSTOPPED(status)) {
		t->state = CKPT_TRACEE_GONE;
		tree->somebody_died = true;
		return 1;
	}
	if (status >> 16 == CKPT_EVENT_STOP)
		return stopped(t, WSTOPSIG(status), err);
	/* A signal came first. It takes its course, up to the first instruction of its handler. */
	ckpt_pt_interrupt(t->tid);
	ckpt_pt_resume(PTRACE_CONT, t->tid, status >> 16 ? 0 : WSTOPSIG(status));
	return 0;
}

bool ckpt_proc_stands(const struct ckpt_proc *proc)
{
	for (size_t i = 0; i < proc->n; i++) {
		if (proc->threads[i]->state == CKPT_TRACEE_WAITED)
			return false;
	}
	return true;
}

static int collect_all(struct ckpt_tree *tree, unsigned int *n_waitedp, bool *progressp,
		       struct ckpt_err *err)
{
	*n_waitedp = 0;
	*progressp = false;
	for (struct ckpt_proc *proc = tree->procs; proc; proc = proc->next) {
		for (size_t i = 0; i < proc->n; i++) {
			struct ckpt_tracee *t = proc->threads[i];
			int r;

			if (t->state != CKPT_TRACEE_WAITED)
				continue;
			r = collect(tree, t, err);
			if (r < 0)
				return r;
			*n_waitedp += !r;
			*progressp |= r;
		}
	}
	return 0;
}

/* Whoever executes a program waits for the death of the other threads, and that is over only when
 * we took note of it. */
static int collect_dead(struct ckpt_tree *tree, struct ckpt_err *err)
{
	for (struct ckpt_proc *proc = tree->procs; proc; proc = proc->next) {
		if (ckpt_proc_stands(proc))
			continue;
		for (size_t i = 0; i < proc->n; i++) {
			int r = 0;

			if (proc->threads[i]->state == CKPT_TRACEE_STOPPED)
				r = collect(tree, proc->threads[i], err);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* Has somebody been waited for too long? */
static int check_time(struct ckpt_tree *tree, struct ckpt_err *err)
{
	uint64_t now = ckpt_now_ns();

	for (struct ckpt_proc *proc = tree->procs; proc; proc = proc->next) {
		for (size_t i = 0; i < proc->n; i++) {
			struct ckpt_tracee *t = proc->threads[i];
			bool late = tree->deadline && now > tree->deadline;

			if (t->state != CKPT_TRACEE_WAITED ||
			    (!late && now - t->stopped_at < VFORK_NS))
				continue;
			if (ckpt_tracee_stuck(t, err) && (late || err->number == CKPT_E_TASK_STATE))
				return err->code;
			*err = (struct ckpt_err)CKPT_ERR_INIT;
			t->stopped_at = now;
		}
	}
	if (tree->deadline && now > tree->deadline)
		return ckpt_refuse(err, CKPT_E_TIMEOUT, -ETIMEDOUT,
				   "process %d: cannot stop all of its tree in time", tree->root);
	return 0;
}

int ckpt_tree_await(struct ckpt_tree *tree, struct ckpt_err *err)
{
	uint64_t pause = FIRST_NAP_NS;
	unsigned int idle = 0;

	for (;;) {
		unsigned int n_waited;
		bool progress;
		int r = collect_all(tree, &n_waited, &progress, err);

		if (r < 0 || !n_waited)
			return r;
		if (progress) {
			idle = 0;
			pause = FIRST_NAP_NS;
			continue;
		}
		if (idle++ < LOOKS) {
			for (int i = 0; i < PAUSES; i++)
				__builtin_ia32_pause();
			continue;
		}
		r = collect_dead(tree, err);
		if (r >= 0)
			r = check_time(tree, err);
		if (r < 0)
			return r;
		nap(pause);
		pause = pause * 2 < LAST_NAP_NS ? pause * 2 : LAST_NAP_NS;
	}
}
