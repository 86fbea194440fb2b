/* SPDX-License-Identifier: Apache-2.0 */
/* State of processes and threads: what a machine cannot give, and what no message may say. Nothing
 * is run. */
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>
#include "proto/creds.pb-c.h"
#include "proto/fs.pb-c.h"
#include "proto/oom.pb-c.h"
#include "proto/posix_timers.pb-c.h"
#include "proto/rlimits.pb-c.h"
#include "proto/sched.pb-c.h"
#include "proto/sigactions.pb-c.h"
#include "proto/thread_prctl.pb-c.h"
#include "proto/autogroup.pb-c.h"
#include "tests/lib/kind-stage.h"

static void problem(struct stage *s, enum ckpt_code number, const char *what)
{
	int r = stage_plan(s);

	if (!ok(r == 0 && s->plan.problems.n == 1 && s->plan.problems.v[0].number == number, "%s",
		what))
		diag("%d, %zu problems: %s", r, s->plan.problems.n,
		     s->plan.problems.n ? s->plan.problems.v[0].text : s->err.text);
	else
		diag("%s", s->plan.problems.v[0].text);
}

static void loss(struct stage *s, const char *what)
{
	int r = stage_plan(s);

	if (!ok(r == 0 && !s->plan.problems.n && s->plan.n_losses == 1, "%s", what))
		diag("%d, %zu problems, %zu losses", r, s->plan.problems.n, s->plan.n_losses);
	else
		diag("%s", s->plan.losses[0]);
}

static void damaged(struct stage *s, const char *what)
{
	ok(stage_plan(s) == -EBADMSG, "%s", what);
}

static void no_privilege(struct stage *s)
{
	struct ckpt_creds *c = &s->host.creds;

	s->host.caps = 0;
	c->permitted = c->effective = c->inheritable = c->ambient = 0;
	for (int i = 0; i < CKPT_N_IDS; i++)
		c->uid[i] = c->gid[i] = 1001;
	s->host.uid = s->host.gid = 1001;
}

static void test_flusher(struct stage *s)
{
	Ckpt__ThreadPrctl m = CKPT__THREAD_PRCTL__INIT;

	m.has_io_flusher = m.io_flusher = true;
	stage_init(s, "thread_prctl", &m);
	no_privilege(s);
	loss(s, "to write for others takes privilege");
	stage_init(s, "thread_prctl", &m);
	s->host.caps = 1ull << CAP_SYS_RESOURCE;
	s->host.init_userns = true;
	s->host.box = false;
	ok(stage_plan(s) == 0 && !s->plan.problems.n && !s->plan.n_losses,
	   "and with it is set again");
}

/* What the calls of S set, made by nobody. */
static bool calls(const struct stage *s, long nr, int64_t first, int64_t second, int64_t third)
{
	const struct ckpt_call_list *l = &s->calls.phase[CKPT_AFTER_MEMORY];

	for (size_t i = 0; i < l->n; i++)
		if (l->v[i].nr == nr && l->v[i].arg[0] == first &&
		    (second < 0 || l->v[i].arg[1] == second) &&
		    (third < 0 || l->v[i].arg[2] == third))
			return true;
	return false;
}

static void test_flush(struct stage *s)
{
	Ckpt__ThreadPrctl m = CKPT__THREAD_PRCTL__INIT;

	m.has_l1d_flush = m.l1d_flush = true;
	stage_init(s, "thread_prctl", &m);
	s->host.can_flush_l1d = false;
	loss(s, "no flush of the first cache here");
	stage_init(s, "thread_prctl", &m);
	s->host.can_flush_l1d = true;
	ok(stage_plan(s) == 0 && !s->plan.n_losses &&
		   calls(s, SYS_prctl, PR_SET_SPECULATION_CTRL, PR_SPEC_L1D_FLUSH, PR_SPEC_ENABLE),
	   "and where there is one it is chosen again");
}

