/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy is no child of its process, which would have to wait for it: a process between, which
 * shares the memory of the first, makes it and ends at once; it has no signal to end with, and the
 * first waits for it while it is still frozen. The copy goes to whoever takes orphans.
 *
 * Should we die: the copy and the one between are killed by the kernel with us (both are traced,
 * and neither is anything that a program could miss). Before the kernel knows, they run into a
 * small signal frame that makes them exit. The process itself runs into one that waits for the one
 * between, and then into the frame that every remote call leads to.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "injector/caller.h"
#include "injector/copies.h"
#include "injector/remote.h"

#define LEAST (1ull << 20) /* less is written sooner than a copy is made */
#define NOBODY 0x7fffffff  /* a pid that there never is */

struct copy {
	const struct ckpt_task *task;
	struct ckpt_tracee t; /* pid 0: there is none */
	struct user_regs_struct regs;
	uint64_t at; /* what is not the program's, */
	void *saved; /* and what was there */
	size_t len;
};

struct ckpt_copies {
	struct ckpt_arena *arena;
	const struct ckpt_snapshot *snap;
	struct copy *v;
	size_t n;
};

struct ckpt_copies *ckpt_copies_plan(struct ckpt_arena *arena, const struct ckpt_snapshot *snap,
				     const struct ckpt_memory_work *work, uint64_t *standingp)
{
	struct ckpt_copies *all = ckpt_new(arena, struct ckpt_copies);

	all->arena = arena;
	all->snap = snap;
	all->v = ckpt_alloc(arena, snap->n_tasks * sizeof(*all->v));
	*standingp = ckpt_memory_in_copy(work, 0);
	for (size_t i = 0; i < snap->n_tasks; i++) {
		uint64_t bytes = ckpt_memory_in_copy(work, snap->tasks[i]->pid);

		if (bytes < LEAST)
			continue;
		all->v[all->n++].task = snap->tasks[i];
		*standingp -= bytes;
	}
	return all;
}

/* ---- frames ---- */

struct frames {
	uint8_t wait[CKPT_SMALL_FRAME], exit[CKPT_SMALL_FRAME];
};

static struct user_regs_struct regs_for(const struct ckpt_caller *c, long nr, uint64_t sp)
{
	struct user_regs_struct regs = c->t->found;

	regs.rax = nr;
	regs.rdi = regs.rsi = regs.rdx = regs.r10 = regs.r8 = regs.r9 = 0;
	regs.orig_rax = -1;
	regs.rip = c->t->proc->gadgets.call;
	regs.rsp = sp;
	return regs;
}

/* The call that makes the one between: *REGS. */
static int put_frames(const struct ckpt_caller *c, struct user_regs_struct *regs,
		      struct ckpt_err *err)
{
	const struct ckpt_gadgets *g = &c->t->proc->gadgets;
	struct user_regs_struct wait = regs_for(c, SYS_wait4, c->at + c->layout.sp),
				end = regs_for(c, SYS_exit_group, c->at);
	struct frames f = { 0 };
	size_t sp, first, ignored;
	int r;

	wait.rdi = NOBODY;
	wait.rdx = __WALL;
	sp = ckpt_frame_make_small(f.wait, g, &wait, &first);
	*regs = regs_for(c, SYS_clone, c->at + sp);
	regs->rdi = CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_PARENT_SETTID;
	regs->rsi = c->at + offsetof(struct frames, exit) +
		    ckpt_frame_make_small(f.exit, g, &end, &ignored);
	regs->rdx = c->at + first; /* so that the frame waits for the right one */
	r = ckpt_vm_put(c->t->tid, c->at, &f, sizeof(f));
	return r < 0 ? ckpt_caller_lost(c->t, r, "write to its memory", err) : 0;
}

/* ---- making one ---- */

static int cannot(const struct ckpt_tracee *t, int64_t why, struct ckpt_err *err)
{
	return ckpt_refuse(err, CKPT_E_NO_COPY, why, "process %d: cannot make a copy of it: %s",
			   t->proc->pid, strerror(-why));
}

