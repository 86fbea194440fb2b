/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Working directory, root, umask. The directory is entered by attach(), which can say what is wrong
 * with it; a change of root waits until nobody opens a path any more, and does not move the working
 * directory. A process may have all that in common with its parent.
 */
#include <errno.h>
#include <linux/sched.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/capture/fs.h"
#include "engine/model/object.h"
#include "engine/plan/fs.h"
#include "engine/plan/ghost.h"
#include "engine/plan/path.h"
#include "engine/plan/site.h"

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	return ckpt_fs_collect(c, (Ckpt__Fs *)msg, err);
}

static bool has_thread_apart(const struct ckpt_task *task)
{
	for (size_t i = 1; i < task->n_threads; i++)
		for (size_t k = 0; k < task->threads[i].n_state; k++)
			if (task->threads[i].state[k]->msg->descriptor == &ckpt__fs__descriptor)
				return true;
	return false;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const struct ckpt_snapshot *snap = ckpt_planner_snapshot(p);
	const struct ckpt_task *task;
	bool alone;
	int r = ckpt_fs_plan(p, obj, err);

	if (r < 0)
		return r;
	task = ckpt_snapshot_task(snap, obj->task);
	/* Others may still open paths in it. */
	alone = !ckpt_snapshot_shares(snap, task, CLONE_FS) && !has_thread_apart(task);
	if (!(task->shares & CLONE_FS))
		ckpt_fs_emit(p, alone ? CKPT_AFTER_MEMORY : CKPT_AFTER_COMMIT, (void *)obj->msg);
	return 0;
}

/* Each process gets one of its own: nothing can ever be put into a deleted directory. */
static int enter_deleted(const Ckpt__Fs *m, struct ckpt_err *err)
{
	CKPT_FD fd = ckpt_ghost_make(m->cwd, S_IFDIR, err);

	if (fd < 0)
		return fd;
	/* EPERM: the plan has called it a loss. */
	if (fchown(fd, m->cwd_uid, m->cwd_gid) < 0 && errno != EPERM && errno != EINVAL)
		return ckpt_fail(err, -errno, "cannot give it to %u", m->cwd_uid);
	if (fchdir(fd) < 0 || fchmod(fd, m->cwd_mode) < 0)
		return ckpt_fail(err, -errno, "cannot enter");
	return 0;
}

static int attach(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Fs *m = (const void *)obj->msg;

	if (site->task && site->task->shares & CLONE_FS) /* its parent has done it */
		return 0;
	if (m->has_cwd_mode)
		return ckpt_in(err, enter_deleted(m, err), "working directory %s", m->cwd);
	CKPT_FD fd = ckpt_path_directory(m->cwd);
	if (fd < 0 || fchdir(fd) < 0)
		return ckpt_fail(err, fd < 0 ? fd : -errno, "working directory %s: cannot enter",
				 m->cwd);
	return 0;
}

const struct ckpt_kind ckpt_kind_fs = {
	.name = "fs",
	.scope = CKPT_PER_TASK,
	.message = &ckpt__fs__descriptor,
	.collect = collect,
	.plan = plan,
	.attach = attach,
};
