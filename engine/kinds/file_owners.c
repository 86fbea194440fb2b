/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signal-driven I/O of any file: fcntl(2) F_SETOWN_EX, F_SETSIG, O_ASYNC. Made by the first task
 * that has the file, at its number (which the signal tells) and when all processes and threads are
 * there. The kernel remembers whose rights the owner is signalled with: those of who makes it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include "engine/base/text.h"
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/host.h"
#include "engine/plan/plan.h"
#include "proto/file_owners.pb-c.h"

#define N_SIGNALS 64
#define UNKNOWN UINT32_MAX

/* Real and effective, as the process has them now. */
static int uids_of(struct ckpt_collect *c, uint64_t uid[2], struct ckpt_err *err)
{
	const char *text, *at;
	int r = ckpt_status_text(c, &text, err);

	if (r < 0)
		return r;
	at = ckpt_line_after(text, "Uid");
	if (!at || !ckpt_parse_u64(&at, 10, &uid[0]) || !ckpt_parse_u64(&at, 10, &uid[1]))
		return ckpt_fail(err, -EBADMSG, "status: no uids");
	return 0;
}

static bool is_in_tree(struct ckpt_collect *c, const struct ckpt_fd_extra *x)
{
	switch (x->owner_type) {
	case F_OWNER_TID:
		return ckpt_tid_in_tree(c, x->owner);
	case F_OWNER_PID:
		return ckpt_pid_in_tree(c, x->owner);
	default:
		return ckpt_group_in_tree(c, x->owner);
	}
}

static void keep(struct ckpt_collect *c, Ckpt__FileOwners *m, const struct ckpt_fd_extra *x,
		 const uint64_t uid[2])
{
	Ckpt__FileOwner *o = ckpt_new(c->arena, Ckpt__FileOwner);

	ckpt__file_owner__init(o);
	o->number = x->number;
	o->has_signal = o->has_type = o->has_pid = o->has_uid = o->has_euid = true;
	o->has_async = o->has_as_task = true;
	o->signal = x->signal;
	o->type = x->owner_type;
	o->pid = x->owner;
	o->uid = x->uid;
	o->euid = x->euid;
	o->async = x->flags & O_ASYNC;
	o->as_task = x->uid == UNKNOWN || (x->uid == uid[0] && x->euid == uid[1]);
	m->owners[m->n_owners++] = o;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__FileOwners *m = (void *)msg;
	size_t n;
	const struct ckpt_fd_extra *x = ckpt_fd_extras(c, &n);
	uint64_t uid[2];
	int r = n ? uids_of(c, uid, err) : 0;

	if (r < 0)
		return r;
	m->owners = ckpt_alloc(c->arena, n * sizeof(*m->owners));
	for (size_t i = 0; i < n; i++) {
		if (!x[i].first || !x[i].has_owner)
			continue;
		if (x[i].owner && !is_in_tree(c, &x[i]))
			return ckpt_refuse(err, CKPT_E_OUTSIDE_OWNER, -EOPNOTSUPP,
					   "fd %d: its signals (F_SETOWN) go to %s %d, "
					   "which is outside of the tree",
					   x[i].number,
					   x[i].owner_type == F_OWNER_PGRP ? "group" : "process",
					   x[i].owner);
		keep(c, m, &x[i], uid);
	}
	return m->n_owners ? 0 : 1;
}

static bool task_has(const struct ckpt_task *task, uint32_t number, uint32_t *flagsp,
		     const struct ckpt_snapshot *snap)
{
	for (size_t i = 0; task && i < task->n_fds; i++)
		if ((uint32_t)task->fds[i].number == number) {
			*flagsp = ckpt_snapshot_object(snap, task->fds[i].object)->file.flags;
			return true;
		}
	return false;
}

static bool snapshot_has(const struct ckpt_snapshot *snap, uint32_t type, pid_t pid)
{
	for (size_t i = 0; i < snap->n_tasks; i++) {
		const struct ckpt_task *t = snap->tasks[i];

		if ((type == F_OWNER_PID && t->pid == pid) ||
		    (type == F_OWNER_PGRP && t->pgid == pid))
			return true;
		for (size_t k = 0; type == F_OWNER_TID && k < t->n_threads; k++)
			if (t->threads[k].tid == pid)
				return true;
	}
	return false;
}

/* As who restores while that is the right one, else when the task has become itself. */
static enum ckpt_when when(struct ckpt_planner *p, const Ckpt__FileOwner *o)
{
	const struct ckpt_host *host = ckpt_planner_host(p);

	if (host && o->uid == host->creds.uid[CKPT_ID_REAL] &&
	    o->euid == host->creds.uid[CKPT_ID_EFFECTIVE])
		return CKPT_AFTER_COMMIT;
	if (!o->as_task)
		ckpt_loss(p,
			  "fd %u: its signals are sent with the rights of the process, "
			  "not with those of user %u",
			  o->number, o->euid);
	return CKPT_LAST;
}

static void emit(struct ckpt_planner *p, const Ckpt__FileOwner *o, uint32_t flags)
{
	struct f_owner_ex ex = { o->type, o->pid };
	enum ckpt_when w = when(p, o);

	if (o->signal)
		ckpt_call_late(p, w, SYS_fcntl, (int64_t[6]){ o->number, F_SETSIG, o->signal });
	if (o->pid)
		ckpt_call_late(p, w, SYS_fcntl,
			       (int64_t[6]){ o->number, F_SETOWN_EX,
					     ckpt_late_data(p, &ex, sizeof(ex)) });
	if (o->async)
		ckpt_call_late(p, w, SYS_fcntl,
			       (int64_t[6]){ o->number, F_SETFL, flags | O_ASYNC });
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__FileOwners *m = (const void *)obj->msg;
	const struct ckpt_snapshot *snap = ckpt_planner_snapshot(p);

	for (size_t i = 0; i < m->n_owners; i++) {
		const Ckpt__FileOwner *o = m->owners[i];
		uint32_t flags;

		/* A descriptor that was refused at the dump is not there. */
		if (!task_has(ckpt_snapshot_task(snap, obj->task), o->number, &flags, snap)) {
			if (!ckpt_planner_host(p))
				continue;
			return ckpt_fail(err, -EBADMSG, "file owners %u: there is no fd %u",
					 obj->id, o->number);
		}
		if (o->signal > N_SIGNALS || o->type > F_OWNER_PGRP ||
		    (o->pid && !snapshot_has(snap, o->type, o->pid)))
			return ckpt_fail(err, -EBADMSG,
					 "file owners %u: fd %u: bad signal or owner", obj->id,
					 o->number);
		emit(p, o, flags);
	}
	return 0;
}

const struct ckpt_kind ckpt_kind_file_owners = {
	.name = "file_owners",
	.scope = CKPT_PER_TASK,
	.message = &ckpt__file_owners__descriptor,
	.collect = collect,
	.plan = plan,
};
