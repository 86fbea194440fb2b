/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named pipes. Anyone may come to the path and be the other end, so that one end alone is fine;
 * what counts is whether somebody outside was there at the dump. A reader that nobody has ever
 * written to is not at end of file yet: it has to be opened while there is no writer.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/capture/collect.h"
#include "engine/capture/path.h"
#include "engine/capture/pipe.h"
#include "engine/model/object.h"
#include "engine/plan/ghost.h"
#include "engine/plan/inode.h"
#include "engine/plan/path.h"
#include "proto/fifo.pb-c.h"

static bool match(const struct ckpt_probe *probe)
{
	return S_ISFIFO(probe->st.st_mode) && probe->link[0] == '/' && !probe->path_only;
}

/* Is descriptor NAME in /proc/PID/fd, whose folder is DIR, the FIFO, open for writing? */
static bool is_writer(struct ckpt_collect *c, int dir, const char *pid, const char *name)
{
	char path[300], text[PATH_MAX];
	const char *at;
	uint64_t flags;
	ssize_t n = readlinkat(dir, name, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	if (strcmp(text, c->probe->link))
		return false;
	snprintf(path, sizeof(path), "/proc/%s/fdinfo/%s", pid, name);
	CKPT_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	at = ckpt_line_after(text, "flags");
	if (!at || !ckpt_parse_u64(&at, 8, &flags) || flags & O_PATH)
		return false;
	return ckpt_writes(flags);
}

static bool has_writer(struct ckpt_collect *c, const char *pid)
{
	char path[280];
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	dir = opendir(path);
	for (struct dirent *e = dir ? readdir(dir) : NULL; e && !found; e = readdir(dir))
		found = e->d_name[0] != '.' && is_writer(c, dirfd(dir), pid, e->d_name);
	if (dir)
		closedir(dir);
	return found;
}

/* A process, in the tree or outside, that has the other end; 0: none that we may see. */
static uint32_t find_holder(struct ckpt_collect *c, bool in_tree)
{
	DIR *proc = opendir("/proc");
	uint32_t found = 0;

	for (struct dirent *e = proc ? readdir(proc) : NULL; e && !found; e = readdir(proc)) {
		pid_t pid = strtol(e->d_name, NULL, 10);

		if (pid > 0 && pid != getpid() && ckpt_pid_in_tree(c, pid) == in_tree &&
		    has_writer(c, e->d_name))
			found = pid;
	}
	if (proc)
		closedir(proc);
	return found;
}

/* Whoever may still write to us. That takes looking at every process of the machine, and is needed
 * only for readers: a writer is told by poll(2). */
static uint32_t find_writer_outside(struct ckpt_collect *c)
{
	if (ckpt_writes(c->flags) || find_holder(c, true))
		return 0;
	return find_holder(c, false);
}

/* Only who opens it for reading could look, and that would let go who waits to open it for writing.
 */
static void name_unread(struct ckpt_collect *c, const char *path)
{
	int n = 0;

	if (!ckpt_reads(c->flags) && ioctl(c->fd, FIONREAD, &n) == 0 && n > 0)
		ckpt_lost(c, "process %d: fd %d: FIFO %s: %d bytes in it, which nobody reads now",
			  c->pid, c->number, path, n);
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Fifo *m = (void *)msg;
	struct ckpt_pipe pipe;
	const char *path;
	enum ckpt_path_state state = ckpt_path_of(c, &path);
	int r;

	if (state == CKPT_PATH_LOST)
		return ckpt_refuse(err, CKPT_E_DELETED_FILE, -ENOENT,
				   "FIFO %s: it is not at its path any more", path);
	m->path = (char *)path;
	if (state == CKPT_PATH_DELETED) {
		m->has_mode = m->has_uid = m->has_gid = true;
		m->mode = c->probe->st.st_mode & 07777;
		m->uid = c->probe->st.st_uid;
		m->gid = c->probe->st.st_gid;
	}
	r = ckpt_pipe_peek(c->arena, c->fd, c->flags, &pipe, err);
	if (r < 0)
		return ckpt_in(err, r, "FIFO %s", path);
	m->capacity = pipe.capacity;
	m->has_peer_gone = m->peer_gone = pipe.peer_gone;
	m->has_packets = m->packets = pipe.packets;
	m->data = pipe.data;
	m->n_data = pipe.n_data;
	if (pipe.peer_gone)
		name_unread(c, path);
	else
		m->outside = find_writer_outside(c);
	m->has_outside = m->outside;
	return 0;
}

static struct ckpt_pipe pipe_of(const Ckpt__Fifo *m)
{
	return (struct ckpt_pipe){ m->capacity, m->peer_gone, m->packets, m->data, m->n_data };
}

struct ends {
	bool reader, writer, ended; /* ENDED: of some reader all writers have gone */
	const Ckpt__Fifo *full;     /* says what is in it */
};

static struct ends find_ends(const struct ckpt_snapshot *snap, const struct ckpt_object *obj)
{
	struct ends ends = { .full = (const void *)obj->msg };

	for (size_t i = 0; i < snap->n_objects; i++) {
		const struct ckpt_object *other = snap->objects[i];
		const Ckpt__Fifo *m = (const void *)other->msg;

		if (!ckpt_same_inode(other, obj))
			continue;
		ends.reader |= ckpt_reads(other->file.flags);
		ends.writer |= ckpt_writes(other->file.flags);
		ends.ended |= m->peer_gone && ckpt_reads(other->file.flags);
		if (!ends.full->n_data)
			ends.full = m;
	}
	return ends;
}

/* A writer knows for sure whether it has a reader; a reader may be waiting for its first writer. */
static void check_outside(struct ckpt_planner *p, const struct ckpt_object *obj,
			  const Ckpt__Fifo *m, struct ends ends)
{
	char who[CKPT_WHO];

	if (m->peer_gone || (ends.reader && ends.writer))
		return;
	ckpt_path_who(p, obj, who, sizeof(who));
	if (m->outside)
		ckpt_problem(p, CKPT_E_EXTERNAL_PEER,
			     "%sFIFO %s: process %u outside of the tree has it open to write", who,
			     m->path, m->outside);
	else if (!ends.reader)
		ckpt_problem(p, CKPT_E_EXTERNAL_PEER,
			     "%sFIFO %s: a process outside of the tree reads it", who, m->path);
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Fifo *m = (const void *)obj->msg, *maker;
	const struct ckpt_snapshot *snap = ckpt_planner_snapshot(p);
	const struct ckpt_object *first = ckpt_inode_first(snap, obj);
	struct ckpt_pipe pipe = pipe_of(m);
	char who[CKPT_WHO];
	struct stat st;

	maker = (const void *)first->msg;
	if (first->kind != obj->kind)
		return 0;
	if (!ckpt_path_sane(m->path) || !ckpt_pipe_sane(&pipe) || m->capacity != maker->capacity)
		return ckpt_fail(err, -EBADMSG, "fifo %u: bad path, capacity or content", obj->id);
	check_outside(p, obj, m, find_ends(snap, obj));
	if (m->has_mode != maker->has_mode)
		return ckpt_fail(err, -EBADMSG, "fifo %u: it is deleted, and fifo %u is not",
				 obj->id, first->id);
	if (!m->has_mode)
		ckpt_path_here(p, obj, m->path, S_IFIFO, obj->file.flags, &st);
	else if (first == obj)
		ckpt_ghost_plan(p, ckpt_path_who(p, obj, who, sizeof(who)),
				&(struct ckpt_ghost){ m->path, S_IFIFO, m->uid, m->gid });
	if (first != obj)
		ckpt_comes_with(p, first->id);
	return 0;
}

/* Without blocking; of another path for another name of the same FIFO. GHOST: a deleted one. */
static int open_end(const struct ckpt_object *obj, int ghost, struct ckpt_err *err)
{
	const Ckpt__Fifo *m = (const void *)obj->msg;
	int flags = (obj->file.flags & O_ACCMODE) | O_NONBLOCK;
	char link[40];
	struct stat st;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", ghost);
	CKPT_FD fd = ghost < 0 ? ckpt_path_open(m->path, flags) : open(link, flags | O_CLOEXEC);
	if (ghost >= 0 && fd < 0)
		fd = -errno;

	if (fd < 0)
		return ckpt_fail(err, fd, "FIFO %s: cannot open", m->path);
	if (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode))
		return ckpt_refuse(err, CKPT_E_FILE_CHANGED, -ESTALE,
				   "FIFO %s: it is none any more", m->path);
	return ckpt_take_fd(&fd);
}

