/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files and folders of /proc/PID, which /proc/self and /proc/net lead to, too. Since a restored
 * process has its number again, the path is the same; but it is there only when the process is. A
 * thread is there even later: its files are opened by the last stage, in the place of others.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/inode.h"
#include "engine/plan/path.h"
#include "proto/proc_file.pb-c.h"

#define PROC "/proc/"
#define DELETED " (deleted)"

/* The process in "/proc/PID/..." and "/proc/PID/task/TID/...", and that thread. */
static bool parse(const char *path, uint64_t *pidp, uint64_t *tidp)
{
	const char *at = path + strlen(PROC);

	if (strncmp(path, PROC, strlen(PROC)) || !ckpt_parse_u64(&at, 10, pidp) || !*pidp ||
	    *pidp > INT_MAX || (*at && *at != '/'))
		return false;
	*tidp = *pidp;
	if (strncmp(at, "/task/", 6))
		return true;
	at += 6;
	return ckpt_parse_u64(&at, 10, tidp) && *tidp && *tidp <= INT_MAX && (!*at || *at == '/');
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__ProcFile *m = (void *)msg;
	const char *link = c->probe->link;
	size_t len = strlen(link), mark = strlen(DELETED);
	uint64_t pid, tid;

	if (!parse(link, &pid, &tid))
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
				   "file %s: it is none of a process", link);
	if (len > mark && !strcmp(link + len - mark, DELETED))
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -ESRCH,
				   "file %s: it shows what has ended", link);
	if (!ckpt_pid_in_tree(c, pid))
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
				   "file %s: it shows a process outside of the tree, "
				   "which may be another one then",
				   link);
	if (!ckpt_tid_in_tree(c, tid))
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -ESRCH,
				   "file %s: it shows what has ended", link);
	m->path = (char *)link;
	m->pid = pid;
	m->mode = c->probe->st.st_mode;
	return 0;
}

static bool is_there(const struct ckpt_snapshot *snap, uint64_t pid, uint64_t tid)
{
	for (size_t i = 0; i < snap->n_tasks; i++) {
		const struct ckpt_task *t = snap->tasks[i];

		if ((uint64_t)t->pid == pid && pid == tid)
			return true;
		for (size_t k = 0; (uint64_t)t->pid == pid && k < t->n_threads; k++)
			if ((uint64_t)t->threads[k].tid == tid)
				return true;
	}
	return false;
}

static bool is_of_thread(const Ckpt__ProcFile *m)
{
	uint64_t pid = 0, tid = 0;

	return parse(m->path, &pid, &tid) && pid != tid;
}

/* What is opened in the last stage cannot be inherited. */
static bool is_shared(const struct ckpt_snapshot *snap, const struct ckpt_object *obj)
{
	for (size_t t = 0; t < snap->n_tasks; t++)
		for (size_t i = 0; i < snap->tasks[t]->n_fds; i++)
			if (snap->tasks[t]->fds[i].object == obj->id &&
			    snap->tasks[t]->id != obj->task)
				return true;
	return false;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__ProcFile *m = (const void *)obj->msg;
	const struct ckpt_snapshot *snap = ckpt_planner_snapshot(p);
	uint64_t pid = 0, tid = 0;
	char who[CKPT_WHO];

	if (!ckpt_path_sane(m->path) || strstr(m->path, "/../") || !parse(m->path, &pid, &tid) ||
	    pid != m->pid)
		return ckpt_fail(err, -EBADMSG, "proc file %u: bad path", obj->id);
	if (!is_there(snap, pid, tid))
		return ckpt_fail(err, -EBADMSG, "proc file %u: there is no thread %llu", obj->id,
				 (unsigned long long)tid);
	if (pid == tid)
		ckpt_made_last(p);
	else if (is_shared(snap, obj))
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
				   "%sfile %s: it shows a thread, and several processes have it",
				   ckpt_path_who(p, obj, who, sizeof(who)), m->path);
	return 0;
}

static int create(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__ProcFile *m = (const void *)obj->msg;
	struct stat st;
	CKPT_FD fd = is_of_thread(m) ? memfd_create("thread", MFD_CLOEXEC) :
				       ckpt_path_open(m->path, (obj->file.flags & CKPT_OPEN_FLAGS) |
								       O_NOCTTY);

	(void)site;
	if (fd < 0)
		return ckpt_fail(err, is_of_thread(m) ? -errno : fd, "file %s: cannot open",
				 m->path);
	if (!is_of_thread(m) && (fstat(fd, &st) < 0 || (st.st_mode & S_IFMT) != (m->mode & S_IFMT)))
		return ckpt_fail(err, -ESTALE, "file %s: it is of another type now", m->path);
	return ckpt_take_fd(&fd);
}

/* What open(2) will return when NUMBER is closed. */
static int lowest_free(const struct ckpt_task *task, int number)
{
	int free = 0;

	for (size_t i = 0; i < task->n_fds && task->fds[i].number == free; i++)
		free++;
	return free < number ? free : number;
}

static void call(struct ckpt_planner *p, long nr, int64_t a, int64_t b, int64_t c, int64_t want)
{
	ckpt_call_late_want(p, CKPT_AFTER_COMMIT, nr, (int64_t[6]){ a, b, c }, want);
}

static void open_at(struct ckpt_planner *p, const struct ckpt_object *obj,
		    const struct ckpt_task *task, const struct ckpt_fd *fd)
{
	const Ckpt__ProcFile *m = (const void *)obj->msg;
	int cloexec = fd->cloexec ? O_CLOEXEC : 0, got = lowest_free(task, fd->number);
	int flags = obj->file.flags & (CKPT_OPEN_FLAGS | O_NONBLOCK | O_NOATIME);

	call(p, SYS_close, fd->number, 0, 0, 0);
	call(p, SYS_open, ckpt_late_data(p, m->path, strlen(m->path) + 1), flags | cloexec, 0, got);
	if (got != fd->number) {
		call(p, SYS_dup3, got, fd->number, cloexec, fd->number);
		call(p, SYS_close, got, 0, 0, 0);
	}
	if (obj->file.has_pos && obj->file.pos)
		call(p, SYS_lseek, fd->number, obj->file.pos, SEEK_SET, obj->file.pos);
}

/* Of a thread: when all threads are there. */
static int late(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__ProcFile *m = (const void *)obj->msg;
	const struct ckpt_task *task = ckpt_snapshot_task(ckpt_planner_snapshot(p), obj->task);
	int first = -1;

	(void)err;
	for (size_t i = 0; is_of_thread(m) && i < task->n_fds; i++) {
		const struct ckpt_fd *fd = &task->fds[i];

		if (fd->object != obj->id)
			continue;
		if (first < 0)
			open_at(p, obj, task, fd);
		else
			call(p, SYS_dup3, first, fd->number, fd->cloexec ? O_CLOEXEC : 0,
			     fd->number);
		first = first < 0 ? fd->number : first;
	}
	return 0;
}

const struct ckpt_kind ckpt_kind_proc_file = {
	.name = "proc_file",
	.scope = CKPT_PER_FILE,
	.message = &ckpt__proc_file__descriptor,
	.match = ckpt_probe_of_process,
	.collect = collect,
	.plan = plan,
	.create = create,
	.late = late,
};
