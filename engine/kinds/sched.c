/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How and where a thread runs: policy and priority, processors, memory nodes, I/O priority, timer
 * slack. All of it is set again even where it is the default: the restore itself may be nice, or
 * bound to a processor.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <linux/mempolicy.h>
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/host.h"
#include "engine/plan/plan.h"
#include "proto/sched.pb-c.h"

#ifndef SCHED_EXT
#define SCHED_EXT 7 /* Linux 6.12 */
#endif
#define SCHED_CORE 62 /* PR_SCHED_CORE, Linux 5.14 */
#define SCHED_CORE_GET 0
#define SCHED_CORE_THREAD 0
#define KEPT_FLAGS (SCHED_FLAG_RESET_ON_FORK | SCHED_FLAG_RECLAIM | SCHED_FLAG_DL_OVERRUN)
#define UTIL_MAX 1024
#define NODES_BYTES 128 /* 1024 nodes, the most that x86-64 can have */

static bool is_fair(uint32_t policy)
{
	return policy == SCHED_NORMAL || policy == SCHED_BATCH || policy == SCHED_IDLE ||
	       policy == SCHED_EXT;
}

static bool is_rt(uint32_t policy)
{
	return policy == SCHED_FIFO || policy == SCHED_RR;
}

/* ---- capture ---- */

/* 0: not fair, or not shown. */
static int64_t own_slice(void)
{
	struct sched_attr own = { 0 };

	return syscall(SYS_sched_getattr, 0, &own, sizeof(own), 0) == 0 &&
			       is_fair(own.sched_policy) ?
		       own.sched_runtime :
		       0;
}

/* A fair thread shows its time slice, chosen or not (Linux 6.12): it was chosen if it is not as
 * ours. */
static bool chose_slice(struct ckpt_collect *c, const struct sched_attr *attr)
{
	uint64_t own = attr->sched_runtime ? ckpt_once(c, own_slice) : 0;

	return own && attr->sched_runtime != own;
}

/* The values of a thread that chose none, and what a kernel without the feature shows. */
static bool chose_clamps(const struct sched_attr *attr)
{
	if (attr->sched_util_min == 0 &&
	    (attr->sched_util_max == UTIL_MAX || attr->sched_util_max == 0))
		return false;
	return !(is_rt(attr->sched_policy) && attr->sched_util_min == UTIL_MAX &&
		 attr->sched_util_max == UTIL_MAX);
}

static int collect_policy(struct ckpt_collect *c, Ckpt__Sched *m, struct ckpt_err *err)
{
	struct sched_attr attr = { 0 };

	if (syscall(SYS_sched_getattr, c->tid, &attr, sizeof(attr), 0) < 0)
		return ckpt_fail(err, -errno, "scheduling: cannot get");
	if (attr.sched_policy > SCHED_EXT)
		return ckpt_refuse(err, CKPT_E_TASK_STATE, -EOPNOTSUPP,
				   "scheduling policy %u is not known", attr.sched_policy);
	m->policy = attr.sched_policy;
	m->flags = attr.sched_flags & KEPT_FLAGS;
	m->has_flags = m->flags != 0;
	/* sched_getattr hides that of a real-time thread. */
	if (is_fair(m->policy)) {
		m->nice = attr.sched_nice;
	} else {
		long nice = syscall(SYS_getpriority, PRIO_PROCESS, c->tid);

		if (nice < 0)
			return ckpt_fail(err, -errno, "nice value: cannot get");
		m->nice = 20 - nice;
	}
	m->has_nice = m->nice != 0;
	m->priority = attr.sched_priority;
	m->has_priority = m->priority != 0;
	m->has_runtime = m->policy == SCHED_DEADLINE ||
			 (is_fair(m->policy) && chose_slice(c, &attr));
	m->runtime = m->has_runtime ? attr.sched_runtime : 0;
	m->has_deadline = m->has_period = m->policy == SCHED_DEADLINE;
	m->deadline = m->has_deadline ? attr.sched_deadline : 0;
	m->period = m->has_period ? attr.sched_period : 0;
	m->has_util_min = m->has_util_max = chose_clamps(&attr);
	m->util_min = m->has_util_min ? attr.sched_util_min : 0;
	m->util_max = m->has_util_max ? attr.sched_util_max : 0;
	return 0;
}

