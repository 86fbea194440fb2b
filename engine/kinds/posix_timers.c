/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timer_create(2), with the same ids. What is left of each is restored, as if no time had passed:
 * whether a timer was set to an absolute time cannot be seen. Clocks of processor time are negative
 * numbers that hold a pid; zero is the process itself, or the thread that made the timer.
 */
#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include "engine/base/text.h"
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/plan.h"
#include "engine/plan/host.h"
#include "proto/posix_timers.pb-c.h"

#define PR_TIMER_CREATE_RESTORE_IDS 77 /* Linux 6.15 */
#define CPU_CLOCK_PER_THREAD 4
#define CPU_CLOCK_KIND 3
#define DYNAMIC_CLOCK 3 /* of an open file: /dev/ptp0 */
#define NS 1000000000ull

/* ---- capture ---- */

static bool take(const char **sp, const char *prefix)
{
	size_t n = strlen(prefix);

	if (strncmp(*sp, prefix, n))
		return false;
	*sp += n;
	return true;
}

static bool take_u64(const char **sp, const char *prefix, int base, uint64_t *valuep)
{
	return take(sp, prefix) && ckpt_parse_u64(sp, base, valuep);
}

/* "notify: signal/tid.123" */
static bool take_notify(const char **sp, uint32_t *notifyp, uint64_t *pidp)
{
	if (!take(sp, "notify: "))
		return false;
	if (take(sp, "signal"))
		*notifyp = SIGEV_SIGNAL;
	else if (take(sp, "none"))
		*notifyp = SIGEV_NONE;
	else if (take(sp, "thread"))
		*notifyp = SIGEV_THREAD;
	else
		return false;
	if (take(sp, "/tid"))
		*notifyp |= SIGEV_THREAD_ID;
	else if (!take(sp, "/pid"))
		return false;
	return take_u64(sp, ".", 10, pidp);
}

/* One entry: four lines. */
static bool take_timer(const char **sp, Ckpt__PosixTimer *t)
{
	uint64_t id, signo, sival, pid;
	int64_t clock;

	if (!take_u64(sp, "ID: ", 10, &id) || !take_u64(sp, "\nsignal: ", 10, &signo) ||
	    !take_u64(sp, "/", 16, &sival) || !take(sp, "\n") ||
	    !take_notify(sp, &t->notify, &pid) || !take(sp, "\nClockID: ") ||
	    !ckpt_parse_i64(sp, 10, &clock) || !take(sp, "\n"))
		return false;
	t->id = id;
	t->signo = signo;
	t->sival = sival;
	t->clock = clock;
	t->has_tid = t->notify & SIGEV_THREAD_ID;
	t->tid = pid;
	return id <= INT_MAX;
}

static int parse_timers(struct ckpt_collect *c, const char *text, Ckpt__PosixTimers *m,
			struct ckpt_err *err)
{
	const size_t room = ckpt_count_text(text, "ID: ");

	m->timers = ckpt_alloc(c->arena, room * sizeof(*m->timers));
	for (const char *s = text; *s;) {
		Ckpt__PosixTimer *t = ckpt_new(c->arena, Ckpt__PosixTimer);

		ckpt__posix_timer__init(t);
		if (m->n_timers == room || !take_timer(&s, t))
			return ckpt_fail(err, -EBADMSG, "timers: cannot read entry %zu",
					 m->n_timers + 1);
		m->timers[m->n_timers++] = t;
	}
	return 0;
}

static int collect_time(struct ckpt_collect *c, Ckpt__PosixTimer *t, struct ckpt_err *err)
{
	struct itimerspec now = { 0 };
	int64_t ret;
	int r = ckpt_call(c, SYS_timer_gettime, (uint64_t[6]){ t->id }, 1, &now, sizeof(now), &ret,
			  err);

	if (r < 0)
		return r;
	if (ret < 0)
		return ckpt_fail(err, ret, "timer %u: cannot get its time", t->id);
	t->value_ns = now.it_value.tv_sec * NS + now.it_value.tv_nsec;
	t->interval_ns = now.it_interval.tv_sec * NS + now.it_interval.tv_nsec;
	r = ckpt_call(c, SYS_timer_getoverrun, (uint64_t[6]){ t->id }, -1, NULL, 0, &ret, err);
	if (r < 0)
		return r;
	t->has_overrun = ret > 0;
	t->overrun = ret > 0 ? ret : 0;
	return 0;
}

