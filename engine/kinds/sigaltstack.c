/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sigaltstack(2). A thread that is on its alternate stack keeps it: that is seen by the stack
 * pointer, not by a flag. With SS_AUTODISARM it is disabled meanwhile, and its signal frame, in
 * memory, brings it back.
 */
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/plan.h"
#include "proto/sigaltstack.pb-c.h"

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31) /* Linux 4.7 */
#endif

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Sigaltstack *m = (void *)msg;
	stack_t ss = { 0 };
	int64_t ret;
	int r = ckpt_call(c, SYS_sigaltstack, (uint64_t[6]){ 0 }, 1, &ss, sizeof(ss), &ret, err);

	if (r < 0)
		return r;
	if (ret < 0)
		return ckpt_fail(err, ret, "sigaltstack: cannot get");
	m->sp = (uintptr_t)ss.ss_sp;
	m->size = ss.ss_size;
	m->flags = (unsigned int)ss.ss_flags & (SS_AUTODISARM | SS_DISABLE);
	/* A new thread has none, but the leader is a copy of a process that may have one. */
	return (m->flags & SS_DISABLE) && c->tid != c->pid ? 1 : 0;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Sigaltstack *m = (const void *)obj->msg;
	stack_t ss = { .ss_sp = (void *)(uintptr_t)m->sp, .ss_size = m->size };

	if (m->flags & ~(SS_AUTODISARM | SS_DISABLE))
		return ckpt_fail(err, -EBADMSG, "sigaltstack %u: flags %#x", obj->id, m->flags);
	ss.ss_flags = (int)m->flags;
	ckpt_call_late(p, CKPT_AFTER_MEMORY, SYS_sigaltstack,
		       (int64_t[6]){ ckpt_late_data(p, &ss, sizeof(ss)) });
	return 0;
}

const struct ckpt_kind ckpt_kind_sigaltstack = {
	.name = "sigaltstack",
	.scope = CKPT_PER_THREAD,
	.message = &ckpt__sigaltstack__descriptor,
	.collect = collect,
	.plan = plan,
};
