/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stopping a process tree. All that is known is asked to stop before anything is waited for; what
 * comes into being meanwhile is found by looking again, until a look at everything that stands
 * still finds nothing new.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "injector/freeze.h"
#include "injector/ptrace.h"
#include "injector/reaper.h"
#include "injector/remote.h"
#include "injector/windback.h"

#define VDSO_TRIES 1000
#define DOUBT_NS 1000000
#define MANY_THREADS 8

static void nap(uint64_t ns)
{
	nanosleep(&(struct timespec){ .tv_nsec = ns }, NULL);
}

struct look {
	struct ckpt_tree *tree;
	struct ckpt_proc *proc;
	unsigned int n_new;
};

static int seize_child(void *arg, pid_t pid, struct ckpt_err *err)
{
	struct look *look = arg;
	struct ckpt_proc *proc = ckpt_tree_proc(look->tree, pid);
	int r;

	if (proc && !proc->gone) {
		proc->ppid = look->proc->pid; /* it may be a grandchild whose parent has ended */
		return 0;
	}
	proc = ckpt_tree_add(look->tree, pid, look->proc->pid);
	look->n_new++;
	r = ckpt_tree_seize(look->tree, proc, pid, err);
	return r < 0 ? r : 0;
}

/* ---- settling ---- */

static bool in_vdso(const struct ckpt_tracee *t)
{
	const struct ckpt_vm_area *a = ckpt_vm_area_at(&t->proc->areas, t->found.rip);

	return a && a->what == CKPT_AREA_VDSO;
}

/* The vDSO of another kernel is another one: nobody can go on in the middle of it. The thread is
 * let run for a moment, rather than stepped: a trap flag would outlive us. */
static int let_run(struct ckpt_tree *tree, struct ckpt_tracee *t, struct ckpt_err *err)
{
	if (++t->tries > VDSO_TRIES)
		return ckpt_refuse(err, CKPT_E_TIMEOUT, -ETIMEDOUT,
				   "thread %d: cannot be stopped outside of the vDSO", t->tid);
	t->state = CKPT_TRACEE_WAITED;
	t->proc->settled = false;
	if (ckpt_pt_resume(PTRACE_CONT, t->tid, 0) < 0)
		return 0;
	nap(1000 + rand_r(&tree->seed) % 20000);
	ckpt_pt_interrupt(t->tid);
	return 0;
}

