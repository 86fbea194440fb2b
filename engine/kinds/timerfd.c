/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timerfd_create(2). What counts is the time that was left at the dump, for absolute timers too:
 * the clocks of the restored program go on where the machine's are, not where they were.
 */
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include "engine/base/text.h"
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/host.h"
#include "engine/plan/path.h"
#include "engine/plan/site.h"
#include "proto/timerfd.pb-c.h"

#define NS 1000000000ull
#ifndef TFD_IOC_SET_TICKS
#define TFD_IOC_SET_TICKS _IOW('T', 0, uint64_t) /* Linux 3.17 */
#endif
#define FLAGS (TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)

static bool match(const struct ckpt_probe *probe)
{
	return ckpt_probe_anon(probe, "timerfd");
}

static uint64_t to_ns(const struct timespec *t)
{
	return t->tv_sec < (time_t)(INT64_MAX / NS) ? t->tv_sec * NS + t->tv_nsec : INT64_MAX;
}

static struct timespec from_ns(uint64_t ns)
{
	return (struct timespec){ ns / NS, ns % NS };
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Timerfd *t = (void *)msg;
	struct itimerspec its;
	uint64_t clock, flags;
	int r;

	/* First: it makes the kernel count what has expired into the ticks. */
	if (timerfd_gettime(c->fd, &its) < 0)
		return ckpt_fail(err, -errno, "timerfd: cannot ask for the time left");
	r = ckpt_fdinfo_u64(c, "clockid", 10, &clock, err);
	if (r >= 0)
		r = ckpt_fdinfo_u64(c, "ticks", 10, &t->ticks, err);
	if (r >= 0)
		r = ckpt_fdinfo_u64(c, "settime flags", 8, &flags, err);
	if (r < 0)
		return r;
	t->clock = clock;
	t->flags = flags & FLAGS;
	t->left_ns = to_ns(&its.it_value);
	t->interval_ns = to_ns(&its.it_interval);
	t->has_flags = t->has_ticks = t->has_left_ns = t->has_interval_ns = true;
	return 0;
}

static bool is_alarm(uint32_t clock)
{
	return clock == CLOCK_REALTIME_ALARM || clock == CLOCK_BOOTTIME_ALARM;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Timerfd *t = (const void *)obj->msg;
	const struct ckpt_host *host = ckpt_planner_host(p);
	char who[CKPT_WHO];

	if (t->clock != CLOCK_REALTIME && t->clock != CLOCK_MONOTONIC &&
	    t->clock != CLOCK_BOOTTIME && !is_alarm(t->clock))
		return ckpt_fail(err, -EBADMSG, "timerfd %u: there is no clock %u", obj->id,
				 t->clock);
	if (t->flags & ~FLAGS || t->left_ns > INT64_MAX || t->interval_ns > INT64_MAX)
		return ckpt_fail(err, -EBADMSG, "timerfd %u: bad flags or times", obj->id);
	if (host && is_alarm(t->clock) && !ckpt_host_has_cap(host, CAP_WAKE_ALARM))
		ckpt_problem(
			p, CKPT_E_PRIVILEGE,
			"%stimerfd %u: its clock wakes the machine, which wants CAP_WAKE_ALARM",
			ckpt_path_who(p, obj, who, sizeof(who)), obj->id);
	return 0;
}

static int create(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Timerfd *t = (const void *)obj->msg;
	int fd = timerfd_create(t->clock, TFD_CLOEXEC);

	(void)site;
	if (fd < 0)
		return ckpt_fail(err, -errno, "timerfd %u: cannot create", obj->id);
	return fd;
}

/* TFD_TIMER_CANCEL_ON_SET is only for absolute times, so those stay absolute. */
static int start(int fd, const Ckpt__Timerfd *t)
{
	struct itimerspec its = { from_ns(t->interval_ns), from_ns(t->left_ns) };

	if (t->left_ns && t->flags & TFD_TIMER_ABSTIME) {
		struct timespec now;

		if (clock_gettime(t->clock, &now) < 0)
			return -1;
		its.it_value.tv_sec += now.tv_sec;
		its.it_value.tv_nsec += now.tv_nsec;
		its.it_value.tv_sec += its.it_value.tv_nsec / NS;
		its.it_value.tv_nsec %= NS;
	}
	return timerfd_settime(fd, t->flags, &its, NULL);
}

/* As late as the builder can, since from here on it ticks. */
static int link_timer(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Timerfd *t = (const void *)obj->msg;
	int fd = site->ops->fd_of(site, obj->id, err);

	if (fd < 0)
		return fd;
	if ((t->left_ns || t->flags) && start(fd, t) < 0)
		return ckpt_fail(err, -errno, "timerfd %u: cannot start", obj->id);
	if (t->ticks && ioctl(fd, TFD_IOC_SET_TICKS, &t->ticks) < 0)
		return ckpt_fail(err, -errno, "timerfd %u: cannot set its %llu expirations",
				 obj->id, (unsigned long long)t->ticks);
	return 0;
}

const struct ckpt_kind ckpt_kind_timerfd = {
	.name = "timerfd",
	.scope = CKPT_PER_FILE,
	.message = &ckpt__timerfd__descriptor,
	.match = match,
	.collect = collect,
	.plan = plan,
	.create = create,
	.link = link_timer,
};
