/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A descriptor that a thread makes for us. What closes it there is on its stack already when it is
 * made, and runs by itself should we die; a program without code for that is asked twice.
 */
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/fd-of.h"
#include "injector/caller.h"
#include "injector/ptrace.h"
#include "injector/remote.h"

static int duplicate(const struct ckpt_tracee *t, struct ckpt_call *call, struct ckpt_err *err)
{
	call->taken = ckpt_fd_of(ckpt_proc_acts(t->proc), (int)call->ret);
	return call->taken >= 0 ? 0 :
				  ckpt_fail(err, -errno, "process %d: fd %lld: cannot duplicate",
					    t->proc->pid, (long long)call->ret);
}

int ckpt_caller_take(struct ckpt_caller *c, struct ckpt_call *call, struct user_regs_struct regs,
		     struct ckpt_err *err)
{
	const struct ckpt_frame_layout *l = &c->layout;
	struct user_regs_struct close = regs;
	size_t used =
		ckpt_chain_to_close(&c->t->proc->gadgets, c->frame + l->front, c->at + l->front);
	int64_t ignored;
	int taken, r;

	regs.rsp = used ? c->at + l->front - used : regs.rsp;
	r = ckpt_vm_put(c->t->tid, c->at + l->front - used, c->frame + l->front - used, used);
	if (r < 0)
		return ckpt_caller_lost(c->t, r, "write to its memory", err);
	r = ckpt_remote_make(c->t, &regs, &call->ret, err);
	if (r < 0 || call->ret < 0)
		return r;
	taken = duplicate(c->t, call, err);
	close.rax = SYS_close;
	close.rdi = call->ret;
	r = ckpt_remote_make(c->t, &close, &ignored, err);
	return taken < 0 ? taken : r;
}
