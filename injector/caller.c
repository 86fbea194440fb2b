/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that makes system calls for us. The order of the steps is what makes our death harmless:
 * the frame is complete before the registers point to it; signals are blocked after that and let in
 * again before the registers go back; memory is put back last. (Between unblocking and putting back
 * a handler runs on the frame's stack, which has room for that.)
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include "injector/caller.h"
#include "injector/filters.h"
#include "injector/ptrace.h"
#include "injector/questions.h"
#include "injector/remote.h"
#include "injector/scratch.h"

#define BUF_LEAST 512    /* mostly enough */
#define GADGET_MAX 9     /* bytes to the end of the `syscall` */
#define DISPATCH_ALLOW 0 /* SYSCALL_DISPATCH_FILTER_ALLOW */

int ckpt_caller_lost(const struct ckpt_tracee *t, int r, const char *verb, struct ckpt_err *err)
{
	if (r == -ESRCH || r == -ECHILD)
		return ckpt_refuse(err, CKPT_E_VANISHED, -ESRCH,
				   "thread %d: cannot %s: it was killed meanwhile", t->tid, verb);
	return ckpt_fail(err, r, "thread %d: cannot %s", t->tid, verb);
}

/* Whatever else was found out about it is not true then. */
static bool has_died(const struct ckpt_tracee *t, struct ckpt_err *err)
{
	uint64_t mask;

	return ckpt_pt_get_mask(t->tid, &mask) < 0 &&
	       ckpt_caller_lost(t, -ESRCH, "run a system call in it", err) < 0;
}

/* ---- can it make calls? ---- */

/* By what CACHE knows; proc->has_gadgets: and it holds. */
static int look_for_gadgets(struct ckpt_tree *tree, const struct ckpt_tracee *t,
			    struct ckpt_gadget_cache *cache, struct ckpt_err *err)
{
	struct ckpt_proc *proc = t->proc;
	int r = ckpt_gadgets_find(cache, tree->arena, t->tid, &proc->areas, &proc->gadgets, err);

	proc->has_gadgets = r >= 0 && ckpt_gadgets_hold(t->tid, &proc->gadgets);
	return r;
}

/* What is known may have been read while another program ran that was executed since. */
static void look_again(struct ckpt_tree *tree, const struct ckpt_tracee *t)
{
	struct ckpt_gadget_cache *fresh = ckpt_gadget_cache_open(tree->arena);
	struct ckpt_err ignored = CKPT_ERR_INIT;

	look_for_gadgets(tree, t, fresh, &ignored);
	if (t->proc->has_gadgets)
		tree->cache = fresh;
}

static int find_gadgets(struct ckpt_tree *tree, const struct ckpt_tracee *t, struct ckpt_err *err)
{
	struct ckpt_proc *proc = t->proc;
	int r;

	if (proc->has_gadgets)
		return 0;
	r = look_for_gadgets(tree, t, tree->cache, err);
	if (!proc->has_gadgets)
		look_again(tree, t);
	if (proc->has_gadgets) {
		*err = (struct ckpt_err)CKPT_ERR_INIT;
		return 0;
	}
	if (has_died(t, err))
		return err->code;
	if (r >= 0)
		return ckpt_refuse(
			err, CKPT_E_NO_GADGET, -ENOEXEC,
			"process %d: cannot run a system call in it: its code was changed",
			proc->pid);
	return r;
}

const struct ckpt_dispatch *ckpt_caller_dispatch(struct ckpt_tracee *t)
{
	if (!t->dispatch_is_known)
		ckpt_pt_dispatch(t->tid, &t->dispatch);
	t->dispatch_is_known = true;
	return &t->dispatch;
}

/* The kernel looks at the address behind the `syscall`. */
static bool is_allowed(const struct ckpt_dispatch *d, uint64_t gadget)
{
	return gadget - d->offset < d->len && gadget + GADGET_MAX - d->offset < d->len;
}

/* Would a call be, or the return out of a frame? The byte does not change while all stand still. */
static bool is_dispatched(struct ckpt_tracee *t)
{
	const struct ckpt_dispatch *d = ckpt_caller_dispatch(t);
	const struct ckpt_gadgets *g = &t->proc->gadgets;
	uint64_t back = g->restorer ? g->restorer : g->call;
	char selector;

	if (!d->mode || (is_allowed(d, g->call) && is_allowed(d, back)))
		return false;
	return !d->selector || ckpt_vm_get(t->tid, d->selector, &selector, 1) < 0 ||
	       selector != DISPATCH_ALLOW;
}

static bool has_shadow_stack(struct ckpt_tree *tree, pid_t tid)
{
	int r = tree->no_shadow_stack ? -EINVAL : ckpt_pt_shadow_stack(tid);

	tree->no_shadow_stack = r == -EINVAL;
	return !r;
}

static int prepare(struct ckpt_tree *tree, struct ckpt_tracee *t, struct ckpt_err *err)
{
	int r;

	if (t->prepared)
		return 0;
	if (has_shadow_stack(tree, t->tid))
		return ckpt_refuse(
			err, CKPT_E_TASK_STATE, -EBUSY,
			"thread %d: cannot run system calls in it: it has a shadow stack", t->tid);
	r = ckpt_filters_lift(tree, t, err);
	if (r < 0)
		return r;
	r = find_gadgets(tree, t, err);
	if (r < 0)
		return r;
	if (is_dispatched(t))
		return ckpt_refuse(err, CKPT_E_DISPATCH, -EBUSY,
				   "thread %d: its system calls are dispatched to itself "
				   "(PR_SET_SYSCALL_USER_DISPATCH)",
				   t->tid);
	t->prepared = true;
	return 0;
}

/* ---- the frame ---- */

bool ckpt_caller_make_chain(struct ckpt_caller *c)
{
	const struct ckpt_frame_layout *l = &c->layout;
	const struct ckpt_chain_room room = { c->frame + l->front, c->at + l->front,
					      c->frame + l->data, c->at + l->data };

	c->fourth = 0;
	c->chain_used = ckpt_round_make(c->round, c->t, &room, &c->fourth, &c->signal);
	return c->chain_used != 0;
}

static bool overlaps(const struct ckpt_caller *c, const struct ckpt_tracee *t, uint64_t addr,
		     size_t len)
{
	for (const struct ckpt_caller *o = c->next; o != c; o = o->next)
		if (o->t && o->t->proc == t->proc && addr < o->at + o->layout.len &&
		    o->at < addr + len)
			return true;
	return false;
}

static bool is_crowded(const struct ckpt_caller *c)
{
	unsigned int n = 0;

	for (const struct ckpt_caller *o = c->next; o != c; o = o->next)
		n += o->t != NULL;
	return n > 1;
}

/* Puts the frame to the best place that takes it. CHOICES: of those that there are. */
static int place_frame(struct ckpt_caller *c, struct ckpt_tracee *t, unsigned int choices,
		       bool later, struct ckpt_err *err)
{
	const struct ckpt_frame_layout *l = &c->layout;
	struct ckpt_scratch s;
	int r;

	for (unsigned int n = 0;
	     n < choices && (r = ckpt_scratch_choice(c->map, t, l->len, n, &s)) >= 0; n++) {
		if (!r || overlaps(c, t, s.addr, l->len))
			continue;
		memset(c->saved, 0, l->len);
		if (s.touched && ckpt_vm_get(t->tid, s.addr, c->saved, l->len) < 0)
			continue;
		memset(c->frame, 0, l->len);
		ckpt_frame_make(c->frame, s.addr, l, &t->proc->gadgets, &t->back, t->mask,
				t->xstate);
		c->at = s.addr;
		c->t = t;
		c->chain_is_there = c->data_len && ckpt_caller_make_chain(c);
		if (later || ckpt_vm_put(t->tid, s.addr, c->frame, l->len) >= 0)
			return 0;
		c->t = NULL;
		if (s.touched)
			ckpt_vm_put(t->tid, s.addr, c->saved, l->len);
	}
	if (has_died(t, err))
		return err->code;
	return ckpt_refuse(err, CKPT_E_NO_GADGET, -ENOMEM,
			   "thread %d: cannot run system calls in it: no memory that it can spare",
			   t->tid);
}

void ckpt_caller_equip(struct ckpt_caller *c, struct ckpt_arena *arena)
{
	if (c->round)
		return;
	c->round = ckpt_round_open(arena);
	c->frame = ckpt_alloc(arena, CKPT_FRAME_MAX);
	c->saved = ckpt_alloc(arena, CKPT_FRAME_MAX);
}

int ckpt_caller_begin(struct ckpt_caller *c, struct ckpt_tree *tree, struct ckpt_tracee *t,
		      const struct ckpt_call *first, struct ckpt_err *err)
{
	size_t buf_len = first && first->buf_arg >= 0 ? first->buf_len : 0, front;
	int r = prepare(tree, t, err);

	if (r >= 0)
		r = ckpt_remote_xstate(tree, t, err);
	if (r < 0)
		return r;
	ckpt_caller_equip(c, tree->arena);
	front = ckpt_round_begin(c->round, c->batch, t, first);
	if (!first && !front)
		return 0;
	c->for_page = first && ckpt_wants_page(first);
	c->data_len = front ? ckpt_round_data_len(c->round) : 0;
	c->buf_len = buf_len > BUF_LEAST ? buf_len : BUF_LEAST;
	ckpt_frame_lay_out(&c->layout, c->xstate_size, &t->proc->gadgets, t->xstate, t->xstate_len,
			   front > c->buf_len ? front : c->buf_len, c->data_len);
	if (c->layout.len > CKPT_FRAME_MAX)
		return ckpt_fail(err, -E2BIG, "thread %d: cannot make a signal frame", t->tid);
	/* Good places for threads without a stack of their own are few. */
	r = place_frame(c, t, !first && is_crowded(c) ? 1 : UINT_MAX, !first, err);
	if (r < 0)
		return r;
	c->resting = t->now;
	c->done = c->runs = c->stands = false;
	return 1;
}

/* ---- memory of several ---- */

enum sort { FRAME, ANSWERS, WHAT_WAS };

/* They are of one process. */
static bool transfer(enum sort sort, struct ckpt_caller **v, size_t n)
{
	struct iovec local[1 + CKPT_SOON], remote[1 + CKPT_SOON];

	for (size_t i = 0; i < n; i++) {
		struct ckpt_caller *c = v[i];
		size_t at = sort == ANSWERS ? c->layout.data : 0;

		local[i].iov_base = (sort == WHAT_WAS ? c->saved : c->frame) + at;
		remote[i].iov_base = (void *)(uintptr_t)(c->at + at);
		local[i].iov_len = sort == ANSWERS ? c->data_len : c->layout.len;
		remote[i].iov_len = local[i].iov_len;
	}
	return (sort == ANSWERS ? ckpt_vm_read(v[0]->t->tid, local, remote, n) :
				  ckpt_vm_write(v[0]->t->tid, local, remote, n)) >= 0;
}

static void transfer_all(enum sort sort, struct ckpt_caller **v, size_t n, bool *done)
{
	for (size_t i = 0, end; i < n; i = end) {
		bool all;

		for (end = i + 1; end < n && v[end]->t->proc == v[i]->t->proc;)
			end++;
		all = transfer(sort, v + i, end - i);
		for (size_t k = i; k < end; k++)
			done[k] = all || transfer(sort, v + k, 1);
	}
}

void ckpt_callers_put(struct ckpt_caller **v, size_t n)
{
	bool done[CKPT_SOON];

	transfer_all(FRAME, v, n, done);
	for (size_t i = 0; i < n; i++)
		if (!done[i])
			v[i]->t = NULL;
}

void ckpt_callers_get(struct ckpt_caller **v, size_t n, bool *got)
{
	transfer_all(ANSWERS, v, n, got);
}

static bool put_registers_back(const struct ckpt_caller *c)
{
	struct ckpt_tracee *t = c->t;
	bool back = true;

	if (t->now)
		return true;
	ckpt_pt_set_mask(t->tid, t->mask);
	back = !ckpt_pt_set_regs(t->tid, c->resting);
	t->now = c->resting;
	return back;
}

void ckpt_callers_end(struct ckpt_caller **v, size_t n)
{
	struct ckpt_caller *back[1 + CKPT_SOON];
	bool done[1 + CKPT_SOON];
	size_t n_back = 0;

	/* Who is not back was killed: nobody has that memory any more, or others have it with the
	 * frame. */
	for (size_t i = 0; i < n; i++)
		if (put_registers_back(v[i]))
			back[n_back++] = v[i];
	transfer_all(WHAT_WAS, back, n_back, done);
	for (size_t i = 0; i < n; i++) {
		v[i]->t = NULL;
		v[i]->done = false;
	}
}

void ckpt_caller_hide(const struct ckpt_caller *c, pid_t pid, uint64_t addr, void *buf, size_t len)
{
	uint64_t from, to;

	if (!c->t || c->t->proc->pid != pid)
		return;
	from = addr > c->at ? addr : c->at;
	to = addr + len < c->at + c->layout.len ? addr + len : c->at + c->layout.len;
	if (from < to)
		memcpy((char *)buf + (from - addr), c->saved + (from - c->at), to - from);
}