/* Is it to be opened while both ends are there, or after? */
static bool opened_with_both(const struct ckpt_object *obj, struct ends ends)
{
	const Ckpt__Fifo *m = (const void *)obj->msg;

	return m->peer_gone || ends.writer || ends.full->n_data || ckpt_writes(obj->file.flags);
}

/* Puts all objects of the FIFO whose time is NOW; MINE is that of OBJ. */
static int put_all(struct ckpt_site *site, const struct ckpt_object *obj, struct ends ends,
		   bool now, int ghost, int *mine, struct ckpt_err *err)
{
	for (size_t i = obj->id - 1; i < site->snap->n_objects; i++) {
		const struct ckpt_object *other = site->snap->objects[i];
		int fd;

		if (!ckpt_same_inode(other, obj) || opened_with_both(other, ends) != now)
			continue;
		fd = open_end(other, ghost, err);
		if (fd >= 0 && other != obj)
			fd = site->ops->put(site, other->id, fd, err);
		else if (fd >= 0)
			*mine = fd;
		if (fd < 0)
			return fd;
	}
	return 0;
}

static int fill(int fd, const Ckpt__Fifo *m, struct ckpt_err *err)
{
	struct ckpt_pipe pipe = pipe_of(m);
	int r, n = 0;

	if (ioctl(fd, FIONREAD, &n) < 0 || n)
		return ckpt_refuse(err, CKPT_E_ADDRESS_IN_USE, -EBUSY,
				   "FIFO %s: others are using it", m->path);
	r = ckpt_pipe_fill(fd, &pipe, err);
	return ckpt_in(err, r, "FIFO %s", m->path);
}

