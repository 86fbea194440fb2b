/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Working directory, root, umask. The directory is entered by attach(), which can say what is wrong
 * with it; a change of root waits until nobody opens a path any more, and does not move the working
 * directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/ghost.h"
#include "engine/plan/host.h"
#include "engine/plan/path.h"
#include "engine/plan/plan.h"
#include "engine/plan/site.h"
#include "proto/fs.pb-c.h"

#define DELETED " (deleted)"

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && !strcmp(s + n - m, end);
}

/* A name may end like this by itself: where the directory can be looked at, its links tell. */
static bool may_be_gone(const char *path)
{
	return ends_with(path, DELETED);
}

/* What the link leads to: zeros where we may not read that directory. */
static int look_at(struct ckpt_collect *c, const char *name, const char *path, struct stat *st,
		   struct ckpt_err *err)
{
	CKPT_FD fd = c->src->ops->open_proc(c->src, c->tid, name, err);

	memset(st, 0, sizeof(*st));
	if (fd < 0)
		return fd == -EACCES ? 0 : fd;
	return fstat(fd, st) < 0 ? ckpt_fail(err, -errno, "%s %s: cannot look at it", name, path) :
				   0;
}

/* The path behind the link, and what it leads to if STP is given. 1: it has been deleted. */
static int get_path(struct ckpt_collect *c, const char *name, char **pathp, struct stat *stp,
		    struct ckpt_err *err)
{
	char path[PATH_MAX + 32];
	struct stat st;
	int r = c->src->ops->read_link(c->src, c->tid, name, path, sizeof(path), err);

	if (r >= 0 && (stp || may_be_gone(path)))
		r = look_at(c, name, path, stp ? stp : &st, err);
	if (r < 0)
		return r;
	if (path[0] != '/')
		return ckpt_refuse(err, CKPT_E_NAMESPACE, -ENOENT,
				   "%s cannot be reached from here: %s", name, path);
	*pathp = ckpt_strdup(c->arena, path);
	return may_be_gone(path) && !(stp ? stp : &st)->st_nlink;
}

/* Another one will be made in its place, as empty as a deleted directory always is. */
static int get_cwd(struct ckpt_collect *c, Ckpt__Fs *m, struct ckpt_err *err)
{
	struct stat st;
	int r = get_path(c, "cwd", &m->cwd, NULL, err);

	if (r <= 0)
		return r;
	r = look_at(c, "cwd", m->cwd, &st, err);
	if (r < 0)
		return r;
	m->cwd[strlen(m->cwd) - strlen(DELETED)] = '\0';
	m->has_cwd_mode = m->has_cwd_uid = m->has_cwd_gid = true;
	/* Where an ordinary user may not look it says nothing. */
	m->cwd_mode = st.st_mode ? st.st_mode & 07777 : 0755;
	m->cwd_uid = st.st_mode ? st.st_uid : geteuid();
	m->cwd_gid = st.st_mode ? st.st_gid : getegid();
	return 0;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Fs *m = (void *)msg;
	struct stat st, ours;
	const char *status, *s;
	uint64_t umask;
	char *root;
	int r = get_cwd(c, m, err);

	if (r < 0)
		return r;
	r = get_path(c, "root", &root, &st, err);
	if (r < 0)
		return r;
	if (r > 0)
		return ckpt_refuse(err, CKPT_E_DELETED_FILE, -ENOENT,
				   "root is a directory that is gone: %s", root);
	if (stat("/", &ours) < 0)
		return ckpt_fail(err, -errno, "/: cannot look at it");
	if (st.st_dev != ours.st_dev || st.st_ino != ours.st_ino)
		m->root = root;
	r = ckpt_status_text(c, &status, err);
	if (r < 0)
		return r;
	s = ckpt_line_after(status, "Umask");
	if (!s || !ckpt_parse_u64(&s, 8, &umask))
		return ckpt_fail(err, -EBADMSG, "status: cannot read \"Umask:\"");
	m->umask = umask;
	return 0;
}

static void check_directory(struct ckpt_planner *p, const struct ckpt_task *task, const char *what,
			    const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		ckpt_problem(p, errno == EACCES ? CKPT_E_PRIVILEGE : CKPT_E_FILE_MISSING,
			     "process %d: cannot use its %s %s: %s", task->pid, what, path,
			     strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		ckpt_problem(p, CKPT_E_FILE_CHANGED, "process %d: its %s %s is no directory",
			     task->pid, what, path);
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
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
	if (m->root)
		ckpt_call_late(p, CKPT_AFTER_MEMORY, SYS_chroot,
			       (int64_t[6]){ ckpt_late_data(p, m->root, strlen(m->root) + 1) });
	ckpt_call_late(p, CKPT_AFTER_MEMORY, SYS_umask, (int64_t[6]){ m->umask });
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

	(void)site;
	if (m->has_cwd_mode)
		return ckpt_in(err, enter_deleted(m, err), "working directory %s", m->cwd);
	return chdir(m->cwd) < 0 ?
		       ckpt_fail(err, -errno, "working directory %s: cannot enter", m->cwd) :
		       0;
}

const struct ckpt_kind ckpt_kind_fs = {
	.name = "fs",
	.scope = CKPT_PER_TASK,
	.message = &ckpt__fs__descriptor,
	.collect = collect,
	.plan = plan,
	.attach = attach,
};