static size_t trimmed(const uint8_t *bytes, size_t len)
{
	while (len && !bytes[len - 1])
		len--;
	return len;
}

static void keep_bytes(struct ckpt_arena *arena, ProtobufCBinaryData *to, const uint8_t *bytes,
		       size_t len)
{
	to->len = trimmed(bytes, len);
	to->data = memcpy(ckpt_alloc(arena, to->len + 1), bytes, to->len);
}

static int collect_cpus(struct ckpt_collect *c, Ckpt__Sched *m, struct ckpt_err *err)
{
	uint8_t cpus[CKPT_CPU_BYTES] = { 0 };
	long n = syscall(SYS_sched_getaffinity, c->tid, sizeof(cpus), cpus), count = 0;

	if (n < 0)
		return ckpt_fail(err, -errno, "processors: cannot get");
	for (long i = 0; i < n; i++)
		count += __builtin_popcount(cpus[i]);
	m->all_cpus = m->has_all_cpus = count >= ckpt_cpus_online(c);
	m->has_cpus = !m->all_cpus;
	if (m->has_cpus)
		keep_bytes(c->arena, &m->cpus, cpus, n);
	return 0;
}

/* Two answers, and a remote call has one buffer: the nodes are asked for only where there is a
 * policy. */
static int collect_nodes(struct ckpt_collect *c, Ckpt__Sched *m, struct ckpt_err *err)
{
	uint8_t nodes[NODES_BYTES] = { 0 };
	int64_t ret;
	int mode = 0;
	int r = ckpt_call(c, SYS_get_mempolicy, (uint64_t[6]){ 0 }, 0, &mode, sizeof(mode), &ret,
			  err);

	if (r < 0 || ret == -ENOSYS) /* a kernel without CONFIG_NUMA */
		return r;
	if (ret < 0)
		return ckpt_fail(err, ret, "memory policy: cannot get");
	if (mode == MPOL_DEFAULT)
		return 0;
	r = ckpt_call(c, SYS_get_mempolicy, (uint64_t[6]){ 0, 0, 8 * sizeof(nodes) }, 1, nodes,
		      sizeof(nodes), &ret, err);
	if (r < 0)
		return r;
	if (ret < 0)
		return ckpt_fail(err, ret, "memory nodes: cannot get");
	m->has_mempolicy = m->has_nodes = true;
	m->mempolicy = mode;
	keep_bytes(c->arena, &m->nodes, nodes, sizeof(nodes));
	return 0;
}

static bool get_core(pid_t tid, uint64_t *cookiep)
{
	return prctl(SCHED_CORE, SCHED_CORE_GET, tid, SCHED_CORE_THREAD, cookiep) == 0;
}

/* Not without the kernel's support, or with one hardware thread a core. */
static int64_t shares_cores(void)
{
	uint64_t cookie;

	return get_core(0, &cookie);
}

/* The number tells who shares a core with whom, and cannot be set. Who may not ask is told
 * nothing. */
static void look_for_core(struct ckpt_collect *c)
{
	uint64_t cookie = 0;

	if (ckpt_once(c, shares_cores) && get_core(c->tid, &cookie) && cookie)
		ckpt_lost(c, "thread %d: with whom it shares a core (PR_SCHED_CORE)", c->tid);
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Sched *m = (void *)msg;
	int64_t slack;
	long ioprio;
	int r = collect_policy(c, m, err);

	if (r >= 0)
		r = collect_cpus(c, m, err);
	if (r >= 0)
		r = collect_nodes(c, m, err);
	/* By the thread itself: the file in /proc takes CAP_SYS_NICE. */
	if (r >= 0)
		r = ckpt_call(c, SYS_prctl, (uint64_t[6]){ PR_GET_TIMERSLACK }, -1, NULL, 0, &slack,
			      err);
	if (r < 0)
		return r;
	if (slack < 0)
		return ckpt_fail(err, slack, "timer slack: cannot get");
	look_for_core(c);
	m->has_timerslack_ns = true;
	m->timerslack_ns = slack;
	ioprio = syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, c->tid);
	if (ioprio < 0 && errno != ENOSYS) /* a kernel without block devices */
		return ckpt_fail(err, -errno, "I/O priority: cannot get");
	/* The value that stands for none has been 4 and 0; only 0 can be set. */
	m->ioprio = ioprio < 0 || IOPRIO_PRIO_CLASS(ioprio) == IOPRIO_CLASS_NONE ? 0 : ioprio;
	return 0;
}

