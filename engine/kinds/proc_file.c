/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files and folders of /proc/PID, which /proc/self and /proc/net lead to, too. Since a restored
 * process has its number again, the path is the same; but it is there only when the process is.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
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
	if (tid != pid)
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
				   "file %s: it shows a thread, which comes too late for it", link);
	m->path = (char *)link;
	m->pid = pid;
	m->mode = c->probe->st.st_mode;
	return 0;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__ProcFile *m = (const void *)obj->msg;
	const struct ckpt_snapshot *snap = ckpt_planner_snapshot(p);
	uint64_t pid = 0, tid = 0;
	bool found = false;

	if (!ckpt_path_sane(m->path) || strstr(m->path, "/../") || !parse(m->path, &pid, &tid) ||
	    pid != m->pid || tid != pid)
		return ckpt_fail(err, -EBADMSG, "proc file %u: bad path", obj->id);
	for (size_t i = 0; i < snap->n_tasks; i++)
		found |= snap->tasks[i]->pid == (pid_t)pid;
	if (!found)
		return ckpt_fail(err, -EBADMSG, "proc file %u: there is no process %u", obj->id,
				 m->pid);
	ckpt_made_last(p);
	return 0;
}

static int create(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__ProcFile *m = (const void *)obj->msg;
	CKPT_FD fd = ckpt_path_open(m->path, (obj->file.flags & CKPT_OPEN_FLAGS) | O_NOCTTY);
	struct stat st;

	(void)site;
	if (fd < 0)
		return ckpt_fail(err, fd, "file %s: cannot open", m->path);
	if (fstat(fd, &st) < 0 || (st.st_mode & S_IFMT) != (m->mode & S_IFMT))
		return ckpt_fail(err, -ESTALE, "file %s: it is of another type now", m->path);
	return ckpt_take_fd(&fd);
}

const struct ckpt_kind ckpt_kind_proc_file = {
	.name = "proc_file",
	.scope = CKPT_PER_FILE,
	.message = &ckpt__proc_file__descriptor,
	.match = ckpt_probe_of_process,
	.collect = collect,
	.plan = plan,
	.create = create,
};
