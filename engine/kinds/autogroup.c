/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nice value of a session as a whole (sched(7), autogroup): every setsid(2) makes a group,
 * which all processes of the session are in. Set again by the first of each session of the tree;
 * that of a session which the tree only takes part in stays with who restores.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/host.h"
#include "engine/plan/plan.h"
#include "engine/plan/site.h"
#include "proto/autogroup.pb-c.h"

#define OWN "/proc/self/autogroup"
#define TRIES 100 /* the kernel lets one be set every 100 ms, all users together */

/* "/autogroup-25 nice 5"; nothing of a process that a cgroup schedules. */
static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Autogroup *m = (void *)msg;
	int64_t nice = 0;
	char *text;
	const char *s;
	int r = ckpt_proc_text(c, "autogroup", &text, NULL, err);

	if (r < 0) /* a kernel without */
		return r == -ENOENT ? 1 : r;
	s = strstr(text, " nice ");
	if (s && (s += strlen(" nice "), !ckpt_parse_i64(&s, 10, &nice)))
		return ckpt_fail(err, -EBADMSG, "autogroup: cannot read the number");
	m->nice = nice;
	return !nice;
}

static const struct ckpt_task *task_of(const struct ckpt_snapshot *snap, pid_t pid)
{
	for (size_t i = 0; i < snap->n_tasks; i++)
		if (snap->tasks[i]->pid == pid)
			return snap->tasks[i];
	return NULL;
}

/* Of a session of the tree the first that lives. */
static bool sets_it(const struct ckpt_snapshot *snap, const struct ckpt_task *task)
{
	for (size_t i = 0; i < snap->n_tasks; i++)
		if (snap->tasks[i]->sid == task->sid && snap->tasks[i]->run_state != CKPT_ZOMBIE)
			return snap->tasks[i] == task;
	return false;
}

static bool is_outside(const struct ckpt_snapshot *snap, const struct ckpt_task *task)
{
	return task->sid == snap->tasks[0]->sid && !task_of(snap, task->sid);
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Autogroup *m = (const void *)obj->msg;
	const struct ckpt_snapshot *snap = ckpt_planner_snapshot(p);
	const struct ckpt_task *task = ckpt_snapshot_task(snap, obj->task);
	const struct ckpt_host *host = ckpt_planner_host(p);

	if (!task || m->nice < -20 || m->nice > 19)
		return ckpt_fail(err, -EBADMSG, "autogroup %u: nice %d", obj->id, m->nice);
	if (!host || !sets_it(snap, task))
		return 0;
	if (is_outside(snap, task))
		ckpt_loss(p, "session %d: its nice value %d (autogroup): it is not of this tree",
			  task->sid, m->nice);
	else if (access(OWN, W_OK) < 0)
		ckpt_loss(p, "session %d: its nice value %d (autogroup): this kernel has none",
			  task->sid, m->nice);
	else if (m->nice < 0 && 20 - m->nice > (int)host->limits[RLIMIT_NICE].rlim_cur &&
		 !ckpt_host_has_init_cap(host, CAP_SYS_NICE))
		ckpt_loss(p, "session %d: its nice value %d (autogroup) takes cap_sys_nice",
			  task->sid, m->nice);
	return 0;
}

static int attach(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Autogroup *m = (const void *)obj->msg;
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", m->nice), r = -EAGAIN;

	if (!sets_it(site->snap, site->task) || is_outside(site->snap, site->task))
		return 0;
	CKPT_FD fd = open(OWN, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	for (int i = 0; r == -EAGAIN && i < TRIES; i++) {
		if (i)
			nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
		r = write(fd, text, n) < 0 ? -errno : 0;
	}
	/* What the plan has called a loss. */
	if (r == 0 || r == -EPERM || r == -EINVAL)
		return 0;
	return ckpt_fail(err, r, OWN ": cannot set %d", m->nice);
}

const struct ckpt_kind ckpt_kind_autogroup = {
	.name = "autogroup",
	.scope = CKPT_PER_TASK,
	.message = &ckpt__autogroup__descriptor,
	.collect = collect,
	.plan = plan,
	.attach = attach,
};
