/* SPDX-License-Identifier: Apache-2.0 */
/*
 * membarrier(2): a process that has registered may not be told later that it has not. Kernels
 * before Linux 6.3 do not tell; there the private ones are registered, which costs nothing unless
 * they are used.
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/plan.h"
#include "proto/membarrier.pb-c.h"

#define GET_REGISTRATIONS (1 << 9) /* Linux 6.3 */
#define PRIVATE                                                \
	(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED |           \
	 MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE | \
	 MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ)
#define KNOWN (PRIVATE | MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED)

static int ask(struct ckpt_collect *c, int command, int64_t *retp, struct ckpt_err *err)
{
	return ckpt_call(c, SYS_membarrier, (uint64_t[6]){ command }, -1, NULL, 0, retp, err);
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Membarrier *m = (void *)msg;
	int64_t ret;
	int r = ask(c, GET_REGISTRATIONS, &ret, err);

	if (r >= 0 && ret == -EINVAL) {
		r = ask(c, MEMBARRIER_CMD_QUERY, &ret, err);
		ret = ret > 0 ? ret & PRIVATE : ret;
	}
	if (r < 0)
		return r;
	if (ret < 0 && ret != -ENOSYS)
		return ckpt_fail(err, ret, "membarrier: cannot get");
	m->registered = ret < 0 ? 0 : ret & KNOWN;
	return !m->registered;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Membarrier *m = (const void *)obj->msg;

	if (m->registered & ~(uint32_t)KNOWN)
		return ckpt_fail(err, -EBADMSG, "membarrier %u: commands %#x", obj->id,
				 m->registered);
	/* Of a process with threads the kernel waits for all processors. */
	for (uint32_t bit = 1; bit <= m->registered; bit <<= 1)
		if (m->registered & bit)
			ckpt_call_late(p, CKPT_BEFORE_THREADS, SYS_membarrier, (int64_t[6]){ bit });
	return 0;
}

const struct ckpt_kind ckpt_kind_membarrier = {
	.name = "membarrier",
	.scope = CKPT_PER_TASK,
	.message = &ckpt__membarrier__descriptor,
	.collect = collect,
	.plan = plan,
};