/* Readers that wait for their first writer come when the one that puts the content has gone. */
static int create(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	struct ends ends = find_ends(site->snap, obj);
	bool both = ends.writer || ends.ended || ends.full->n_data;
	const Ckpt__Fifo *m = (const void *)obj->msg;
	int r = 0;
	CKPT_FD mine = -1;
	CKPT_FD ghost = m->has_mode ? ckpt_ghost_make(m->path, S_IFIFO, err) : -1;

	if (m->has_mode && ghost < 0)
		return ghost;
	if (both) {
		struct ckpt_object hold = *obj;

		hold.file.flags = O_RDWR;
		CKPT_FD fd = open_end(&hold, ghost, err);
		r = fd < 0 ? fd : fill(fd, ends.full, err);
		if (r >= 0)
			r = put_all(site, obj, ends, true, ghost, &mine, err);
	}
	if (r >= 0)
		r = put_all(site, obj, ends, false, ghost, &mine, err);
	return r < 0 ? r : ckpt_take_fd(&mine);
}

/* Permissions come last: they could keep the ends from being opened. */
static int settle(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Fifo *m = (const void *)obj->msg;

	if (!m->has_mode || ckpt_inode_last(site->snap, obj) != obj)
		return 0;
	return ckpt_in(err, ckpt_inode_attributes(site, obj, m->uid, m->gid, m->mode, NULL, err),
		       "deleted FIFO %s", m->path);
}

const struct ckpt_kind ckpt_kind_fifo = {
	.name = "fifo",
	.scope = CKPT_PER_FILE,
	.message = &ckpt__fifo__descriptor,
	.match = match,
	.collect = collect,
	.plan = plan,
	.create = create,
	.link = settle,
};
