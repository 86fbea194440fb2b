/* SPDX-License-Identifier: Apache-2.0 */
/* prctl(2) and personality(2): what belongs to one thread. Settings that would be lost without a
 * trace are refused. */
#include <errno.h>
#include <linux/capability.h>
#include <linux/prctl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/text.h"
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/plan.h"
#include "engine/plan/host.h"
#include "proto/thread_prctl.pb-c.h"

#define PERSONALITY_QUERY 0xffffffffu
#define ARCH_GET_CPUID 0x1011 /* Linux 4.12 */
#define ARCH_SET_CPUID 0x1012
#define IO_FLUSHER_FLAGS 0x180000 /* PF_MEMALLOC_NOIO, PF_LOCAL_THROTTLE */

static int get_int(struct ckpt_collect *c, int option, int *valuep, struct ckpt_err *err)
{
	int64_t ret;
	int r = ckpt_call(c, SYS_prctl, (uint64_t[6]){ option }, 1, valuep, sizeof(*valuep), &ret,
			  err);

	if (r < 0)
		return r;
	return ret < 0 ? ckpt_fail(err, ret, "prctl %d: cannot get", option) : 0;
}

/* Only what the thread itself has chosen: "thread mitigated", but not "globally mitigated". */
static uint32_t speculation(const char *status, const char *key, const char *by)
{
	const char *s = ckpt_line_after(status, key);
	size_t n = strlen(by);

	if (!s || strncmp(s, by, n) || s[n] != ' ')
		return 0;
	s += n + 1;
	if (ckpt_word_is(s, "force"))
		return PR_SPEC_FORCE_DISABLE;
	return ckpt_word_is(s, "mitigated") || ckpt_word_is(s, "disabled") ? PR_SPEC_DISABLE : 0;
}

/* Of the processor's: state that a restore would drop. */
static int check_processor(const char *status, struct ckpt_err *err)
{
	const char *features = ckpt_line_after(status, "x86_Thread_features"); /* Linux 6.6 */
	const char *untag = ckpt_line_after(status, "untag_mask");             /* Linux 6.4 */
	uint64_t mask;

	if (features && !strncmp(features, "shstk", 5))
		return ckpt_refuse(err, CKPT_E_TASK_STATE, -EOPNOTSUPP,
				   "a thread has a shadow stack");
	if (untag && ckpt_parse_u64(&untag, 16, &mask) && mask != UINT64_MAX)
		return ckpt_refuse(err, CKPT_E_TASK_STATE, -EOPNOTSUPP,
				   "the process uses tagged addresses");
	return 0;
}

/* Of what others do to the thread: memory that fails, and the processor that is not to be named. */
static int collect_faults(struct ckpt_collect *c, Ckpt__ThreadPrctl *m, struct ckpt_err *err)
{
	int64_t kill, cpuid = 1;
	int r = ckpt_call(c, SYS_prctl, (uint64_t[6]){ PR_MCE_KILL_GET }, -1, NULL, 0, &kill, err);

	if (r >= 0)
		r = ckpt_call(c, SYS_arch_prctl, (uint64_t[6]){ ARCH_GET_CPUID }, -1, NULL, 0,
			      &cpuid, err);
	if (r < 0)
		return r;
	if (kill < 0 && kill != -EINVAL) /* a kernel without */
		return ckpt_fail(err, kill, "machine check policy: cannot get");
	m->has_mce_kill = kill >= 0 && kill != PR_MCE_KILL_DEFAULT;
	m->mce_kill = m->has_mce_kill ? kill : PR_MCE_KILL_DEFAULT;
	m->has_no_cpuid = m->no_cpuid = cpuid == 0;
	return 0;
}

/* Who has given up the privilege that the question takes is known by its main thread, from which
 * others inherit it. */
static int collect_flusher(struct ckpt_collect *c, Ckpt__ThreadPrctl *m, struct ckpt_err *err)
{
	int64_t flusher;
	int r = ckpt_call(c, SYS_prctl, (uint64_t[6]){ PR_GET_IO_FLUSHER }, -1, NULL, 0, &flusher,
			  err);

	if (r < 0)
		return r;
	if (flusher == -EPERM)
		flusher = (ckpt_kernel_flags(c) & IO_FLUSHER_FLAGS) == IO_FLUSHER_FLAGS;
	m->has_io_flusher = m->io_flusher = flusher > 0; /* a kernel without knows it not */
	return 0;
}

static int64_t own_l1d_flush(void)
{
	return syscall(SYS_prctl, PR_GET_SPECULATION_CTRL, PR_SPEC_L1D_FLUSH, 0, 0, 0);
}

/* The only one of speculation control that status does not show. Mostly there is nothing to choose,
 * and nobody to be asked. */
