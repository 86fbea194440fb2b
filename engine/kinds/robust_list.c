/* SPDX-License-Identifier: Apache-2.0 */
/* set_robust_list(2): the mutexes to be released when the thread dies. The list itself is memory.
 */
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/plan.h"
#include "proto/robust_list.pb-c.h"

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__RobustList *m = (void *)msg;
	void *head = NULL;
	size_t len = 0;

	/* By number of the thread: no remote call, whose answers would be two buffers. */
	if (syscall(SYS_get_robust_list, c->tid, &head, &len) < 0)
		return ckpt_fail(err, -errno, "robust list: cannot get");
	m->head = (uintptr_t)head;
	return head ? 0 : 1;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__RobustList *m = (const void *)obj->msg;

	(void)err;
	ckpt_call_late(p, CKPT_AFTER_MEMORY, SYS_set_robust_list,
		       (int64_t[6]){ m->head, sizeof(struct robust_list_head) });
	return 0;
}

const struct ckpt_kind ckpt_kind_robust_list = {
	.name = "robust_list",
	.scope = CKPT_PER_THREAD,
	.message = &ckpt__robust_list__descriptor,
	.collect = collect,
	.plan = plan,
};
