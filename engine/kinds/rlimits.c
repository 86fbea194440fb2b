/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resource limits. Read from /proc/PID/limits: prlimit(2) of another user's process takes
 * CAP_SYS_RESOURCE. Where this machine allows less, a hard limit becomes ours as long as the soft
 * limit, which is what programs notice, fits.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include "engine/base/text.h"
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/plan.h"
#include "engine/plan/host.h"
#include "proto/rlimits.pb-c.h"

#define NO_LIMIT UINT64_MAX /* RLIM64_INFINITY */

static const struct {
	const char *line, *name;
} limits[RLIM_NLIMITS] = {
	[RLIMIT_CPU] = { "Max cpu time", "CPU" },
	[RLIMIT_FSIZE] = { "Max file size", "FSIZE" },
	[RLIMIT_DATA] = { "Max data size", "DATA" },
	[RLIMIT_STACK] = { "Max stack size", "STACK" },
	[RLIMIT_CORE] = { "Max core file size", "CORE" },
	[RLIMIT_RSS] = { "Max resident set", "RSS" },
	[RLIMIT_NPROC] = { "Max processes", "NPROC" },
	[RLIMIT_NOFILE] = { "Max open files", "NOFILE" },
	[RLIMIT_MEMLOCK] = { "Max locked memory", "MEMLOCK" },
	[RLIMIT_AS] = { "Max address space", "AS" },
	[RLIMIT_LOCKS] = { "Max file locks", "LOCKS" },
	[RLIMIT_SIGPENDING] = { "Max pending signals", "SIGPENDING" },
	[RLIMIT_MSGQUEUE] = { "Max msgqueue size", "MSGQUEUE" },
	[RLIMIT_NICE] = { "Max nice priority", "NICE" },
	[RLIMIT_RTPRIO] = { "Max realtime priority", "RTPRIO" },
	[RLIMIT_RTTIME] = { "Max realtime timeout", "RTTIME" },
};

static const char *find_line(const char *text, const char *name)
{
	size_t n = strlen(name);

	for (const char *s = text; s; s = strchr(s, '\n')) {
		s += *s == '\n';
		if (!strncmp(s, name, n) && s[n] == ' ')
			return s + n;
	}
	return NULL;
}

static bool parse_limit(const char **sp, uint64_t *valuep)
{
	const char *s = *sp + strspn(*sp, " ");

	if (!ckpt_word_is(s, "unlimited"))
		return ckpt_parse_u64(sp, 10, valuep);
	*sp = s + strlen("unlimited");
	*valuep = NO_LIMIT;
	return true;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Rlimits *m = (void *)msg;
	size_t len;
	char *text;
	int r = ckpt_proc_text(c, "limits", &text, &len, err);

	if (r < 0)
		return r;
	m->n_soft = m->n_hard = RLIM_NLIMITS;
	m->soft = ckpt_alloc(c->arena, RLIM_NLIMITS * sizeof(*m->soft));
	m->hard = ckpt_alloc(c->arena, RLIM_NLIMITS * sizeof(*m->hard));
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		const char *s = find_line(text, limits[i].line);

		if (!s || !parse_limit(&s, &m->soft[i]) || !parse_limit(&s, &m->hard[i]))
			return ckpt_fail(err, -EBADMSG, "limits: cannot read \"%s\"",
					 limits[i].line);
	}
	return 0;
}

static const char *show(uint64_t value, char buf[24])
{
	snprintf(buf, 24, value == NO_LIMIT ? "unlimited" : "%" PRIu64, value);
	return buf;
}

/* The highest hard limit that we may set here. */
static uint64_t ceiling(const struct ckpt_host *host, size_t i)
{
	uint64_t most = NO_LIMIT;

	if (i == RLIMIT_NOFILE && host->nr_open) /* nobody may go beyond */
		most = host->nr_open;
	if (!ckpt_host_has_init_cap(host, CAP_SYS_RESOURCE) && host->limits[i].rlim_max < most)
		most = host->limits[i].rlim_max;
	return most;
}

static void fit(struct ckpt_planner *p, pid_t pid, size_t i, struct rlimit64 *limit)
{
	const struct ckpt_host *host = ckpt_planner_host(p);
	char was[24], is[24];
	uint64_t most;

	if (!host)
		return;
	most = ceiling(host, i);
	if (limit->rlim_max <= most)
		return;
	if (limit->rlim_cur <= most)
		ckpt_loss(p, "process %d: hard limit RLIMIT_%s was %s and becomes %s", pid,
			  limits[i].name, show(limit->rlim_max, was), show(most, is));
	else
		ckpt_problem(p, CKPT_E_PRIVILEGE,
			     "process %d: limit RLIMIT_%s is %s, and here it can be %s at most; "
			     "more takes cap_sys_resource",
			     pid, limits[i].name, show(limit->rlim_cur, was), show(most, is));
	limit->rlim_max = most;
	if (limit->rlim_cur > most)
		limit->rlim_cur = most;
}

/*
 * Most are set as soon as memory and threads are there: nothing of what follows opens files, maps
 * memory or makes processes. Three would decide over calls of the same phase that other threads
 * make: how many signals may be queued and timers be made, and which priority a thread may choose.
 * They wait, and cannot fail: fit() has seen to that.
 */
static enum ckpt_when when_to_set(size_t i)
{
	return i == RLIMIT_SIGPENDING || i == RLIMIT_NICE || i == RLIMIT_RTPRIO ?
		       CKPT_AFTER_COMMIT :
		       CKPT_AFTER_MEMORY;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Rlimits *m = (const void *)obj->msg;
	const struct ckpt_task *task = ckpt_snapshot_task(ckpt_planner_snapshot(p), obj->task);

	if (!task || m->n_soft != m->n_hard || m->n_soft > RLIM_NLIMITS)
		return ckpt_fail(err, -EBADMSG, "rlimits %u: %zu soft, %zu hard", obj->id,
				 m->n_soft, m->n_hard);
	for (size_t i = 0; i < m->n_soft; i++) {
		struct rlimit64 limit = { m->soft[i], m->hard[i] };

		if (limit.rlim_cur > limit.rlim_max)
			return ckpt_fail(err, -EBADMSG, "rlimits %u: soft limit %s over hard limit",
					 obj->id, limits[i].name);
		fit(p, task->pid, i, &limit);
		ckpt_call_late(p, when_to_set(i), SYS_prlimit64,
			       (int64_t[6]){ 0, i, ckpt_late_data(p, &limit, sizeof(limit)), 0 });
	}
	return 0;
}

const struct ckpt_kind ckpt_kind_rlimits = {
	.name = "rlimits",
	.scope = CKPT_PER_TASK,
	.message = &ckpt__rlimits__descriptor,
	.collect = collect,
	.plan = plan,
};
