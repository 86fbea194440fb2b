/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process does on signals. Only those that are caught or ignored are asked for, and SIGCHLD:
 * of a signal with the default action mask and flags mean nothing, but SA_NOCLDWAIT and
 * SA_NOCLDSTOP of SIGCHLD do.
 */
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include "engine/base/text.h"
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/plan.h"
#include "proto/sigactions.pb-c.h"

#define N_SIGNALS 64
#define BIT(signo) (1ull << ((signo)-1))

/* As the kernel has it: sigset_t is of 8 bytes, handlers are numbers. */
struct action {
	uint64_t handler, flags, restorer, mask;
};

static int wanted(struct ckpt_collect *c, uint64_t *signalsp, struct ckpt_err *err)
{
	static const char *const keys[] = { "SigCgt", "SigIgn" };
	const char *status;
	int r = ckpt_status_text(c, &status, err);

	if (r < 0)
		return r;
	*signalsp = BIT(SIGCHLD);
	for (int i = 0; i < 2; i++) {
		const char *s = ckpt_line_after(status, keys[i]);
		uint64_t set;

		if (!s || !ckpt_parse_u64(&s, 16, &set))
			return ckpt_fail(err, -EBADMSG, "status: cannot read \"%s:\"", keys[i]);
		*signalsp |= set;
	}
	return 0;
}

static int get(struct ckpt_collect *c, uint32_t signo, struct action *a, struct ckpt_err *err)
{
	int64_t ret;
	int r = ckpt_call(c, SYS_rt_sigaction, (uint64_t[6]){ signo, 0, 0, 8 }, 2, a, sizeof(*a),
			  &ret, err);

	if (r < 0)
		return r;
	return ret < 0 ? ckpt_fail(err, ret, "signal %u: cannot get its action", signo) : 0;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Sigactions *m = (void *)msg;
	uint64_t signals;
	int r = wanted(c, &signals, err);

	if (r < 0)
		return r;
	m->actions = ckpt_alloc(c->arena, __builtin_popcountll(signals) * sizeof(*m->actions));
	for (uint32_t signo = 1; signo <= N_SIGNALS; signo++) {
		struct action a = { 0 };
		Ckpt__Sigaction *to;

		if (!(signals & BIT(signo)))
			continue;
		r = get(c, signo, &a, err);
		if (r < 0)
			return r;
		if (!a.handler && !a.flags)
			continue;
		to = m->actions[m->n_actions++] = ckpt_new(c->arena, Ckpt__Sigaction);
		ckpt__sigaction__init(to);
		to->signo = signo;
		to->handler = a.handler;
		to->flags = a.flags;
		to->has_restorer = a.restorer != 0;
		to->restorer = a.restorer;
		to->has_mask = a.mask != 0;
		to->mask = a.mask;
	}
	return m->n_actions ? 0 : 1;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Sigactions *m = (const void *)obj->msg;

	for (size_t i = 0; i < m->n_actions; i++) {
		const Ckpt__Sigaction *from = m->actions[i];
		struct action a = { from->handler, from->flags, from->restorer, from->mask };

		if (from->signo < 1 || from->signo > N_SIGNALS || from->signo == SIGKILL ||
		    from->signo == SIGSTOP)
			return ckpt_fail(err, -EBADMSG, "sigactions %u: signal %u", obj->id,
					 from->signo);
		/*
		 * Before there are other threads: ignoring a signal throws away what any of them
		 * has pending of it. SIGCHLD at the very end: those that come from restoring dead
		 * and stopped children must not be seen.
		 */
		ckpt_call_late(p, from->signo == SIGCHLD ? CKPT_PARKED : CKPT_BEFORE_THREADS,
			       SYS_rt_sigaction,
			       (int64_t[6]){ from->signo, ckpt_late_data(p, &a, sizeof(a)), 0, 8 });
	}
	return 0;
}

const struct ckpt_kind ckpt_kind_sigactions = {
	.name = "sigactions",
	.scope = CKPT_PER_TASK,
	.message = &ckpt__sigactions__descriptor,
	.collect = collect,
	.plan = plan,
};