static int single_threaded(struct ckpt_collect *c, struct ckpt_err *err)
{
	const char *status, *s;
	uint64_t n;
	int r = ckpt_status_text(c, &status, err);

	if (r < 0)
		return r;
	s = ckpt_line_after(status, "Threads");
	if (!s || !ckpt_parse_u64(&s, 10, &n))
		return ckpt_fail(err, -EBADMSG, "status: cannot read \"Threads:\"");
	return n == 1;
}

static int cpu_clock_pid(int clock)
{
	return ~(clock >> 3);
}

/* Of which thread is the timer on "my own thread's" clock? The kernel does not tell. */
static int check_clock(struct ckpt_collect *c, const Ckpt__PosixTimer *t, struct ckpt_err *err)
{
	int r;

	if (t->clock >= 0 || !(t->clock & CPU_CLOCK_PER_THREAD) || cpu_clock_pid(t->clock) != 0)
		return 0;
	r = single_threaded(c, err);
	if (r < 0)
		return r;
	return r ? 0 :
		   ckpt_refuse(err, CKPT_E_TASK_STATE, -EOPNOTSUPP,
			       "timer %u measures the processor time of one of several threads",
			       t->id);
}

static int by_id(const void *a, const void *b)
{
	const Ckpt__PosixTimer *x = *(Ckpt__PosixTimer *const *)a,
			       *y = *(Ckpt__PosixTimer *const *)b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__PosixTimers *m = (void *)msg;
	char *text;
	size_t len;
	int r = ckpt_proc_text(c, "timers", &text, &len, err);

	if (r == -ENOENT)
		return ckpt_refuse(err, CKPT_E_KERNEL_FEATURE, r,
				   "this kernel is built without CONFIG_CHECKPOINT_RESTORE");
	if (r < 0)
		return r;
	r = parse_timers(c, text, m, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < m->n_timers; i++) {
		r = check_clock(c, m->timers[i], err);
		if (r < 0)
			return r;
		r = collect_time(c, m->timers[i], err);
		if (r < 0)
			return r;
	}
	if (!m->n_timers)
		return 1;
	qsort(m->timers, m->n_timers, sizeof(*m->timers), by_id);
	return 0;
}

/* ---- plan ---- */

static bool has_thread(const struct ckpt_task *task, uint32_t tid)
{
	for (size_t i = 0; i < task->n_threads; i++)
		if (task->threads[i].tid == (pid_t)tid)
			return true;
	return false;
}

static void plan_clock(struct ckpt_planner *p, const struct ckpt_task *task,
		       const Ckpt__PosixTimer *t)
{
	const struct ckpt_host *host = ckpt_planner_host(p);
	int pid = cpu_clock_pid(t->clock);

	if (t->clock >= 0) {
		bool alarm = t->clock == CLOCK_REALTIME_ALARM || t->clock == CLOCK_BOOTTIME_ALARM;

		if (alarm && host && !ckpt_host_has_init_cap(host, CAP_WAKE_ALARM))
			ckpt_problem(
				p, CKPT_E_PRIVILEGE,
				"process %d: timer %u wakes the machine: that takes cap_wake_alarm",
				task->pid, t->id);
		return;
	}
	if ((t->clock & (CPU_CLOCK_PER_THREAD | CPU_CLOCK_KIND)) == DYNAMIC_CLOCK)
		ckpt_problem(p, CKPT_E_TASK_STATE,
			     "process %d: timer %u runs on the clock of a device", task->pid,
			     t->id);
	else if (pid &&
		 !((t->clock & CPU_CLOCK_PER_THREAD) ? has_thread(task, pid) : pid == task->pid))
		ckpt_problem(p, CKPT_E_TASK_STATE,
			     "process %d: timer %u measures the processor time of process %d",
			     task->pid, t->id, pid);
}