static void test_clamps(struct stage *s)
{
	Ckpt__Sched m = CKPT__SCHED__INIT;
	const struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t time[3];
		uint32_t util_min, util_max;
	} * attr;
	const struct ckpt_call_list *l = &s->calls.phase[CKPT_AFTER_MEMORY];

	m.all_cpus = m.has_util_min = m.has_util_max = true;
	m.util_min = 100, m.util_max = 800;
	stage_init(s, "sched", &m);
	s->host.has_clamps = false;
	loss(s, "a kernel without utilization clamps");
	stage_init(s, "sched", &m);
	s->host.has_clamps = true;
	ok(stage_plan(s) == 0 && !s->plan.n_losses && calls(s, SYS_sched_setattr, 0, -1, 0),
	   "and one with them");
	attr = (const void *)(s->builder.data + l->v[l->n - 1].arg[1] - s->layout.home);
	ok(attr->util_min == 100 && attr->util_max == 800 && (attr->flags & 0x60) == 0x60,
	   "sets them");
}

static void test_autogroup(struct stage *s)
{
	Ckpt__Autogroup m = CKPT__AUTOGROUP__INIT;

	m.nice = 20;
	stage_init(s, "autogroup", &m);
	damaged(s, "too nice a session");
}

static void test_limits(struct stage *s)
{
	uint64_t soft[RLIM_NLIMITS], hard[RLIM_NLIMITS];
	Ckpt__Rlimits m = CKPT__RLIMITS__INIT;

	for (int i = 0; i < RLIM_NLIMITS; i++)
		soft[i] = here.limits[i].rlim_cur, hard[i] = here.limits[i].rlim_max;
	m.soft = soft, m.hard = hard, m.n_soft = m.n_hard = RLIM_NLIMITS;
	stage_init(s, "rlimits", &m);
	s->host.caps = 0;
	s->host.limits[RLIMIT_NOFILE] = (struct rlimit64){ 64, 128 };
	soft[RLIMIT_NOFILE] = 100, hard[RLIMIT_NOFILE] = 4096;
	loss(s, "a hard limit that is too high becomes ours");
	stage_init(s, "rlimits", &m);
	s->host.caps = 0;
	s->host.limits[RLIMIT_NOFILE] = (struct rlimit64){ 64, 128 };
	soft[RLIMIT_NOFILE] = 129;
	problem(s, CKPT_E_PRIVILEGE, "a soft limit that does not fit");
	soft[RLIMIT_CORE] = 2, hard[RLIMIT_CORE] = 1;
	stage_init(s, "rlimits", &m);
	damaged(s, "soft over hard");
}

static void test_creds(struct stage *s)
{
	uint32_t ids[] = { 1000, 1000, 1000, 1000 }, same[] = { 1001, 1001, 1001, 1001 },
		 groups[] = { 4, 27 };
	Ckpt__Creds m = CKPT__CREDS__INIT;

	m.n_uid = m.n_gid = 4;
	m.uid = ids, m.gid = same;
	m.n_groups = here.creds.n_groups, m.groups = here.creds.groups;
	m.bounding = here.creds.bounding;
	m.securebits = here.creds.securebits;
	stage_init(s, "creds", &m);
	no_privilege(s);
	problem(s, CKPT_E_PRIVILEGE, "another user's");
	m.uid = same;
	m.permitted = 1ull << CAP_NET_ADMIN | 1ull << CAP_SYS_PTRACE;
	stage_init(s, "creds", &m);
	no_privilege(s);
	problem(s, CKPT_E_PRIVILEGE, "capabilities that we have not");
	m.permitted = 0;
	stage_init(s, "creds", &m);
	no_privilege(s);
	ok(stage_plan(s) == 0 && !s->plan.problems.n && !s->plan.n_losses &&
		   !s->calls.phase[CKPT_LAST].n,
	   "the same as ours takes no call");
	m.groups = groups, m.n_groups = 2;
	stage_init(s, "creds", &m);
	no_privilege(s);
	problem(s, CKPT_E_PRIVILEGE, "other groups");
	stage_init(s, "creds", &m);
	no_privilege(s);
	s->host.box = true;
	m.bounding = (1ull << (here.last_cap + 1)) - 1;
	loss(s, "other groups in a namespace of our own");
	m.effective = 1;
	stage_init(s, "creds", &m);
	damaged(s, "effective but not permitted");
}