/* A new one stops before it runs. */
static int await_birth(struct ckpt_tracee *t, const struct ckpt_tracee *of, struct ckpt_err *err)
{
	int status, r;

	*t = (struct ckpt_tracee){ .tid = of->born,
				   .proc = of->proc,
				   .state = CKPT_TRACEE_STOPPED };
	r = ckpt_pt_wait(t->tid, true, &status);
	if (r > 0 && WIFSTOPPED(status))
		return 0;
	t->tid = 0;
	return ckpt_caller_lost(of, -ESRCH, "make a copy of it", err);
}

static void kill_one(struct ckpt_tracee *t)
{
	int status;

	if (!t->tid)
		return;
	kill(t->tid, SIGKILL);
	while (ckpt_pt_wait(t->tid, true, &status) > 0 && WIFSTOPPED(status))
		;
	t->tid = 0;
}

/* T stands in its clone(2) until that one has ended. */
static int make_between(struct ckpt_tracee *between, const struct ckpt_caller *c,
			struct ckpt_err *err)
{
	struct ckpt_tracee *t = c->t;
	struct user_regs_struct regs;
	int64_t ret = 0;
	int r = put_frames(c, &regs, err);

	if (r < 0)
		return r;
	ckpt_pt_options(t->tid, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEVFORK);
	r = ckpt_remote_make(t, &regs, &ret, err);
	ckpt_pt_options(t->tid, PTRACE_O_TRACESYSGOOD);
	if (r == 0)
		return cannot(t, ret < 0 ? ret : -EPERM, err);
	return r < 0 ? r : await_birth(between, t, err);
}

static int make_copy(struct copy *copy, struct ckpt_tracee *between, const struct ckpt_caller *c,
		     struct ckpt_err *err)
{
	int64_t ret = 0;
	int r = ckpt_pt_options(between->tid,
				PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL);

	if (r >= 0)
		r = ckpt_pt_get_regs(between->tid, &copy->regs);
	if (r < 0)
		return ckpt_caller_lost(c->t, r, "make a copy of it", err);
	copy->regs = regs_for(c, SYS_clone, copy->regs.rsp);
	copy->regs.rdi = CLONE_FILES;
	r = ckpt_remote_make(between, &copy->regs, &ret, err);
	if (r == 0)
		return cannot(c->t, ret < 0 ? ret : -EPERM, err);
	return r < 0 ? r : await_birth(&copy->t, between, err);
}

/* The one between has ended: T comes out of its call, and waits for it. */
static int reap(struct ckpt_tree *tree, struct ckpt_tracee *t, struct ckpt_err *err)
{
	struct ckpt_call wait = { .nr = SYS_wait4, .arg = { 0, 0, __WALL, 0 }, .buf_arg = -1 };
	int64_t number;
	int r = ckpt_remote_made(t, &number, err);

	if (r < 0)
		return r;
	wait.arg[0] = number;
	return ckpt_remote_call(tree, t, &wait, err);
}

static int fork_one(struct ckpt_copies *all, struct copy *copy, struct ckpt_tree *tree,
		    struct ckpt_tracee *t, struct ckpt_err *err)
{
	struct ckpt_call room = { .nr = SYS_clone, .buf_len = sizeof(struct frames) };
	struct ckpt_tracee between = { 0 };
	struct ckpt_err reaping = CKPT_ERR_INIT;
	const struct ckpt_caller *c;
	int r;

	ckpt_remote_finish(tree); /* nothing of ours is to be in the copy but this: */
	r = ckpt_remote_caller(tree, t, &room, &c, err);
	if (r >= 0 && t->n_filters)
		return ckpt_refuse(err, CKPT_E_NO_COPY, -EPERM,
				   "process %d: a seccomp filter may keep it from making a copy",
				   t->proc->pid);
	if (r < 0)
		return r;
	copy->at = c->at;
	copy->len = c->layout.len;
	copy->saved = memcpy(ckpt_alloc(all->arena, copy->len), c->saved, copy->len);
	t->born = 0;
	r = make_between(&between, c, err);
	if (r >= 0)
		r = make_copy(copy, &between, c, err);
	kill_one(&between);
	if (t->born && reap(tree, t, &reaping) < 0 && r >= 0) {
		*err = reaping;
		r = err->code;
	}
	return r;
}

