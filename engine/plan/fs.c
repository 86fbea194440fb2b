/* SPDX-License-Identifier: Apache-2.0 */
/* Working directory, root and umask of processes, and of threads that have their own. */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include "engine/base/cleanup.h"
#include "engine/model/object.h"
#include "engine/plan/fs.h"
#include "engine/plan/ghost.h"
#include "engine/plan/host.h"
#include "engine/plan/path.h"

static void check_directory(struct ckpt_planner *p, const struct ckpt_task *task, const char *what,
			    const char *path)
{
	CKPT_FD fd = ckpt_path_directory(path);

	if (fd == -ELOOP)
		ckpt_problem(p, CKPT_E_FOREIGN_LINK,
			     "process %d: its %s %s: a symbolic link on the way there belongs to "
			     "somebody else",
			     task->pid, what, path);
	else if (fd == -ENOTDIR)
		ckpt_problem(p, CKPT_E_FILE_CHANGED, "process %d: its %s %s is no directory",
			     task->pid, what, path);
	else if (fd < 0)
		ckpt_problem(p, fd == -EACCES ? CKPT_E_PRIVILEGE : CKPT_E_FILE_MISSING,
			     "process %d: cannot use its %s %s: %s", task->pid, what, path,
			     strerror(-fd));
}

int ckpt_fs_plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Fs *m = (const void *)obj->msg;
	const struct ckpt_task *task = ckpt_snapshot_task(ckpt_planner_snapshot(p), obj->task);
	const struct ckpt_host *host = ckpt_planner_host(p);
	char who[64];

	if (!task || m->cwd[0] != '/' || (m->root && m->root[0] != '/') || m->umask > 0777)
		return ckpt_fail(err, -EBADMSG,
				 "fs %u: paths that do not start at the root, or umask %#o",
				 obj->id, m->umask);
	if (m->has_cwd_mode && (!ckpt_path_sane(m->cwd) || m->cwd_mode > 07777))
		return ckpt_fail(err, -EBADMSG, "fs %u: bad working directory", obj->id);
	snprintf(who, sizeof(who), "process %d: working directory: ", task->pid);
	if (m->has_cwd_mode)
		ckpt_ghost_plan(p, who,
				&(struct ckpt_ghost){ m->cwd, S_IFDIR, m->cwd_uid, m->cwd_gid });
	else if (host)
		check_directory(p, task, "working directory", m->cwd);
	if (host && m->root) {
		check_directory(p, task, "root", m->root);
		if (!host->box && !ckpt_host_has_cap(host, CAP_SYS_CHROOT))
			ckpt_problem(p, CKPT_E_PRIVILEGE,
				     "process %d has %s as its root, which takes cap_sys_chroot",
				     task->pid, m->root);
	}
	return 0;
}

void ckpt_fs_emit(struct ckpt_planner *p, enum ckpt_when when, const Ckpt__Fs *m)
{
	if (m->root)
		ckpt_call_late(p, when, SYS_chroot,
			       (int64_t[6]){ ckpt_late_data(p, m->root, strlen(m->root) + 1) });
	ckpt_call_late(p, when, SYS_umask, (int64_t[6]){ m->umask });
}