static int collect_l1d_flush(struct ckpt_collect *c, Ckpt__ThreadPrctl *m, struct ckpt_err *err)
{
	const uint64_t arg[6] = { PR_GET_SPECULATION_CTRL, PR_SPEC_L1D_FLUSH };
	int64_t own = ckpt_once(c, own_l1d_flush), ret = 0;
	int r = 0;

	if (own > 0 && own & PR_SPEC_PRCTL)
		r = ckpt_call(c, SYS_prctl, arg, -1, NULL, 0, &ret, err);
	m->has_l1d_flush = m->l1d_flush = ret > 0 && ret & PR_SPEC_ENABLE;
	return r;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__ThreadPrctl *m = (void *)msg;
	int pdeathsig = 0, tsc = 0;
	const char *status;
	int64_t ret;
	int r = ckpt_status_text(c, &status, err);

	if (r >= 0)
		r = check_processor(status, err);
	if (r >= 0)
		r = ckpt_call(c, SYS_personality, (uint64_t[6]){ PERSONALITY_QUERY }, -1, NULL, 0,
			      &ret, err);
	if (r >= 0)
		r = get_int(c, PR_GET_PDEATHSIG, &pdeathsig, err);
	if (r >= 0)
		r = get_int(c, PR_GET_TSC, &tsc, err);
	if (r >= 0)
		r = collect_faults(c, m, err);
	if (r >= 0)
		r = collect_flusher(c, m, err);
	if (r >= 0)
		r = collect_l1d_flush(c, m, err);
	if (r < 0)
		return r;
	m->personality = ret;
	m->has_pdeathsig = pdeathsig != 0;
	m->pdeathsig = pdeathsig;
	m->has_no_tsc = m->no_tsc = tsc == PR_TSC_SIGSEGV;
	m->store_bypass = speculation(status, "Speculation_Store_Bypass", "thread");
	m->has_store_bypass = m->store_bypass != 0;
	m->indirect_branch = speculation(status, "SpeculationIndirectBranch", "conditional");
	m->has_indirect_branch = m->indirect_branch != 0;
	return 0;
}

static void plan_speculation(struct ckpt_planner *p, const struct ckpt_task *task, bool can,
			     int which, uint32_t value, const char *what)
{
	if (!value)
		return;
	if (can)
		ckpt_call_late(p, CKPT_AFTER_MEMORY, SYS_prctl,
			       (int64_t[6]){ PR_SET_SPECULATION_CTRL, which, value });
	else
		ckpt_loss(p, "process %d: its protection against %s: not to be chosen here",
			  task->pid, what);
}

/* Is ckpt the parent, and ends as soon as the tree runs? Its death is not what the signal was for:
 * it is never to come then. In a box the parent is its init. */
static bool is_orphan(struct ckpt_planner *p, const struct ckpt_task *task)
{
	const struct ckpt_host *host = ckpt_planner_host(p);

	return !task->parent && host && !host->box && ckpt_planner_opts(p)->detached;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__ThreadPrctl *m = (const void *)obj->msg;
	const struct ckpt_task *task = ckpt_snapshot_task(ckpt_planner_snapshot(p), obj->task);
	const struct ckpt_host *host = ckpt_planner_host(p);

	if (!task || m->pdeathsig > 64 || m->personality == PERSONALITY_QUERY ||
	    (m->has_mce_kill && m->mce_kill > PR_MCE_KILL_EARLY))
		return ckpt_fail(err, -EBADMSG, "thread_prctl %u: pdeathsig %u, personality %#x",
				 obj->id, m->pdeathsig, m->personality);
	ckpt_call_late(p, CKPT_AFTER_MEMORY, SYS_personality, (int64_t[6]){ m->personality });
	if (m->no_tsc)
		ckpt_call_late(p, CKPT_AFTER_MEMORY, SYS_prctl,
			       (int64_t[6]){ PR_SET_TSC, PR_TSC_SIGSEGV });
	if (m->has_mce_kill)
		ckpt_call_late(p, CKPT_AFTER_MEMORY, SYS_prctl,
			       (int64_t[6]){ PR_MCE_KILL, PR_MCE_KILL_SET, m->mce_kill });
	/* Also what could not be had here is a failure that is named: the program must not see this
	 * processor. */
	if (m->no_cpuid)
		ckpt_call_late(p, CKPT_AFTER_MEMORY, SYS_arch_prctl,
			       (int64_t[6]){ ARCH_SET_CPUID, 0 });
	if (m->io_flusher && host && !ckpt_host_has_init_cap(host, CAP_SYS_RESOURCE))
		ckpt_loss(p,
			  "process %d: that it writes for others (PR_SET_IO_FLUSHER) takes "
			  "cap_sys_resource",
			  task->pid);
	else if (m->io_flusher)
		ckpt_call_late(p, CKPT_AFTER_MEMORY, SYS_prctl,
			       (int64_t[6]){ PR_SET_IO_FLUSHER, 1 });
	plan_speculation(p, task, !host || host->can_store_bypass, PR_SPEC_STORE_BYPASS,
			 m->store_bypass, "speculative store bypass");
	plan_speculation(p, task, !host || host->can_indirect_branch, PR_SPEC_INDIRECT_BRANCH,
			 m->indirect_branch, "indirect branch speculation");
	plan_speculation(p, task, !host || host->can_flush_l1d, PR_SPEC_L1D_FLUSH,
			 m->l1d_flush ? PR_SPEC_ENABLE : 0, "reads of what it leaves in the cache");
	/* The end of a main thread that others outlive would send it. */
	if (m->pdeathsig && task->parent &&
	    ckpt_planner_snapshot(p)->tasks[task->parent - 1]->n_threads &&
	    ckpt_planner_snapshot(p)->tasks[task->parent - 1]->threads[0].ended)
		ckpt_problem(p, CKPT_E_TASK_STATE,
			     "process %d: it has a parent-death signal, and the main thread of its "
			     "parent has ended",
			     task->pid);
	/* A change of credentials clears it: this kind comes after creds. */
	if (m->pdeathsig && !is_orphan(p, task))
		ckpt_call_late(p, CKPT_LAST, SYS_prctl,
			       (int64_t[6]){ PR_SET_PDEATHSIG, m->pdeathsig });
	else if (m->pdeathsig)
		ckpt_loss(p,
			  "process %d: its parent-death signal: ckpt, its parent, ends before it; "
			  "not so without -d, or with -S",
			  task->pid);
	return 0;
}

const struct ckpt_kind ckpt_kind_thread_prctl = {
	.name = "thread_prctl",
	.scope = CKPT_PER_THREAD,
	.message = &ckpt__thread_prctl__descriptor,
	.collect = collect,
	.plan = plan,
};
