/* SPDX-License-Identifier: Apache-2.0 */
/* Asking one thread to stop, and what it means if it cannot be asked. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/capture/fds-ahead.h"
#include "injector/freeze.h"
#include "injector/ptrace.h"
#include "injector/reaper.h"
#include "injector/target.h"

#define DOUBTS_MAX 100
#define ALONE_NS \
	10000000 /* of a freeze; then the processors are too busy for one after the other */
#define MOST_LISTS 512
#define OURS 3 /* beside CKPT_SEIZED and CKPT_SEIZE_DOUBT: it is traced, by us */

/* What may be another thing at the next look: a thread that executes a program takes the number of
 * the leader, whose zombie it awaits before; and one that is about to end may not be traced. */
static int doubt(struct ckpt_proc *proc)
{
	return ++proc->doubts < DOUBTS_MAX ? CKPT_SEIZE_DOUBT : 0;
}

static int refuse(struct ckpt_proc *proc, pid_t tid, int r, struct ckpt_err *err)
{
	char status[8192];
	pid_t tracer;

	if (ckpt_proc_read(tid, "status", status, sizeof(status)) <= 0)
		return doubt(proc);
	tracer = ckpt_status_number(status, "TracerPid", 10);
	if (tracer == getpid())
		return OURS;
	if (tracer)
		return ckpt_refuse(err, CKPT_E_TRACED, r, "thread %d: process %d traces it already",
				   tid, tracer);
	if (doubt(proc))
		return CKPT_SEIZE_DOUBT;
	return ckpt_target_forbidden("thread", tid, r, err);
}

/* Then none of them executes a program, and the leader has ended for good. */
static bool others_stand(const struct ckpt_proc *proc)
{
	for (size_t i = 1; i < proc->n; i++)
		if (proc->threads[i]->state == CKPT_TRACEE_STOPPED)
			return ckpt_proc_stands(proc);
	return false;
}

static int not_seized(struct ckpt_tree *tree, struct ckpt_proc *proc, pid_t tid, int r,
		      struct ckpt_err *err)
{
	struct ckpt_proc_stat st;

	tree->somebody_died = true;
	if (ckpt_proc_stat(tid, &st) < 0) {
		proc->gone = tid == proc->pid;
		return 0;
	}
	if (st.state != 'Z' && st.state != 'X')
		return r == -ESRCH ? doubt(proc) : refuse(proc, tid, r, err);
	if (tid != proc->pid)
		return 0;
	if (st.n_threads > 1 && !proc->ended && !others_stand(proc) && doubt(proc))
		return CKPT_SEIZE_DOUBT;
	proc->ended = st.n_threads > 1;
	proc->zombie = !proc->ended;
	return 0;
}

/* It cannot be needed before a process has a second thread, and then it was mostly started before
 * the freeze. */
static void start_reaper(struct ckpt_tree *tree)
{
	tree->reaper = ckpt_reaper_start(tree->arena);
	for (struct ckpt_proc *proc = tree->procs; proc; proc = proc->next) {
		for (size_t i = 0; i < proc->n; i++)
			ckpt_reaper_add(tree->reaper, tree->arena, proc->threads[i]->tid);
	}
}

static bool is_exposed(const struct ckpt_tree *tree, pid_t tid)
{
	const struct ckpt_asleep *a;

	if (!tree->frozen_at)
		return ckpt_asleep_exposed(tid); /* costs the program nothing yet */
	a = ckpt_tree_asleep(tree, tid);
	return a && a->exposed;
}

/* From here on it is our tracee, and goes on. *TP: NULL if there is nothing to ask. */
static int seize(struct ckpt_tree *tree, struct ckpt_proc *proc, pid_t tid, struct ckpt_tracee **tp,
		 struct ckpt_err *err)
{
	struct ckpt_tracee *t = ckpt_tree_thread(tree, tid);
	int r;

	*tp = NULL;
	if (t && t->state != CKPT_TRACEE_GONE)
		return 0;
	if (tid != proc->pid && !tree->reaper)
		start_reaper(tree);
	r = ckpt_pt_seize(tid);
	if (r < 0) {
		r = not_seized(tree, proc, tid, r, err);
		if (r != OURS)
			return r;
	}
	if (!t || t->proc != proc)
		t = ckpt_proc_add(tree, proc, tid);
	ckpt_close_fd(&t->children); /* of who had that number before */
	*t = (struct ckpt_tracee){ .tid = tid,
				   .proc = proc,
				   .bucket = t->bucket,
				   .children = -1,
				   .state = CKPT_TRACEE_WAITED };
	proc->settled = false;
	ckpt_reaper_add(tree->reaper, tree->arena, tid);
	*tp = t;
	return CKPT_SEIZED;
}

