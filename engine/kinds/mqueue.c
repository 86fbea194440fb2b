/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POSIX message queues. One that has a name is the kernel's and stays with its messages, like a
 * file; one that has lost it is made again, if it is empty: messages cannot be looked at without
 * taking them.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mqueue.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/capture/collect.h"
#include "engine/capture/path.h"
#include "engine/model/object.h"
#include "engine/plan/inode.h"
#include "engine/plan/path.h"
#include "proto/mqueue.pb-c.h"

#define DELETED " (deleted)"
#define MAX_NAMES 100

static bool match(const struct ckpt_probe *probe)
{
	return ckpt_probe_mqueue(probe) && !probe->path_only;
}

/* Who waits for a message; 0: nobody. What the signal would carry is not told. */
static int64_t waits(struct ckpt_collect *c)
{
	char link[40], text[200];
	const char *at;
	int64_t pid = 0;
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", c->fd);
	CKPT_FD fd = open(link, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	at = strstr(text, "NOTIFY_PID:");
	if (at)
		at += strlen("NOTIFY_PID:");
	return at && ckpt_parse_i64(&at, 10, &pid) ? pid : 0;
}

static void collect_name(struct ckpt_collect *c, Ckpt__Mqueue *m)
{
	const char *path;
	char *name = ckpt_strdup(c->arena, strrchr(c->probe->link, '/'));
	size_t len = strlen(name), mark = strlen(DELETED);

	m->has_deleted = m->deleted = c->probe->st.st_nlink == 0;
	if (m->deleted && len > mark)
		name[len - mark] = '\0';
	else if (ckpt_path_of(c, &path) == CKPT_PATH_SAME)
		m->path = (char *)path;
	m->name = name;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Mqueue *m = (void *)msg;
	struct mq_attr attr;
	int64_t pid = waits(c);

	collect_name(c, m);
	m->has_cloexec = m->cloexec = fcntl(c->fd, F_GETFL) & O_CLOEXEC;
	if (syscall(SYS_mq_getsetattr, c->fd, NULL, &attr) < 0)
		return ckpt_fail(err, -errno, "message queue %s: cannot ask for its state",
				 m->name);
	if (m->deleted && attr.mq_curmsgs)
		return ckpt_refuse(err, CKPT_E_QUEUE, -EOPNOTSUPP,
				   "message queue %s: it has no name any more, and %ld messages "
				   "are in it",
				   m->name, attr.mq_curmsgs);
	if (pid && ckpt_pid_in_tree(c, pid))
		return ckpt_refuse(err, CKPT_E_QUEUE, -EOPNOTSUPP,
				   "message queue %s: process %d is to be notified (mq_notify)",
				   m->name, (int)pid);
	m->max_messages = attr.mq_maxmsg;
	m->max_bytes = attr.mq_msgsize;
	m->has_mode = m->has_uid = m->has_gid = true;
	m->mode = c->probe->st.st_mode & 07777;
	m->uid = c->probe->st.st_uid;
	m->gid = c->probe->st.st_gid;
	return 0;
}

static const char *show(const Ckpt__Mqueue *m)
{
	return m->path ? m->path : m->name;
}

/* Of a queue, F_GETFL tells for ever whether it was opened with O_CLOEXEC. */
static int open_queue(const char *name, const struct ckpt_object *obj, int more,
		      struct mq_attr *attr)
{
	const Ckpt__Mqueue *m = (const void *)obj->msg;
	int flags = (obj->file.flags & O_ACCMODE) | more | (m->cloexec ? O_CLOEXEC : 0);
	int fd = mq_open(name, flags, 0600, attr);

	if (fd >= 0)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	return fd;
}

/* The queue that has that name now. */
static int open_named(const struct ckpt_object *obj)
{
	const Ckpt__Mqueue *m = (const void *)obj->msg;
	int fd;

	if (m->path)
		return ckpt_path_open(m->path, obj->file.flags & O_ACCMODE);
	fd = open_queue(m->name, obj, 0, NULL);
	return fd < 0 ? -errno : fd;
}

static void look(struct ckpt_planner *p, const struct ckpt_object *obj, const Ckpt__Mqueue *m)
{
	CKPT_FD fd = open_named(obj);
	struct mq_attr attr;
	char who[CKPT_WHO];

	ckpt_path_who(p, obj, who, sizeof(who));
	if (fd < 0)
		ckpt_problem(p, fd == -ENOENT ? CKPT_E_FILE_MISSING : CKPT_E_PRIVILEGE,
			     "%smessage queue %s: cannot open: %s", who, show(m),
			     strerrordesc_np(-fd));
	else if (syscall(SYS_mq_getsetattr, fd, NULL, &attr) < 0 ||
		 (uint64_t)attr.mq_maxmsg != m->max_messages ||
		 (uint64_t)attr.mq_msgsize != m->max_bytes)
		ckpt_problem(p, CKPT_E_FILE_CHANGED, "%smessage queue %s: it is another one now",
			     who, show(m));
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Mqueue *m = (const void *)obj->msg;
	const struct ckpt_object *first = ckpt_inode_first(ckpt_planner_snapshot(p), obj);

	if (m->name[0] != '/' || strchr(m->name + 1, '/') || !m->name[1] ||
	    strlen(m->name) > NAME_MAX || (m->path && !ckpt_path_sane(m->path)) ||
	    m->max_messages > INT_MAX || m->max_bytes > INT_MAX || m->mode > 07777)
		return ckpt_fail(err, -EBADMSG, "message queue %u: bad name or size", obj->id);
	if (m->deleted && first != obj)
		ckpt_comes_with(p, first->id);
	else if (!m->deleted && ckpt_planner_host(p))
		look(p, obj, m);
	return 0;
}

/* All that are open of it, while it has a name. */
static int put_others(struct ckpt_site *site, const struct ckpt_object *obj, const char *name,
		      struct ckpt_err *err)
{
	for (size_t i = obj->id; i < site->snap->n_objects; i++) {
		const struct ckpt_object *other = site->snap->objects[i];
		int fd, r;

		if (!ckpt_same_inode(other, obj))
			continue;
		fd = open_queue(name, other, 0, NULL);
		r = fd < 0 ? -errno : site->ops->put(site, other->id, fd, err);
		if (r < 0)
			return ckpt_fail(err, r, "message queue %s: cannot open again", name);
	}
	return 0;
}

/* By its old name, if that is free, for a moment. */
static int make(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Mqueue *m = (const void *)obj->msg;
	struct mq_attr attr = { .mq_maxmsg = m->max_messages, .mq_msgsize = m->max_bytes };
	int r;
	char name[NAME_MAX + 2];

	snprintf(name, sizeof(name), "%s", m->name);
	for (int i = 0; i < MAX_NAMES; i++) {
		CKPT_FD fd = open_queue(name, obj, O_CREAT | O_EXCL, &attr);

		if (fd >= 0) {
			r = put_others(site, obj, name, err);
			mq_unlink(name);
			return r < 0 ? r : ckpt_take_fd(&fd);
		}
		if (errno != EEXIST)
			break;
		snprintf(name, sizeof(name), "/.ckpt-%d-%d", getpid(), i);
	}
	return ckpt_fail(err, -errno, "message queue %s: cannot make it again", m->name);
}

static int create(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Mqueue *m = (const void *)obj->msg;
	int fd;

	if (m->deleted)
		return make(site, obj, err);
	fd = open_named(obj);
	return fd >= 0 ? fd : ckpt_fail(err, fd, "message queue %s: cannot open", show(m));
}

/* Permissions come last: they could keep the others from being opened. */
static int settle(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Mqueue *m = (const void *)obj->msg;

	if (!m->deleted || ckpt_inode_last(site->snap, obj) != obj)
		return 0;
	return ckpt_in(err, ckpt_inode_attributes(site, obj, m->uid, m->gid, m->mode, NULL, err),
		       "message queue %s", m->name);
}

const struct ckpt_kind ckpt_kind_mqueue = {
	.name = "mqueue",
	.scope = CKPT_PER_FILE,
	.message = &ckpt__mqueue__descriptor,
	.match = match,
	.collect = collect,
	.plan = plan,
	.create = create,
	.link = settle,
};
