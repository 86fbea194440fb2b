/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals that wait, with all that is told about them: every thread queues its own to itself, which
 * is the one case in which the kernel lets a program choose si_code. The leader also queues those
 * of the process.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include "engine/base/text.h"
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/plan.h"
#include "proto/sigpending.pb-c.h"

#define INFO_SIZE 128 /* siginfo_t of every Linux */
#define QUEUE_MAX (1u << 20)
#define BIT(signo) (1ull << ((signo)-1))

struct queue {
	ProtobufCBinaryData *v;
	size_t n, room;
	uint64_t seen; /* signals in it */
};

static void add(struct ckpt_collect *c, struct queue *q, const siginfo_t *info)
{
	if (q->n == q->room) {
		ProtobufCBinaryData *more;

		q->room = q->room ? 2 * q->room : 8;
		more = ckpt_alloc(c->arena, q->room * sizeof(*more));
		if (q->n)
			memcpy(more, q->v, q->n * sizeof(*more));
		q->v = more;
	}
	q->v[q->n].len = INFO_SIZE;
	q->v[q->n].data = memcpy(ckpt_alloc(c->arena, INFO_SIZE), info, INFO_SIZE);
	q->n++;
	q->seen |= BIT(info->si_signo);
}

/* What the kernel had no memory for waits as a bare number: it arrives like this. */
static void add_bare(struct ckpt_collect *c, struct queue *q, uint64_t pending)
{
	for (int signo = 1; signo <= 64; signo++) {
		siginfo_t info = { .si_signo = signo, .si_code = SI_USER };

		if (pending & ~q->seen & BIT(signo))
			add(c, q, &info);
	}
}

static int read_queue(struct ckpt_collect *c, bool of_process, struct queue *q,
		      struct ckpt_err *err)
{
	const char *key = of_process ? "ShdPnd" : "SigPnd", *s;
	uint64_t pending;
	const char *status;
	int r = ckpt_status_text(c, &status, err);

	if (r < 0)
		return r;
	s = ckpt_line_after(status, key);
	if (!s || !ckpt_parse_u64(&s, 16, &pending))
		return ckpt_fail(err, -EBADMSG, "status: cannot read \"%s:\"", key);
	for (unsigned int n = 0; pending && n < QUEUE_MAX; n++) {
		siginfo_t info = { 0 };

		r = c->src->ops->peek_signal(c->src, c->tid, of_process, n, &info, err);
		if (r < 0)
			return r;
		if (!r)
			break;
		if (info.si_signo < 1 || info.si_signo > 64)
			return ckpt_fail(err, -EBADMSG, "pending signal %d", info.si_signo);
		add(c, q, &info);
	}
	add_bare(c, q, pending);
	return 0;
}

/* Neither can be blocked: queued again, the one would end the restore and the other would stop it
 * half-way. */
static int check_unblockable(const struct queue *q, struct ckpt_err *err)
{
	if (q->seen & BIT(SIGKILL))
		return ckpt_refuse(err, CKPT_E_VANISHED, -ESRCH, "the process is being killed");
	if (q->seen & BIT(SIGSTOP))
		return ckpt_refuse(err, CKPT_E_STOPPED, -EBUSY,
				   "it is about to be stopped: SIGSTOP waits to be delivered");
	return 0;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Sigpending *m = (void *)msg;
	struct queue own = { 0 }, shared = { 0 };
	int r = read_queue(c, false, &own, err);

	if (r < 0)
		return r;
	if (c->tid == c->pid)
		r = read_queue(c, true, &shared, err);
	if (r < 0)
		return r;
	r = check_unblockable(&own, err);
	if (r < 0)
		return r;
	r = check_unblockable(&shared, err);
	if (r < 0)
		return r;
	m->own = own.v, m->n_own = own.n;
	m->shared = shared.v, m->n_shared = shared.n;
	return own.n || shared.n ? 0 : 1;
}

static const struct ckpt_thread *leader_of(struct ckpt_planner *p, const struct ckpt_object *obj)
{
	const struct ckpt_task *task = ckpt_snapshot_task(ckpt_planner_snapshot(p), obj->task);

	return task && task->n_threads ? &task->threads[0] : NULL;
}

/*
 * A SIGCHLD has to wait until the last one from restoring the children was dropped, when every
 * thread is at rest. It would be dropped itself, were it not blocked until the thread is given its
 * own mask.
 */
static void block_sigchld(struct ckpt_planner *p)
{
	uint64_t mask = BIT(SIGCHLD);

	ckpt_call_late(p, CKPT_PARKED, SYS_rt_sigprocmask,
		       (int64_t[6]){ SIG_BLOCK, ckpt_late_data(p, &mask, sizeof(mask)), 0, 8 });
}

static int plan_queue(struct ckpt_planner *p, const struct ckpt_object *obj,
		      const struct ckpt_thread *leader, bool of_process,
		      const ProtobufCBinaryData *v, size_t n, struct ckpt_err *err)
{
	for (size_t i = 0; i < n; i++) {
		enum ckpt_when when = CKPT_AFTER_MEMORY;
		siginfo_t info;
		int64_t at;

		if (v[i].len != sizeof(info))
			return ckpt_fail(err, -EBADMSG, "sigpending %u: a signal of %zu bytes",
					 obj->id, v[i].len);
		memcpy(&info, v[i].data, sizeof(info));
		if (info.si_signo < 1 || info.si_signo > 64 || info.si_signo == SIGKILL ||
		    info.si_signo == SIGSTOP)
			return ckpt_fail(err, -EBADMSG, "sigpending %u: signal %d", obj->id,
					 info.si_signo);
		if (info.si_signo == SIGCHLD && obj->tid != leader->tid) {
			ckpt_problem(p, CKPT_E_SIGNAL_QUEUE,
				     "process %d: a SIGCHLD waits that was sent to thread %d alone",
				     leader->tid, obj->tid);
			continue;
		}
		if (info.si_signo == SIGCHLD) {
			block_sigchld(p);
			when = CKPT_PARKED;
		}
		at = ckpt_late_data(p, &info, sizeof(info));
		if (of_process)
			ckpt_call_late(p, when, SYS_rt_sigqueueinfo,
				       (int64_t[6]){ leader->tid, info.si_signo, at });
		else
			ckpt_call_late(p, when, SYS_rt_tgsigqueueinfo,
				       (int64_t[6]){ leader->tid, obj->tid, info.si_signo, at });
	}
	return 0;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Sigpending *m = (const void *)obj->msg;
	const struct ckpt_thread *leader = leader_of(p, obj);
	int r;

	if (!leader || (m->n_shared && obj->tid != leader->tid))
		return ckpt_fail(err, -EBADMSG,
				 "sigpending %u: signals of the process belong to its leader",
				 obj->id);
	r = plan_queue(p, obj, leader, false, m->own, m->n_own, err);
	if (r < 0)
		return r;
	return plan_queue(p, obj, leader, true, m->shared, m->n_shared, err);
}

const struct ckpt_kind ckpt_kind_sigpending = {
	.name = "sigpending",
	.scope = CKPT_PER_THREAD,
	.of_ended = true,
	.message = &ckpt__sigpending__descriptor,
	.collect = collect,
	.plan = plan,
};