/* Asks T to stop. From here on until await.c has put its registers right our death would show: its
 * call would return EINTR. So whoever is in such a call is asked alone, and waited for. */
static int interrupt(struct ckpt_tree *tree, struct ckpt_tracee *t, bool exposed,
		     struct ckpt_err *err)
{
	uint64_t now = ckpt_now_ns();
	bool alone;

	if (!tree->frozen_at)
		tree->frozen_at = now;
	alone = exposed && now - tree->frozen_at < ALONE_NS;
	t->stopped_at = now;       /* or never: then since when it is waited for */
	ckpt_pt_interrupt(t->tid); /* fails only if it is dead, which waiting shows */
	return alone ? ckpt_tracee_await(tree, t, err) : 0;
}

int ckpt_tree_seize(struct ckpt_tree *tree, struct ckpt_proc *proc, pid_t tid, struct ckpt_err *err)
{
	bool exposed = is_exposed(tree, tid);
	struct ckpt_tracee *t;
	int r = seize(tree, proc, tid, &t, err), asked = t ? interrupt(tree, t, exposed, err) : 0;

	return asked < 0 ? asked : r;
}

/* ---- all threads of a process ---- */

struct member {
	pid_t tid;
	bool exposed;
	struct ckpt_tracee *t; /* NULL: not seized */
};

struct members {
	struct ckpt_tree *tree;
	struct member *v;
	size_t n, n_exposed, room;
};

static int list(void *arg, pid_t tid, struct ckpt_err *err)
{
	struct members *m = arg;
	const struct ckpt_tracee *t = ckpt_tree_thread(m->tree, tid);

	(void)err;
	if (t && t->state != CKPT_TRACEE_GONE)
		return 0;
	m->v = ckpt_grow(m->tree->arena, m->v, m->n, &m->room, 16, sizeof(*m->v));
	m->v[m->n] = (struct member){ tid, is_exposed(m->tree, tid), NULL };
	m->n_exposed += m->v[m->n++].exposed;
	return 0;
}

/* A tracee keeps its number until we know of its end: its list is its own. Before the freeze that
 * costs the program nothing. */
static void open_lists(struct ckpt_tree *tree, const struct members *m, size_t most)
{
	char path[64];

	for (size_t i = 0; i < m->n && !tree->frozen_at && tree->n_lists < most; i++) {
		struct ckpt_tracee *t = m->v[i].t;

		if (!t || t->children >= 0)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%d/children", t->proc->pid, t->tid);
		t->children = open(path, O_RDONLY | O_CLOEXEC);
		tree->n_lists += t->children >= 0;
	}
}

static int seize_some(struct ckpt_tree *tree, struct ckpt_proc *proc, struct members *m,
		      bool exposed, struct ckpt_seized *n, struct ckpt_err *err)
{
	int r = 0;

	for (size_t i = 0; i < m->n && r >= 0; i++) {
		if (m->v[i].exposed != exposed)
			continue;
		r = seize(tree, proc, m->v[i].tid, &m->v[i].t, err);
		n->n_new += r == CKPT_SEIZED;
		n->n_doubts += r == CKPT_SEIZE_DOUBT;
	}
	open_lists(tree, m, ckpt_fds_to_keep(16, MOST_LISTS));
	/* Also if it has failed: only a stopped thread can be let go. */
	for (size_t i = 0; i < m->n; i++) {
		if (m->v[i].exposed != exposed || !m->v[i].t)
			continue;
		if (r < 0)
			ckpt_pt_interrupt(m->v[i].tid);
		else
			r = interrupt(tree, m->v[i].t, exposed, err);
	}
	return r < 0 ? r : 0;
}

/* The exposed ones last: when the others stand the processors are free for them. */
int ckpt_tree_seize_all(struct ckpt_tree *tree, struct ckpt_proc *proc, struct ckpt_seized *n,
			struct ckpt_err *err)
{
	struct members m = { .tree = tree };
	int r = ckpt_each_thread(proc->pid, list, &m, err);

	if (r >= 0)
		r = seize_some(tree, proc, &m, false, n, err);
	if (r >= 0 && m.n_exposed)
		r = ckpt_tree_await(tree, err);
	if (r >= 0)
		r = seize_some(tree, proc, &m, true, n, err);
	return r < 0 ? r : 0;
}