static int settle_threads(struct ckpt_tree *tree, struct ckpt_proc *proc, struct ckpt_err *err)
{
	int r = ckpt_vm_areas_read(tree->arena, ckpt_proc_acts(proc), &proc->areas, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < proc->n; i++) {
		struct ckpt_tracee *t = proc->threads[i];
		uint64_t mask;

		if (t->state != CKPT_TRACEE_STOPPED)
			continue;
		/* A thread that executes a program takes the place of the leader, whose stop was
		 * seen before. */
		if (ckpt_pt_get_mask(t->tid, &mask) < 0) {
			t->state = CKPT_TRACEE_WAITED;
			t->now = NULL;
			proc->settled = false;
			continue;
		}
		if (t->now)
			continue;
		r = in_vdso(t) && !proc->stopped ? let_run(tree, t, err) :
						   ckpt_tracee_settle(tree, t, mask, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* If there are as many as stand there is no other. */
static bool are_all_known(const struct ckpt_proc *proc)
{
	for (size_t i = 0; i < proc->n; i++)
		if (proc->threads[i]->state != CKPT_TRACEE_STOPPED)
			return false;
	return ckpt_count_threads(proc->pid) == proc->n;
}

static int settle(struct ckpt_tree *tree, struct ckpt_proc *proc, struct ckpt_err *err)
{
	struct ckpt_seized n = { 0, 0 };
	int r = 0;

	proc->settled = true;
	if (!are_all_known(proc))
		r = ckpt_tree_seize_all(tree, proc, &n, err);
	if (r >= 0 && n.n_doubts) {
		proc->settled = false;
		nap(DOUBT_NS);
		return 0;
	}
	if (r < 0 || n.n_new || proc->gone || proc->zombie)
		return r;
	return settle_threads(tree, proc, err);
}

/* Children of each thread once; of the leader each time: orphans come to the first thread of a
 * subreaper. */
static int look_for_children(struct ckpt_proc *proc, bool of_leader, struct look *look,
			     struct ckpt_err *err)
{
	char path[32];
	CKPT_FD dir = -1;

	look->proc = proc;
	snprintf(path, sizeof(path), "/proc/%d/task", proc->pid);
	if (proc->n >= MANY_THREADS && proc->threads[proc->n - 1]->children < 0)
		dir = open(path, O_PATH | O_CLOEXEC);
	for (size_t i = 0; i < proc->n && !look->tree->opts->one; i++) {
		struct ckpt_tracee *t = proc->threads[i];
		int r;

		if (t->state != CKPT_TRACEE_STOPPED ||
		    (t->children_seen && (!of_leader || (i && !proc->ended))))
			continue;
		t->children_seen = true;
		r = t->children >= 0 ?
			    ckpt_each_in_list(t->children, seize_child, look, err) :
			    ckpt_each_child(dir, proc->pid, t->tid, seize_child, look, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* One look at everything that stands still; *NEWP: not done yet. */
static int look_around(struct ckpt_tree *tree, bool again, bool *newp, struct ckpt_err *err)
{
	struct look look = { tree, NULL, 0 };

	*newp = false;
	for (struct ckpt_proc *proc = tree->procs; proc; proc = proc->next) {
		int r = 0;

		if (proc->gone || proc->zombie)
			continue;
		if (!ckpt_proc_stands(proc)) { /* found in this very look */
			*newp = true;
			continue;
		}
		if (!proc->settled)
			r = settle(tree, proc, err);
		if (r >= 0)
			r = look_for_children(proc, again, &look, err);
		if (r < 0)
			return r;
		if (!proc->settled)
			*newp = true;
	}
	*newp |= look.n_new != 0;
	return 0;
}

/* ---- what became of those that changed meanwhile ---- */

static int check_leaders(struct ckpt_tree *tree, struct ckpt_err *err)
{
	int r = 0;

	for (struct ckpt_proc *proc = tree->procs; proc; proc = proc->next) {
		struct ckpt_proc_stat st;

		if (proc->gone || (!proc->zombie && proc->threads[0]->state == CKPT_TRACEE_STOPPED))
			continue;
		if (ckpt_proc_stat(proc->pid, &st) < 0) {
			proc->gone = true;
			continue;
		}
		proc->ended = st.n_threads > 1;
		proc->zombie = !proc->ended;
		if (proc->ended)
			r = ckpt_proc_exit_status(proc->pid, &proc->exit_status);
		if (r < 0)
			return ckpt_fail(err, r,
					 "process %d: cannot read how its main thread ended",
					 proc->pid);
	}
	return 0;
}

/* Orphans of those that died meanwhile may have left the tree. */
static void drop_strays(struct ckpt_tree *tree)
{
	bool again = true;

	while (again) {
		again = false;
		for (struct ckpt_proc *proc = tree->procs; proc; proc = proc->next) {
			const struct ckpt_proc *parent;
			struct ckpt_proc_stat st;

			if (proc->gone || proc->pid == tree->root ||
			    ckpt_proc_stat(proc->pid, &st) < 0)
				continue;
			proc->ppid = st.ppid;
			parent = ckpt_tree_proc(tree, st.ppid);
			if (parent && !parent->gone && !parent->zombie)
				continue;
			ckpt_proc_release(proc);
			proc->gone = again = true;
		}
	}
}

static int check_root(const struct ckpt_tree *tree, struct ckpt_err *err)
{
	if (!tree->procs->gone && !tree->procs->zombie)
		return 0;
	return ckpt_refuse(err, CKPT_E_VANISHED, -ESRCH,
			   "process %d: it ended before it could be stopped", tree->root);
}

/* ---- all of it ---- */

static int stop_tree(struct ckpt_tree *tree, struct ckpt_err *err)
{
	struct ckpt_proc *root = ckpt_tree_add(tree, tree->root, 0);
	struct ckpt_seized n = { 0, 0 };
	struct ckpt_proc_stat st;
	bool new = true, again = false;
	int r = ckpt_tree_seize_all(tree, root, &n, err);

	if (r >= 0)
		r = ckpt_tree_seize(tree, root, tree->root, err); /* it may be gone */
	while (r >= 0 && (new || !again)) {
		again = !new; /* the last look is at all leaders once more */
		r = ckpt_tree_await(tree, err);
		if (r >= 0)
			r = look_around(tree, again, &new, err);
	}
	if (r >= 0)
		r = check_leaders(tree, err);
	if (r >= 0 && tree->somebody_died)
		drop_strays(tree);
	if (r >= 0)
		r = check_root(tree, err);
	if (r >= 0 && !ckpt_proc_stat(tree->root, &st))
		root->ppid = st.ppid;
	return r;
}

void ckpt_tree_close(struct ckpt_tree *tree)
{
	for (struct ckpt_proc *proc = tree->procs; proc && tree->n_lists; proc = proc->next)
		for (size_t i = 0; i < proc->n; i++) {
			ckpt_close_fd(&proc->threads[i]->children);
			proc->threads[i]->children = -1;
		}
	tree->n_lists = 0;
}

static void forget(struct ckpt_tree *tree)
{
	ckpt_tree_close(tree);
	tree->procs = NULL;
	tree->last = &tree->procs;
	tree->n_procs = 0;
	tree->somebody_died = tree->has_threads = false;
	tree->frozen_at = 0;
	ckpt_remote_reset(tree);
	memset(tree->bucket, 0, sizeof(tree->bucket));
	memset(tree->asleep, 0, sizeof(tree->asleep));
}

/* Those that stood when it failed: their calls go on with what is left of their time. */
static void settle_some(struct ckpt_tree *tree)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;

	for (struct ckpt_proc *proc = tree->procs; proc; proc = proc->next) {
		bool known = !proc->gone && !proc->zombie &&
			     ckpt_vm_areas_read(tree->arena, ckpt_proc_acts(proc), &proc->areas,
						&ignored) >= 0;

		for (size_t i = 0; known && i < proc->n; i++) {
			struct ckpt_tracee *t = proc->threads[i];
			uint64_t mask;

			if (t->state == CKPT_TRACEE_STOPPED && !t->now &&
			    ckpt_pt_get_mask(t->tid, &mask) >= 0)
				ckpt_tracee_settle(tree, t, mask, &ignored);
		}
	}
}

int ckpt_tree_freeze(struct ckpt_tree *tree, struct ckpt_err *err)
{
	int r;

	forget(tree);
	tree->seed = ckpt_now_ns();
	ckpt_tree_look_ahead(tree);
	tree->deadline =
		tree->opts->timeout_s ? ckpt_now_ns() + tree->opts->timeout_s * 1000000000ull : 0;
	tree->tracer = pthread_self();
	tree->held = true;
	tree->reaper = tree->has_threads ? ckpt_reaper_start(tree->arena) : NULL;
	ckpt_tick_start(&tree->tick);
	r = stop_tree(tree, err);
	ckpt_tick_stop(&tree->tick);
	ckpt_reaper_stop(tree->reaper);
	tree->reaper = NULL;
	if (r < 0) {
		settle_some(tree);
		ckpt_tree_thaw(tree);
	}
	return r < 0 ? r : 0;
}