/* Whoever takes orphans would get a child that it has not made. */
static int check_reapers(const struct ckpt_snapshot *snap, const struct ckpt_task *task,
			 struct ckpt_source *src, struct ckpt_err *err)
{
	for (; task; task = task->parent ? snap->tasks[task->parent - 1] : NULL) {
		uint64_t reaps = 0;
		struct ckpt_call ask = { .nr = SYS_prctl,
					 .arg = { PR_GET_CHILD_SUBREAPER },
					 .buf_arg = 1,
					 .buf = &reaps,
					 .buf_len = sizeof(reaps) };
		int r = task->pid == 1 || task->run_state == CKPT_ZOMBIE ?
				0 :
				src->ops->call(src, task->pid, &ask, err);

		if (r < 0)
			return r;
		if (task->pid == 1 || (uint32_t)reaps)
			return ckpt_refuse(err, CKPT_E_NO_COPY, -ECHILD,
					   "process %d: it takes orphans, and would see copies",
					   task->pid);
	}
	return 0;
}

static int open_mem(const struct copy *copy, struct ckpt_err *err)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", copy->t.tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ?
		       ckpt_fail(err, -errno, "process %d: cannot read its copy", copy->task->pid) :
		       fd;
}

int ckpt_copies_make(struct ckpt_copies *all, struct ckpt_source *src,
		     struct ckpt_memory_work *work, struct ckpt_err *err)
{
	struct ckpt_tree *tree = ckpt_source_ptrace_tree(src);

	for (size_t i = 0; i < all->n; i++) {
		struct copy *copy = &all->v[i];
		struct ckpt_proc *proc = tree ? ckpt_tree_proc(tree, copy->task->pid) : NULL;
		struct ckpt_tracee *t = proc ? ckpt_tree_thread(tree, ckpt_proc_acts(proc)) : NULL;
		int r;

		if (!t)
			return ckpt_fail(err, -ESRCH, "process %d: cannot make a copy of it",
					 copy->task->pid);
		r = check_reapers(all->snap, copy->task, src, err);
		if (r >= 0)
			r = fork_one(all, copy, tree, t, err);
		if (r >= 0)
			r = open_mem(copy, err);
		if (r < 0)
			return r;
		ckpt_memory_take_copy(work, copy->task->pid, r);
	}
	return 0;
}

/* ---- afterwards ---- */

static int call(struct copy *copy, long nr, uint64_t a, uint64_t b, uint64_t c,
		struct ckpt_err *err)
{
	int64_t ret;

	copy->regs.rax = nr;
	copy->regs.rdi = a;
	copy->regs.rsi = b;
	copy->regs.rdx = c;
	return ckpt_remote_make(&copy->t, &copy->regs, &ret, err);
}

/* The one that the system ends first when memory gets short. */
static void offer(pid_t pid)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", pid);
	CKPT_FD fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, "1000", 4) < 0)
		return; /* it is as good as any other */
}

/* Descriptors must not be held: a pipe that the program closes has to be at its end then. */
static int settle(struct copy *copy, struct ckpt_err *err)
{
	static const char name[] = "ckpt-copy";
	int r = call(copy, SYS_close_range, 0, ~0u, CLOSE_RANGE_UNSHARE, err);

	offer(copy->t.tid);
	if (r >= 0)
		r = call(copy, SYS_setsid, 0, 0, 0, err);
	if (r >= 0 && !ckpt_vm_put(copy->t.tid, copy->at, name, sizeof(name)))
		r = call(copy, SYS_prctl, PR_SET_NAME, copy->at, 0, err);
	if (r < 0)
		return r;
	r = ckpt_vm_put(copy->t.tid, copy->at, copy->saved, copy->len);
	return r < 0 ? ckpt_fail(err, r, "process %d: its copy was killed", copy->task->pid) : 0;
}

int ckpt_copies_settle(struct ckpt_copies *all, struct ckpt_err *err)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < all->n; i++)
		r = settle(&all->v[i], err);
	return r;
}

/* To give its memory back takes one its time. */
void ckpt_copies_kill(struct ckpt_copies *all)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->v[i].t.tid)
			kill(all->v[i].t.tid, SIGKILL);
}

void ckpt_copies_end(struct ckpt_copies *all)
{
	for (size_t i = 0; all && i < all->n; i++)
		kill_one(&all->v[i].t);
}
