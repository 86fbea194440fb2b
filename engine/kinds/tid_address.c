/* SPDX-License-Identifier: Apache-2.0 */
/* set_tid_address(2): what pthread_join(3) waits for. Also zero is set again: a thread may have
 * been made with an address. */
#include <errno.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/plan.h"
#include "proto/tid_address.pb-c.h"

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__TidAddress *m = (void *)msg;
	int64_t ret;
	int r = ckpt_call(c, SYS_prctl, (uint64_t[6]){ PR_GET_TID_ADDRESS }, 1, &m->address,
			  sizeof(m->address), &ret, err);

	if (r < 0)
		return r;
	if (ret == -EINVAL)
		return ckpt_refuse(err, CKPT_E_KERNEL_FEATURE, ret,
				   "this kernel is built without CONFIG_CHECKPOINT_RESTORE");
	return ret < 0 ? ckpt_fail(err, ret, "tid address: cannot get") : 0;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__TidAddress *m = (const void *)obj->msg;

	(void)err;
	ckpt_call_late_want(p, CKPT_AFTER_MEMORY, SYS_set_tid_address, (int64_t[6]){ m->address },
			    obj->tid);
	return 0;
}

const struct ckpt_kind ckpt_kind_tid_address = {
	.name = "tid_address",
	.scope = CKPT_PER_THREAD,
	.message = &ckpt__tid_address__descriptor,
	.collect = collect,
	.plan = plan,
};
