/* SPDX-License-Identifier: Apache-2.0 */
/*
 * setitimer(2). What is left of each is restored, as if no time had passed. An ITIMER_REAL that has
 * expired while SIGALRM is blocked stands still until the signal is taken: it shows an interval and
 * no value.
 */
#include <errno.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/plan.h"
#include "proto/itimers.pb-c.h"

#define N_TIMERS 3 /* ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF */
#define US 1000000ull

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Itimers *m = (void *)msg;
	bool any = false;

	m->n_value_us = m->n_interval_us = N_TIMERS;
	m->value_us = ckpt_alloc(c->arena, N_TIMERS * sizeof(*m->value_us));
	m->interval_us = ckpt_alloc(c->arena, N_TIMERS * sizeof(*m->interval_us));
	for (int i = 0; i < N_TIMERS; i++) {
		struct itimerval now = { 0 };
		int64_t ret;
		int r = ckpt_call(c, SYS_getitimer, (uint64_t[6]){ i }, 1, &now, sizeof(now), &ret,
				  err);

		if (r < 0)
			return r;
		if (ret < 0)
			return ckpt_fail(err, ret, "interval timer %d: cannot get", i);
		m->value_us[i] = now.it_value.tv_sec * US + now.it_value.tv_usec;
		m->interval_us[i] = now.it_interval.tv_sec * US + now.it_interval.tv_usec;
		any |= m->value_us[i] || m->interval_us[i];
	}
	return any ? 0 : 1;
}

static struct timeval timeval(uint64_t us)
{
	return (struct timeval){ us / US, us % US };
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Itimers *m = (const void *)obj->msg;

	if (m->n_value_us != N_TIMERS || m->n_interval_us != N_TIMERS)
		return ckpt_fail(err, -EBADMSG, "itimers %u: %zu values, %zu intervals", obj->id,
				 m->n_value_us, m->n_interval_us);
	for (int i = 0; i < N_TIMERS; i++) {
		/* One that stands still cannot be made: it expires one interval later, which is
		 * when it would have next. */
		uint64_t value = m->value_us[i] || i != ITIMER_REAL ? m->value_us[i] :
								      m->interval_us[i];
		struct itimerval timer = { timeval(m->interval_us[i]), timeval(value) };

		if (value || m->interval_us[i])
			ckpt_call_late(p, CKPT_AFTER_COMMIT, SYS_setitimer,
				       (int64_t[6]){ i, ckpt_late_data(p, &timer, sizeof(timer)),
						     0 });
	}
	return 0;
}

const struct ckpt_kind ckpt_kind_itimers = {
	.name = "itimers",
	.scope = CKPT_PER_TASK,
	.message = &ckpt__itimers__descriptor,
	.collect = collect,
	.plan = plan,
};