static void test_timers(struct stage *s)
{
	Ckpt__PosixTimer timer = CKPT__POSIX_TIMER__INIT, *timers[] = { &timer };
	Ckpt__PosixTimers t = CKPT__POSIX_TIMERS__INIT;

	t.timers = timers, t.n_timers = 1;
	timer.id = 4711, timer.clock = CLOCK_MONOTONIC, timer.signo = SIGALRM;
	stage_init(s, "posix_timers", &t);
	s->host.has_timer_restore_ids = false;
	problem(s, CKPT_E_KERNEL_FEATURE, "a timer id that an old kernel would not give");
	timer.id = 0;
	stage_init(s, "posix_timers", &t);
	s->host.has_timer_restore_ids = false;
	ok(stage_plan(s) == 0 && !s->plan.problems.n, "but the first id it would");
	timer.clock = -14; /* ~1 << 3 | 2: the processor time of process 1 */
	stage_init(s, "posix_timers", &t);
	problem(s, CKPT_E_TASK_STATE, "a timer on another process' clock");
	timer.clock = CLOCK_MONOTONIC, timer.notify = SIGEV_THREAD_ID, timer.has_tid = true,
	timer.tid = 1;
	stage_init(s, "posix_timers", &t);
	problem(s, CKPT_E_TASK_STATE, "a timer for a thread that is gone");
	timer.notify = 77;
	stage_init(s, "posix_timers", &t);
	damaged(s, "an unknown notification");
}

static void test_sched(struct stage *s)
{
	Ckpt__Sched sched = CKPT__SCHED__INIT;
	uint8_t cpus[CKPT_CPU_BYTES] = { 1 };

	sched.cpus.data = cpus, sched.cpus.len = sizeof(cpus);
	cpus[CKPT_CPU_BYTES - 1] = 0x80;
	stage_init(s, "sched", &sched);
	problem(s, CKPT_E_CPU_FEATURE, "a processor that is not here");
	sched.all_cpus = true, sched.policy = SCHED_FIFO, sched.priority = 50;
	stage_init(s, "sched", &sched);
	s->host.caps = 0;
	problem(s, CKPT_E_PRIVILEGE, "a real-time priority");
	sched.priority = 0;
	stage_init(s, "sched", &sched);
	damaged(s, "a real-time thread without priority");
}

static void test_others(struct stage *s)
{
	Ckpt__Sigaction action = CKPT__SIGACTION__INIT, *actions[] = { &action };
	Ckpt__Sigactions a = CKPT__SIGACTIONS__INIT;
	Ckpt__Fs fs = CKPT__FS__INIT;
	Ckpt__Oom oom = CKPT__OOM__INIT;

	a.actions = actions, a.n_actions = 1;
	action.signo = SIGKILL;
	stage_init(s, "sigactions", &a);
	damaged(s, "an action for SIGKILL");

	fs.cwd = "/no/such/folder";
	stage_init(s, "fs", &fs);
	problem(s, CKPT_E_FILE_MISSING, "a working directory that is gone");
	fs.cwd = "relative";
	stage_init(s, "fs", &fs);
	damaged(s, "a working directory without a root");

	oom.score_adj = -500;
	stage_init(s, "oom", &oom);
	s->host.caps = 0;
	loss(s, "an OOM score that we may not lower");
}

int main(void)
{
	static struct stage s;

	probe_here();
	test_flusher(&s);
	test_flush(&s);
	test_clamps(&s);
	test_autogroup(&s);
	test_limits(&s);
	test_creds(&s);
	test_timers(&s);
	test_sched(&s);
	test_others(&s);
	return tap_end();
}
