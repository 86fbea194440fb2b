/* SPDX-License-Identifier: Apache-2.0 */
/* rseq(2): registered again by the restored thread. Critical sections were left at the freeze. */
#include <errno.h>
#include <sys/syscall.h>
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/plan.h"
#include "proto/rseq.pb-c.h"

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Rseq *q = (void *)msg;
	int r = c->src->ops->rseq(c->src, c->tid, &q->address, &q->size, &q->signature, err);

	return r < 0 ? r : q->address == 0;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Rseq *q = (const void *)obj->msg;
	int64_t arg[6] = { q->address, q->size, 0, q->signature };

	if (q->size < 32 || q->size > 4096 || q->address % 32)
		return ckpt_fail(err, -EBADMSG, "rseq %u: area of %u bytes at %#llx", obj->id,
				 q->size, (unsigned long long)q->address);
	ckpt_call_late(p, CKPT_AFTER_MEMORY, SYS_rseq, arg);
	return 0;
}

const struct ckpt_kind ckpt_kind_rseq = {
	.name = "rseq",
	.scope = CKPT_PER_THREAD,
	.message = &ckpt__rseq__descriptor,
	.collect = collect,
	.plan = plan,
};