/* ---- plan ---- */

static bool chose(const Ckpt__Sched *m)
{
	return m->has_util_min || m->has_util_max;
}

static int check(const struct ckpt_object *obj, const Ckpt__Sched *m, struct ckpt_err *err)
{
	bool nice = m->nice >= -20 && m->nice <= 19;
	bool priority = is_rt(m->policy) ? m->priority >= 1 && m->priority <= 99 : m->priority == 0;

	if (m->policy > SCHED_EXT ||
	    (!is_fair(m->policy) && !is_rt(m->policy) && m->policy != SCHED_DEADLINE))
		return ckpt_fail(err, -EBADMSG, "sched %u: policy %u", obj->id, m->policy);
	if (!nice || !priority || (m->flags & ~(uint64_t)KEPT_FLAGS))
		return ckpt_fail(err, -EBADMSG, "sched %u: nice %d, priority %u, flags %#llx",
				 obj->id, m->nice, m->priority, (unsigned long long)m->flags);
	if (m->cpus.len > CKPT_CPU_BYTES || (!m->all_cpus && !m->cpus.len) ||
	    m->nodes.len > NODES_BYTES)
		return ckpt_fail(err, -EBADMSG, "sched %u: %zu bytes of processors, %zu of nodes",
				 obj->id, m->cpus.len, m->nodes.len);
	return 0;
}

/* Which priority takes privilege here? As sched_setattr(2) will judge it. */
static bool takes_privilege(const struct ckpt_host *host, const Ckpt__Sched *m)
{
	int least_nice = 20 - (int)host->limits[RLIMIT_NICE].rlim_cur;

	if (host->limits[RLIMIT_NICE].rlim_cur > 40)
		least_nice = -20;
	if (m->policy == SCHED_DEADLINE || (m->nice < host->nice && m->nice < least_nice))
		return true;
	if (is_rt(m->policy))
		return ((int)m->policy != host->policy && !host->limits[RLIMIT_RTPRIO].rlim_cur) ||
		       ((int)m->priority > host->rt_priority &&
			m->priority > host->limits[RLIMIT_RTPRIO].rlim_cur);
	return host->policy == SCHED_IDLE && m->policy != SCHED_IDLE && m->nice < least_nice;
}

static void check_host(struct ckpt_planner *p, const struct ckpt_host *host,
		       const struct ckpt_task *task, const Ckpt__Sched *m)
{
	bool may_nice = ckpt_host_has_init_cap(host, CAP_SYS_NICE);

	if (takes_privilege(host, m) && !may_nice)
		ckpt_problem(p, CKPT_E_PRIVILEGE,
			     "process %d has a higher priority (policy %u, nice %d, priority %u) "
			     "than this restore, which takes cap_sys_nice",
			     task->pid, m->policy, m->nice, m->priority);
	if (IOPRIO_PRIO_CLASS(m->ioprio) == IOPRIO_CLASS_RT && !may_nice &&
	    !ckpt_host_has_init_cap(host, CAP_SYS_ADMIN))
		ckpt_problem(p, CKPT_E_PRIVILEGE,
			     "process %d has real-time I/O priority, which takes cap_sys_nice",
			     task->pid);
	if (chose(m) && !host->has_clamps)
		ckpt_loss(p, "process %d: its utilization clamps: this kernel has none", task->pid);
	for (size_t i = 0; !m->all_cpus && i < 8 * m->cpus.len; i++)
		if ((m->cpus.data[i / 8] >> i % 8 & 1) && !(host->cpus[i / 8] >> i % 8 & 1))
			ckpt_problem(p, CKPT_E_CPU_FEATURE,
				     "process %d is bound to processor %zu, which is not here",
				     task->pid, i);
}