static int check(struct ckpt_planner *p, const struct ckpt_object *obj,
		 const struct ckpt_task *task, size_t i, struct ckpt_err *err)
{
	const Ckpt__PosixTimers *m = (const void *)obj->msg;
	const Ckpt__PosixTimer *t = m->timers[i];
	uint32_t how = t->notify & ~SIGEV_THREAD_ID;

	if (t->id > INT_MAX || (i && t->id <= m->timers[i - 1]->id))
		return ckpt_fail(err, -EBADMSG, "posix_timers %u: ids are not ascending", obj->id);
	if (how > SIGEV_THREAD || (how != SIGEV_NONE && (t->signo < 1 || t->signo > 64)))
		return ckpt_fail(err, -EBADMSG,
				 "posix_timers %u: timer %u: notification %#x, signal %u", obj->id,
				 t->id, t->notify, t->signo);
	if ((t->notify & SIGEV_THREAD_ID) && !has_thread(task, t->tid))
		ckpt_problem(p, CKPT_E_TASK_STATE,
			     "process %d: timer %u signals a thread that has ended", task->pid,
			     t->id);
	if (t->has_overrun && t->overrun)
		ckpt_loss(
			p,
			"process %d: timer %u: the count of %u missed expiries of its last signal",
			task->pid, t->id, t->overrun);
	plan_clock(p, task, t);
	return 0;
}

static void restore_ids(struct ckpt_planner *p, int on)
{
	ckpt_call_late(p, CKPT_AFTER_MEMORY, SYS_prctl,
		       (int64_t[6]){ PR_TIMER_CREATE_RESTORE_IDS, on });
}

static void create_timer(struct ckpt_planner *p, const Ckpt__PosixTimer *t)
{
	/* struct sigevent as the kernel has it */
	struct {
		uint64_t value;
		int32_t signo, notify, tid, pad[11];
	} ev = {
		t->sival, t->signo, t->notify, (t->notify & SIGEV_THREAD_ID) ? t->tid : 0, { 0 },
	};
	int32_t id = t->id;

	ckpt_call_late(p, CKPT_AFTER_MEMORY, SYS_timer_create,
		       (int64_t[6]){ t->clock, ckpt_late_data(p, &ev, sizeof(ev)),
				     ckpt_late_data(p, &id, sizeof(id)) });
	/* Fails if there is none of that id. */
	ckpt_call_late_want(p, CKPT_AFTER_MEMORY, SYS_timer_getoverrun, (int64_t[6]){ t->id }, 0);
}

static struct timespec timespec(uint64_t ns)
{
	return (struct timespec){ ns / NS, ns % NS };
}

static void start_timer(struct ckpt_planner *p, const Ckpt__PosixTimer *t)
{
	struct itimerspec its = { timespec(t->interval_ns), timespec(t->value_ns) };

	if (t->value_ns)
		ckpt_call_late(p, CKPT_AFTER_COMMIT, SYS_timer_settime,
			       (int64_t[6]){ t->id, 0, ckpt_late_data(p, &its, sizeof(its)), 0 });
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__PosixTimers *m = (const void *)obj->msg;
	const struct ckpt_task *task = ckpt_snapshot_task(ckpt_planner_snapshot(p), obj->task);
	const struct ckpt_host *host = ckpt_planner_host(p);
	bool in_order = true;

	if (!task)
		return ckpt_fail(err, -EBADMSG, "posix_timers %u: of no task", obj->id);
	for (size_t i = 0; i < m->n_timers; i++) {
		int r = check(p, obj, task, i, err);

		if (r < 0)
			return r;
		in_order &= m->timers[i]->id == i;
	}
	/* A new process gives out 0, 1, 2: also without the feature those ids can be had. */
	if (host && !host->has_timer_restore_ids && !in_order)
		ckpt_problem(
			p, CKPT_E_KERNEL_FEATURE,
			"process %d: this kernel cannot create timers with chosen ids (Linux 6.15)",
			task->pid);
	if (host && host->has_timer_restore_ids)
		restore_ids(p, 1);
	/* In ascending order: the id of the next one that the program creates is that of the last
	 * plus one. */
	for (size_t i = 0; i < m->n_timers; i++) {
		create_timer(p, m->timers[i]);
		start_timer(p, m->timers[i]);
	}
	if (host && host->has_timer_restore_ids)
		restore_ids(p, 0);
	return 0;
}

const struct ckpt_kind ckpt_kind_posix_timers = {
	.name = "posix_timers",
	.scope = CKPT_PER_TASK,
	.message = &ckpt__posix_timers__descriptor,
	.collect = collect,
	.plan = plan,
};
