/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting until everybody who was asked to has stopped. */
#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include "injector/freeze.h"
#include "injector/ptrace.h"
#include "injector/windback.h"

#define CS_64 0x33
#define VFORK_NS 1000000000ull /* a child that is to execute a program does that in less */
#define SOON_NS 2000000   /* for one alone: what takes longer waits for a processor, not for us */
#define AGAIN_NS 20000000 /* who executed a program may have the number of one that was asked */
#define NAP_NS 20000
#define TRIES 3

/* ---- sleeping ---- */

/*
 * We sleep in wait(2) itself and never look for a stop in a loop: the kernel may have put the woken
 * thread on our processor, where it would wait for us for milliseconds. tick.c ends a wait for
 * somebody who does not stop.
 */

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = NAP_NS }, NULL);
}

/* Until anybody stops, or a tick. A death may not be told: the next tick finds it. */
static void sleep_for_all(const struct ckpt_tick *tick)
{
	siginfo_t info;

	if (!tick->runs ||
	    (waitid(P_ALL, 0, &info, WSTOPPED | WNOWAIT | __WALL | __WNOTHREAD) < 0 &&
	     errno != EINTR))
		nap();
}

/* ---- stops ---- */

static int stopped(struct ckpt_tracee *t, int sig, struct ckpt_err *err)
{
	int r = ckpt_pt_get_regs(t->tid, &t->found);

	if (r < 0 && r != -ESRCH)
		r = ckpt_pt_get_regs(t->tid, &t->found); /* or its call cannot be put right */
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
	ckpt_tracee_hide_eintr(t);
	return 1;
}

/* 1: it stands or is gone, 0: not yet. BLOCK: not before the next tick. */
static int collect(struct ckpt_tree *tree, struct ckpt_tracee *t, bool block, struct ckpt_err *err)
{
	int status, r = waitpid(t->tid, &status, __WALL | (block ? 0 : WNOHANG));

	if (!r || (r < 0 && errno != ECHILD))
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
	for (int i = 0; i < TRIES; i++) {
		r = ckpt_pt_resume(PTRACE_CONT, t->tid, status >> 16 ? 0 : WSTOPSIG(status));
		if (r >= 0 || r == -ESRCH)
			break; /* else it would stand there until our time is over */
	}
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
			r = collect(tree, t, false, err);
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
				r = collect(tree, proc->threads[i], false, err);
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

			if (t->state != CKPT_TRACEE_WAITED)
				continue;
			if (tree->somebody_died && now - t->stopped_at > AGAIN_NS)
				ckpt_pt_interrupt(t->tid);
			if (!late && now - t->stopped_at < VFORK_NS)
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
	uint64_t looked_at = ckpt_now_ns();

	for (;;) {
		unsigned int n_waited;
		bool progress;
		int r = collect_all(tree, &n_waited, &progress, err);

		if (r < 0 || !n_waited)
			return r;
		if (!progress)
			sleep_for_all(&tree->tick);
		if (ckpt_now_ns() - looked_at < CKPT_TICK_NS)
			continue;
		looked_at = ckpt_now_ns();
		r = collect_dead(tree, err);
		if (r >= 0)
			r = check_time(tree, err);
		if (r < 0)
			return r;
	}
}

int ckpt_tracee_await(struct ckpt_tree *tree, struct ckpt_tracee *t, struct ckpt_err *err)
{
	uint64_t since = ckpt_now_ns();

	while (t->state == CKPT_TRACEE_WAITED && ckpt_now_ns() - since < SOON_NS) {
		int r = collect(tree, t, tree->tick.runs, err);

		if (r)
			return r < 0 ? r : 0;
	}
	return 0;
}
