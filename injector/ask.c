/* SPDX-License-Identifier: Apache-2.0 */
/* Many calls of a thread at once (batch.h), and of many threads. */
#include <errno.h>
#include <sys/ptrace.h>
#include "injector/ask.h"
#include "injector/ptrace.h"
#include "injector/run.h"

#define AGAIN_MAX 10

static struct user_regs_struct regs_for_chain(const struct ckpt_caller *c)
{
	struct user_regs_struct regs = c->t->found;

	regs.rax = regs.rdi = regs.rsi = regs.rdx = regs.r8 = regs.r9 = 0;
	regs.orig_rax = -1;
	regs.r10 = c->fourth;
	regs.rip = c->t->proc->gadgets.pop_rdi + 1; /* its `ret` */
	regs.rsp = c->at + c->layout.front - c->chain_used;
	return regs;
}

static int put_chain(const struct ckpt_caller *c)
{
	const struct ckpt_frame_layout *l = &c->layout;
	int r = ckpt_vm_put(c->t->tid, c->at, c->frame, l->front);

	return r < 0 ? r : ckpt_vm_put(c->t->tid, c->at + l->data, c->frame + l->data, c->data_len);
}

int ckpt_ask_start(struct ckpt_caller *c, struct ckpt_err *err)
{
	struct user_regs_struct regs;
	int r = 0;

	if (!c->chain_is_there) {
		if (!ckpt_caller_make_chain(c))
			return 0;
		r = put_chain(c);
		if (r < 0)
			return ckpt_caller_lost(c->t, r, "write to its memory", err);
	}
	c->chain_is_there = false;
	regs = regs_for_chain(c);
	r = ckpt_tracee_enter(c->t, &regs, CKPT_ALL_SIGNALS & ~(1ull << (c->signal - 1)), err);
	if (r >= 0)
		r = ckpt_tracee_resume(c->t, PTRACE_CONT, err);
	c->runs = r >= 0;
	c->stands = false;
	return r < 0 ? r : 1;
}

int ckpt_ask_await(struct ckpt_caller *c, struct ckpt_err *err)
{
	uint8_t *data = c->frame + c->layout.data;
	struct ckpt_tracee *t = c->t;

	c->runs = false;
	for (int i = c->stands; i < AGAIN_MAX; i++) {
		int r = i ? ckpt_tracee_run(t, PTRACE_CONT, c->signal, err) :
			    ckpt_tracee_ran(t, PTRACE_CONT, c->signal, err);

		if (r < 0)
			return r;
		r = ckpt_vm_get(t->tid, c->at + c->layout.data, data, c->data_len);
		if (r < 0)
			return ckpt_caller_lost(t, r, "read its memory", err);
		if (ckpt_round_take(c->round, t, data))
			return 1; /* else somebody else has sent that signal */
	}
	return ckpt_fail(err, -EBUSY, "thread %d: cannot run system calls in it", t->tid);
}

int ckpt_ask_all(struct ckpt_caller *c, struct ckpt_err *err)
{
	int r = c->data_len ? 1 : 0;

	if (c->runs)
		r = ckpt_ask_await(c, err);
	while (r > 0) {
		r = ckpt_ask_start(c, err);
		if (r > 0)
			r = ckpt_ask_await(c, err);
	}
	return r;
}

/* Who is in the way of that is waited for alone, when its turn comes, or has died. */
void ckpt_ask_await_group(struct ckpt_caller **v, size_t n)
{
	bool got[CKPT_SOON];
	size_t n_stand = 0;

	for (size_t i = 0; i < n; i++) {
		struct ckpt_err ignored = CKPT_ERR_INIT;

		v[i]->stands = !ckpt_tracee_ran(v[i]->t, PTRACE_CONT, v[i]->signal, &ignored);
		v[i]->runs = v[i]->stands;
		if (v[i]->stands)
			v[n_stand++] = v[i];
	}
	ckpt_callers_get(v, n_stand, got);
	for (size_t i = 0; i < n_stand; i++)
		if (got[i] &&
		    ckpt_round_take(v[i]->round, v[i]->t, v[i]->frame + v[i]->layout.data))
			v[i]->runs = v[i]->stands = false;
}
