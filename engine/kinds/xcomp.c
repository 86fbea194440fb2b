/* SPDX-License-Identifier: Apache-2.0 */
/* Permission of a process to use processor state that is off at first: AMX tiles (Linux 5.16). */
#include <errno.h>
#include <sys/syscall.h>
#include "engine/base/arch/x86-64.h"
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/plan.h"
#include "proto/xcomp.pb-c.h"

#define ARCH_GET_XCOMP_PERM 0x1022
#define ARCH_REQ_XCOMP_PERM 0x1023
#define TILES (1ull << CKPT_XFEATURE_TILEDATA)

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	const uint64_t arg[6] = { ARCH_GET_XCOMP_PERM };
	uint64_t permitted = 0;
	int64_t ret;
	int r = ckpt_call(c, SYS_arch_prctl, arg, 1, &permitted, sizeof(permitted), &ret, err);

	if (r < 0)
		return r;
	((Ckpt__Xcomp *)msg)->permitted = ret < 0 ? 0 : permitted & TILES;
	return !((Ckpt__Xcomp *)msg)->permitted;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const int64_t arg[6] = { ARCH_REQ_XCOMP_PERM, CKPT_XFEATURE_TILEDATA };

	if (((const Ckpt__Xcomp *)obj->msg)->permitted != TILES)
		return ckpt_fail(err, -EBADMSG, "xcomp %u: unknown processor state", obj->id);
	ckpt_call_late(p, CKPT_BEFORE_THREADS, SYS_arch_prctl, arg);
	return 0;
}

const struct ckpt_kind ckpt_kind_xcomp = {
	.name = "xcomp",
	.scope = CKPT_PER_TASK,
	.message = &ckpt__xcomp__descriptor,
	.collect = collect,
	.plan = plan,
};
