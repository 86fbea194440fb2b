/* SPDX-License-Identifier: Apache-2.0 */
/* prctl(2): what belongs to the whole process or to its address space. */
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/host.h"
#include "engine/plan/plan.h"
#include "proto/prctl.pb-c.h"

#define PR_SET_MDWE 65 /* Linux 6.3 */
#define PR_GET_MDWE 66
#define PR_SET_MEMORY_MERGE 67 /* Linux 6.4 */
#define PR_GET_MEMORY_MERGE 68
#define PR_FUTEX_HASH 78 /* Linux 6.16 */
#define FUTEX_HASH_SET_SLOTS 1
#define FUTEX_HASH_GET_SLOTS 2

/* RET is the answer; of an option that the kernel does not know it is 0. */
static int get(struct ckpt_collect *c, int option, uint32_t *valuep, struct ckpt_err *err)
{
	int64_t ret;
	int r = ckpt_call(c, SYS_prctl, (uint64_t[6]){ option }, -1, NULL, 0, &ret, err);

	if (r < 0)
		return r;
	if (ret < 0 && ret != -EINVAL)
		return ckpt_fail(err, ret, "prctl %d: cannot get", option);
	*valuep = ret < 0 ? 0 : ret;
	return 0;
}

static int get_subreaper(struct ckpt_collect *c, Ckpt__Prctl *m, struct ckpt_err *err)
{
	int64_t ret;
	int value = 0;
	int r = ckpt_call(c, SYS_prctl, (uint64_t[6]){ PR_GET_CHILD_SUBREAPER }, 1, &value,
			  sizeof(value), &ret, err);

	if (r < 0)
		return r;
	if (ret < 0)
		return ckpt_fail(err, ret, "child subreaper: cannot get");
	m->has_child_subreaper = m->child_subreaper = value != 0;
	return 0;
}

/* The table of a process's own futexes comes with its second thread, in a size that the kernel
 * chooses by the number of processors. Another size is the program's choice, as is none at all. */
static int get_futex_slots(struct ckpt_collect *c, Ckpt__Prctl *m, struct ckpt_err *err)
{
	long most = 4 * sysconf(_SC_NPROCESSORS_CONF);
	const char *status;
	int64_t n;
	int r = ckpt_call(c, SYS_prctl, (uint64_t[6]){ PR_FUTEX_HASH, FUTEX_HASH_GET_SLOTS }, -1,
			  NULL, 0, &n, err);

	if (r >= 0 && n >= 0)
		r = ckpt_status_text(c, &status, err);
	if (r < 0 || n < 0)
		return err->number == CKPT_E_SECCOMP ? 0 : r;
	m->futex_slots = n;
	if (n == 0)
		m->has_futex_slots = !strstr(status, "\nThreads:\t1\n");
	else
		m->has_futex_slots = n < 16 || (n > 16 && n / 2 >= most);
	return 0;
}

/* Segments of the process's own are for 16-bit and 32-bit code. A filter that forbids the question
 * is no reason to refuse the process. */
static int check_segments(struct ckpt_collect *c, struct ckpt_err *err)
{
	uint64_t first = 0;
	int64_t ret;
	int r = ckpt_call(c, SYS_modify_ldt, (uint64_t[6]){ 0, 0, sizeof(first) }, 1, &first,
			  sizeof(first), &ret, err);

	if (r < 0)
		return err->number == CKPT_E_SECCOMP ? 0 : r;
	if (ret > 0)
		return ckpt_refuse(err, CKPT_E_TASK_STATE, -EOPNOTSUPP,
				   "it has segments of its own (modify_ldt(2))");
	return 0;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Prctl *m = (void *)msg;
	uint32_t merge = 0;
	int r = get(c, PR_GET_DUMPABLE, &m->dumpable, err);

	if (r >= 0)
		r = get_subreaper(c, m, err);
	if (r >= 0)
		r = get(c, PR_GET_THP_DISABLE, &m->thp_disable, err);
	if (r >= 0)
		r = get(c, PR_GET_MDWE, &m->mdwe, err);
	if (r >= 0)
		r = get(c, PR_GET_MEMORY_MERGE, &merge, err);
	if (r >= 0)
		r = get_futex_slots(c, m, err);
	if (r >= 0)
		r = check_segments(c, err);
	if (r < 0)
		return r;
	m->has_thp_disable = m->thp_disable != 0;
	m->has_mdwe = m->mdwe != 0;
	m->has_memory_merge = m->memory_merge = merge != 0;
	return 0;
}

static void set(struct ckpt_planner *p, enum ckpt_when when, int option, int64_t a, int64_t b)
{
	ckpt_call_late(p, when, SYS_prctl, (int64_t[6]){ option, a, b });
}

static void set_futex_slots(struct ckpt_planner *p, int pid, uint32_t n)
{
	const struct ckpt_host *host = ckpt_planner_host(p);

	if (host && !host->has_futex_slots)
		ckpt_loss(p, "process %d: its choice of %u slots for futexes (Linux 6.16)", pid, n);
	else
		set(p, CKPT_PARKED, PR_FUTEX_HASH, FUTEX_HASH_SET_SLOTS, n);
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Prctl *m = (const void *)obj->msg;
	const struct ckpt_task *task = ckpt_snapshot_task(ckpt_planner_snapshot(p), obj->task);

	if (!task || m->dumpable > 2 || m->thp_disable > 3)
		return ckpt_fail(err, -EBADMSG, "prctl %u: dumpable %u, thp_disable %u", obj->id,
				 m->dumpable, m->thp_disable);
	if (m->child_subreaper)
		set(p, CKPT_AFTER_MEMORY, PR_SET_CHILD_SUBREAPER, 1, 0);
	/* The other one that can be inherited from us: set also to zero. */
	set(p, CKPT_AFTER_MEMORY, PR_SET_THP_DISABLE, m->thp_disable & 1, m->thp_disable & 2);
	if (m->memory_merge)
		set(p, CKPT_AFTER_MEMORY, PR_SET_MEMORY_MERGE, 1, 0);
	/* No later: it cannot be undone, but by now every area has its protection. */
	if (m->mdwe)
		set(p, CKPT_AFTER_MEMORY, PR_SET_MDWE, m->mdwe, 0);
	/* 2, "readable by root only", comes from a change of credentials and cannot be set: 0 is
	 * stricter. */
	if (m->dumpable == 2)
		ckpt_loss(p, "process %d: dumpable by root only; no core dumps of it any more",
			  task->pid);
	if (m->has_futex_slots)
		set_futex_slots(p, task->pid, m->futex_slots);
	/* Every change of credentials, of any thread, resets it: therefore when all threads are
	 * through. */
	set(p, CKPT_PARKED, PR_SET_DUMPABLE, m->dumpable == 1, 0);
	return 0;
}

const struct ckpt_kind ckpt_kind_prctl = {
	.name = "prctl",
	.scope = CKPT_PER_TASK,
	.message = &ckpt__prctl__descriptor,
	.collect = collect,
	.plan = plan,
};
