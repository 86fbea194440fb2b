/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pidfd_open(2): processes of the tree, the owner itself among them, and processes that are no
 * more. Those of living ones are opened when all of them exist; for the dead a child dies again.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/plan.h"
#include "engine/plan/site.h"
#include "proto/pidfd.pb-c.h"

#define PID_FS_MAGIC 0x50494446  /* Linux 6.9; before, all have one inode */
#define PIDFD_THREAD_FLAG O_EXCL /* Linux 6.9 */
#define INFO_EXIT (1ull << 3)    /* Linux 6.15 */

struct info { /* struct pidfd_info, Linux 6.13 */
	uint64_t mask, cgroupid;
	uint32_t ids[11];
	int32_t exit_code;
};
#define GET_INFO _IOWR(0xff, 11, struct info)

static bool match(const struct ckpt_probe *probe)
{
	return ckpt_probe_anon(probe, "pidfd");
}

static void collect_dead(struct ckpt_collect *c, Ckpt__Pidfd *m)
{
	struct info info = { .mask = INFO_EXIT };

	m->has_ended = c->probe->fs_magic == PID_FS_MAGIC;
	m->ended = m->has_ended ? c->probe->st.st_ino : 0;
	m->has_exit_status = c->fd >= 0 && !ioctl(c->fd, GET_INFO, &info) && info.mask & INFO_EXIT;
	m->exit_status = m->has_exit_status ? (uint32_t)info.exit_code : 0;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Pidfd *m = (void *)msg;
	const char *at;
	int64_t pid;
	char *text;
	int r = ckpt_fdinfo(c, &text, err);

	if (r < 0)
		return r;
	at = ckpt_line_after(text, "Pid");
	if (!at || !ckpt_parse_i64(&at, 10, &pid))
		return ckpt_fail(err, -EBADMSG, "pidfd: fdinfo shows no process");
	m->has_thread = m->thread = c->flags & PIDFD_THREAD_FLAG;
	if (pid < 0) {
		collect_dead(c, m);
		return 0;
	}
	m->has_pid = true;
	m->pid = pid;
	if (pid && ckpt_pid_in_tree(c, pid))
		return 0;
	if (pid && ckpt_tid_in_tree(c, pid))
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
				   "pidfd: it refers to thread %d, which comes too late for it",
				   (int)pid);
	return ckpt_refuse(err, CKPT_E_EXTERNAL_PEER, -EOPNOTSUPP,
			   "pidfd: it refers to process %d, which is outside of the tree",
			   (int)pid);
}

/* The first object of the same dead process. */
static const struct ckpt_object *first_of(const struct ckpt_snapshot *snap,
					  const struct ckpt_object *obj)
{
	const Ckpt__Pidfd *m = (const void *)obj->msg;

	for (size_t i = 0; m->ended && i < obj->id; i++) {
		const Ckpt__Pidfd *other = (const void *)snap->objects[i]->msg;

		if (snap->objects[i]->kind == obj->kind && !other->pid && other->ended == m->ended)
			return snap->objects[i];
	}
	return obj;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Pidfd *m = (const void *)obj->msg;
	const struct ckpt_snapshot *snap = ckpt_planner_snapshot(p);
	bool found = false;

	if (!m->pid) {
		if (first_of(snap, obj) != obj)
			ckpt_comes_with(p, first_of(snap, obj)->id);
		return 0;
	}
	for (size_t i = 0; i < snap->n_tasks; i++)
		found |= snap->tasks[i]->pid == (pid_t)m->pid;
	if (!found)
		return ckpt_fail(err, -EBADMSG, "pidfd %u: there is no process %u", obj->id,
				 m->pid);
	ckpt_made_last(p);
	return 0;
}

static int open_pidfd(const Ckpt__Pidfd *m, pid_t pid, struct ckpt_err *err)
{
	int fd = syscall(SYS_pidfd_open, pid, m->thread ? PIDFD_THREAD_FLAG : 0);

	return fd >= 0 ? fd : ckpt_fail(err, -errno, "pidfd: cannot open process %d", pid);
}

/* Ends as it did, but for a core file: that was written then. */
static pid_t dead_child(uint32_t status)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (WIFSIGNALED(status)) {
		sigset_t none;

		signal(WTERMSIG(status), SIG_DFL);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		raise(WTERMSIG(status));
	}
	_exit(WEXITSTATUS(status));
}

/* All of the same process, while it is not yet reaped. */
static int open_dead(struct ckpt_site *site, const struct ckpt_object *obj, pid_t pid,
		     struct ckpt_err *err)
{
	const struct ckpt_snapshot *snap = site->snap;
	CKPT_FD mine = open_pidfd((const void *)obj->msg, pid, err);
	int r = mine;

	for (size_t i = obj->id; r >= 0 && i < snap->n_objects; i++) {
		const struct ckpt_object *other = snap->objects[i];

		if (other->kind != obj->kind || first_of(snap, other) != obj)
			continue;
		r = open_pidfd((const void *)other->msg, pid, err);
		if (r >= 0)
			r = site->ops->put(site, other->id, r, err);
	}
	return r < 0 ? r : ckpt_take_fd(&mine);
}

static int create(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Pidfd *m = (const void *)obj->msg;
	pid_t pid;
	int r;

	if (m->pid)
		return open_pidfd(m, m->pid, err);
	pid = dead_child(m->exit_status);
	if (pid < 0)
		return ckpt_fail(err, -errno, "pidfd %u: cannot fork", obj->id);
	r = open_dead(site, obj, pid, err);
	waitpid(pid, NULL, 0);
	return r;
}

const struct ckpt_kind ckpt_kind_pidfd = {
	.name = "pidfd",
	.scope = CKPT_PER_FILE,
	.message = &ckpt__pidfd__descriptor,
	.match = match,
	.collect = collect,
	.plan = plan,
	.create = create,
};
