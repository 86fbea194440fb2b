/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mlockall(2) with MCL_FUTURE. The kernel does not tell whether it is in force: the process maps a
 * page, looks whether it is locked, and unmaps it. What is locked already is a flag of each area.
 */
#include <errno.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include "engine/base/arch/x86-64.h"
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/host.h"
#include "engine/plan/plan.h"
#include "proto/mlockall.pb-c.h"

static int ask(struct ckpt_collect *c, long nr, const uint64_t arg[6], int64_t *retp,
	       struct ckpt_err *err)
{
	return ckpt_call(c, nr, arg, -1, NULL, 0, retp, err);
}

/* 1: nothing to keep. AT is a new page. */
static int look(struct ckpt_collect *c, uint64_t at, Ckpt__Mlockall *m, struct ckpt_err *err)
{
	unsigned char in_core = 0;
	int64_t ret;
	int r = ask(c, SYS_msync, (uint64_t[6]){ at, CKPT_PAGE, MS_INVALIDATE }, &ret, err);

	if (r < 0)
		return r;
	if (ret != -EBUSY) /* it is not locked */
		return 1;
	r = ckpt_call(c, SYS_mincore, (uint64_t[6]){ at, CKPT_PAGE }, 2, &in_core, 1, &ret, err);
	m->on_fault = !(in_core & 1);
	return r;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	int64_t at, ret;
	int r = ask(c, SYS_mmap,
		    (uint64_t[6]){ 0, CKPT_PAGE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1ull },
		    &at, err);

	if (r < 0)
		return r;
	if (at < 0 && at > -4096) {
		ckpt_lost(c,
			  "process %d: whether what it maps from now on is locked: it can map "
			  "nothing more",
			  c->pid);
		return 1;
	}
	r = look(c, at, (Ckpt__Mlockall *)msg, err);
	if (r < 0)
		return r;
	return ask(c, SYS_munmap, (uint64_t[6]){ at, CKPT_PAGE }, &ret, err) < 0 ? err->code : r;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Mlockall *m = (const void *)obj->msg;
	const struct ckpt_host *host = ckpt_planner_host(p);
	const struct ckpt_task *task = ckpt_snapshot_task(ckpt_planner_snapshot(p), obj->task);

	if (!task)
		return ckpt_fail(err, -EBADMSG, "mlockall %u: of no process", obj->id);
	if (host && !host->limits[RLIMIT_MEMLOCK].rlim_max &&
	    !ckpt_host_has_init_cap(host, CAP_IPC_LOCK))
		ckpt_problem(p, CKPT_E_PRIVILEGE,
			     "process %d: locks its memory, and RLIMIT_MEMLOCK here is 0",
			     task->pid);
	ckpt_call_late(p, CKPT_AFTER_MEMORY, SYS_mlockall,
		       (int64_t[6]){ MCL_FUTURE | (m->on_fault ? MCL_ONFAULT : 0) });
	return 0;
}

const struct ckpt_kind ckpt_kind_mlockall = {
	.name = "mlockall",
	.scope = CKPT_PER_TASK,
	.message = &ckpt__mlockall__descriptor,
	.collect = collect,
	.plan = plan,
};