static void emit_policy(struct ckpt_planner *p, const Ckpt__Sched *m)
{
	const struct ckpt_host *host = ckpt_planner_host(p);
	struct sched_attr attr = {
		.size = sizeof(attr),
		.sched_policy = m->policy,
		.sched_flags = m->flags,
		.sched_nice = m->nice,
		.sched_priority = m->priority,
		.sched_runtime = m->runtime,
		.sched_deadline = m->deadline,
		.sched_period = m->period,
		.sched_util_min = m->util_min,
		.sched_util_max = m->util_max,
	};

	if (chose(m) && (!host || host->has_clamps))
		attr.sched_flags |= SCHED_FLAG_UTIL_CLAMP;
	else
		attr.size = SCHED_ATTR_SIZE_VER0;
	/* The nice value on its own: not every policy takes it. */
	ckpt_call_late(p, CKPT_AFTER_MEMORY, SYS_setpriority,
		       (int64_t[6]){ PRIO_PROCESS, 0, m->nice });
	ckpt_call_late(p, CKPT_AFTER_MEMORY, SYS_sched_setattr,
		       (int64_t[6]){ 0, ckpt_late_data(p, &attr, sizeof(attr)), 0 });
}

static void emit_cpus(struct ckpt_planner *p, const Ckpt__Sched *m)
{
	uint8_t all[CKPT_CPU_BYTES];
	size_t len = m->all_cpus ? sizeof(all) : m->cpus.len;

	memset(all, 0xff, sizeof(all)); /* those that there are and that the cpuset allows */
	ckpt_call_late(p, CKPT_AFTER_MEMORY, SYS_sched_setaffinity,
		       (int64_t[6]){ 0, len,
				     ckpt_late_data(p, m->all_cpus ? all : m->cpus.data, len) });
}

static void emit_nodes(struct ckpt_planner *p, const Ckpt__Sched *m)
{
	const struct ckpt_host *host = ckpt_planner_host(p);
	uint8_t nodes[NODES_BYTES] = { 0 };
	int64_t at = 0, n_bits = 0;

	if (!m->has_mempolicy && (!host || host->mempolicy == MPOL_DEFAULT))
		return;
	if (m->nodes.len) {
		memcpy(nodes, m->nodes.data, m->nodes.len);
		at = ckpt_late_data(p, nodes, sizeof(nodes));
		n_bits = 8 * sizeof(nodes) + 1; /* the kernel looks at one less */
	}
	ckpt_call_late(p, CKPT_AFTER_MEMORY, SYS_set_mempolicy,
		       (int64_t[6]){ m->mempolicy, at, n_bits });
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Sched *m = (const void *)obj->msg;
	const struct ckpt_task *task = ckpt_snapshot_task(ckpt_planner_snapshot(p), obj->task);
	const struct ckpt_host *host = ckpt_planner_host(p);
	int r = check(obj, m, err);

	if (r < 0)
		return r;
	if (!task)
		return ckpt_fail(err, -EBADMSG, "sched %u: of no task", obj->id);
	if (host)
		check_host(p, host, task, m);
	/* The policy last: a deadline thread may not be bound, and a real-time thread has no slack
	 * to choose. */
	emit_cpus(p, m);
	emit_nodes(p, m);
	ckpt_call_late(p, CKPT_AFTER_MEMORY, SYS_prctl,
		       (int64_t[6]){ PR_SET_TIMERSLACK, m->timerslack_ns });
	ckpt_call_late(p, CKPT_AFTER_MEMORY, SYS_ioprio_set,
		       (int64_t[6]){ IOPRIO_WHO_PROCESS, 0, m->ioprio });
	emit_policy(p, m);
	return 0;
}

const struct ckpt_kind ckpt_kind_sched = {
	.name = "sched",
	.scope = CKPT_PER_THREAD,
	.of_ended = true,
	.message = &ckpt__sched__descriptor,
	.collect = collect,
	.plan = plan,
};
