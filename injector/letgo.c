/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a freeze: the tree goes on, or it ends, or it stays stopped. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include "engine/base/cleanup.h"
#include "injector/dying.h"
#include "injector/freeze.h"
#include "injector/ptrace.h"
#include "injector/remote.h"
#include "injector/windback.h"

#define KILL_NS 10000000000ull
#define NAP_NS 20000
#define LATE_NAPS 1000
#define STOP_NS \
	5000000000ull /* for one that gets no processor; its stop, or its death, is on its way */

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = NAP_NS }, NULL);
}

/* Its tracer has to take note of its death: whoever executes a program waits for that. */
static bool is_dead(struct ckpt_tracee *t)
{
	int status, r = ckpt_pt_wait(t->tid, false, &status);

	if (!r || (r > 0 && WIFSTOPPED(status)))
		return false;
	t->state = CKPT_TRACEE_GONE;
	return true;
}

/* The freeze was given up before it stopped. Only a stopped thread can be let go; one that is in a
 * vfork does not stop before its child has executed a program, and goes on when we end. A signal
 * that comes first takes its course, as in await.c. */
static void await_late_stop(struct ckpt_tracee *t)
{
	int status;

	for (int i = 0; i < LATE_NAPS; i++) {
		int r = ckpt_pt_wait(t->tid, false, &status);

		if (r < 0 || (r && !WIFSTOPPED(status)))
			return;
		if (r && status >> 16 == CKPT_EVENT_STOP) {
			if (WSTOPSIG(status) == SIGTRAP && !ckpt_pt_get_regs(t->tid, &t->found))
				ckpt_tracee_hide_eintr(t);
			return;
		}
		if (r) {
			ckpt_pt_interrupt(t->tid);
			ckpt_pt_resume(PTRACE_CONT, t->tid, status >> 16 ? 0 : WSTOPSIG(status));
			continue;
		}
		nap();
	}
}

/* To the registers it goes on with. */
static void put_right(struct ckpt_tracee *t)
{
	const struct user_regs_struct *regs;

	if (!t->now) {
		ckpt_tracee_show_eintr(t);
		return;
	}
	regs = ckpt_tracee_goes_on(t);
	if (regs != t->now)
		ckpt_pt_set_regs(t->tid, regs);
	t->now = regs;
}

/* False: it was killed where it stood, and has yet to die. */
static bool let_go(struct ckpt_tracee *t)
{
	bool stood = t->state == CKPT_TRACEE_STOPPED;

	if (t->state == CKPT_TRACEE_WAITED)
		await_late_stop(t);
	else if (stood)
		put_right(t);
	if (t->state != CKPT_TRACEE_GONE && ckpt_pt_resume(PTRACE_DETACH, t->tid, 0) < 0 &&
	    !is_dead(t) && stood)
		return false;
	t->state = CKPT_TRACEE_GONE;
	return true;
}

/* All of them first: who executes a program may be the last one. */
void ckpt_proc_release(struct ckpt_proc *proc)
{
	uint64_t until = 0;
	size_t left = 0;

	for (size_t i = 0; i < proc->n; i++)
		left += !let_go(proc->threads[i]);
	if (left)
		until = ckpt_now_ns() + STOP_NS;
	while (left && ckpt_now_ns() < until) {
		nap();
		for (size_t i = 0; i < proc->n; i++)
			left -= proc->threads[i]->state != CKPT_TRACEE_GONE &&
				is_dead(proc->threads[i]);
	}
	for (size_t i = 0; i < proc->n; i++)
		proc->threads[i]->state = CKPT_TRACEE_GONE;
}

void ckpt_tree_thaw(struct ckpt_tree *tree)
{
	if (!tree->held)
		return;
	ckpt_remote_finish(tree);
	for (struct ckpt_proc *proc = tree->procs; proc; proc = proc->next)
		ckpt_proc_release(proc);
	tree->held = false;
}

static bool all_dead(struct ckpt_tree *tree, pid_t *leftp)
{
	bool all = true;

	for (struct ckpt_proc *proc = tree->procs; proc; proc = proc->next) {
		for (size_t i = 0; i < proc->n; i++) {
			struct ckpt_tracee *t = proc->threads[i];

			if (t->state == CKPT_TRACEE_GONE || is_dead(t))
				continue;
			*leftp = t->tid;
			all = false;
		}
	}
	return all;
}

static bool ends(const struct ckpt_proc *proc)
{
	return !proc->gone && !proc->zombie;
}

/* A number is not used again meanwhile: their tracer has not waited for them. */
static void release(pid_t pid)
{
	CKPT_FD pidfd = pidfd_open(pid, 0);

	ckpt_dying_release(pidfd);
}

int ckpt_tree_kill(struct ckpt_tree *tree, struct ckpt_err *err)
{
	uint64_t until = ckpt_now_ns() + KILL_NS;
	pid_t left = 0;

	if (!tree->held)
		return ckpt_fail(err, -EINVAL, "process %d: cannot kill a tree that is not frozen",
				 tree->root);
	for (struct ckpt_proc *proc = tree->procs; proc; proc = proc->next) {
		if (ends(proc))
			kill(proc->pid, SIGKILL);
	}
	for (struct ckpt_proc *proc = tree->procs; proc; proc = proc->next) {
		if (ends(proc))
			release(proc->pid);
	}
	while (!all_dead(tree, &left)) {
		if (ckpt_now_ns() > until)
			return ckpt_fail(err, -ETIMEDOUT, "thread %d: cannot kill it", left);
		nap();
	}
	tree->held = false;
	return 0;
}

static bool takes_stop(const struct ckpt_proc *proc)
{
	return !proc->gone && !proc->zombie && !proc->stopped && proc->n;
}

/* Before its children stop, of which it is told: a signal with a lower number would come first, and
 * its handler begin. */
static void await_stop(pid_t tid)
{
	uint64_t until = ckpt_now_ns() + STOP_NS;
	struct ckpt_proc_stat st;

	while (ckpt_proc_stat(tid, &st) >= 0 && !strchr("TZX", st.state) && ckpt_now_ns() < until)
		nap();
}

/* Those before END were told to stop, which they have not done yet. */
static void call_off(const struct ckpt_tree *tree, const struct ckpt_proc *end)
{
	for (const struct ckpt_proc *proc = tree->procs; proc != end; proc = proc->next)
		if (takes_stop(proc))
			kill(proc->pid, SIGCONT);
}

int ckpt_tree_stop(struct ckpt_tree *tree, struct ckpt_err *err)
{
	if (!tree->held)
		return ckpt_fail(err, -EINVAL, "process %d: cannot stop a tree that is not frozen",
				 tree->root);
	ckpt_remote_finish(tree);
	/* It waits until a thread is let go, and stops the others with it. */
	for (struct ckpt_proc *proc = tree->procs; proc; proc = proc->next) {
		if (!takes_stop(proc) || kill(proc->pid, SIGSTOP) == 0)
			continue;
		ckpt_fail(err, -errno, "process %d: cannot stop it", proc->pid);
		call_off(tree, proc);
		return err->code;
	}
	for (struct ckpt_proc *proc = tree->procs; proc; proc = proc->next) {
		bool stops = takes_stop(proc);

		ckpt_proc_release(proc);
		for (size_t i = 0; stops && i < proc->n; i++)
			await_stop(proc->threads[i]->tid);
	}
	tree->held = false;
	return 0;
}
