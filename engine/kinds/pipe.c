/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pipes. Each open end is an object; those with the same inode are one pipe, which the lowest of
 * them makes. Where the tree holds one end only, the other one has to be closed for good: nobody
 * would find the new pipe.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/capture/collect.h"
#include "engine/capture/pipe.h"
#include "engine/model/object.h"
#include "engine/plan/inode.h"
#include "engine/plan/path.h"
#include "proto/pipe.pb-c.h"

static bool match(const struct ckpt_probe *probe)
{
	return S_ISFIFO(probe->st.st_mode) && !probe->path_only &&
	       !strncmp(probe->link, "pipe:[", 6);
}

/* What was written before the last reader closed its end is still there, for who opens it by
 * /proc. So do we, for a moment; who gets SIGIO of that end would hear of it. */
static int collect_unread(struct ckpt_collect *c, struct ckpt_pipe *pipe, struct ckpt_err *err)
{
	struct ckpt_pipe unread;
	char link[40];
	int r, n = 0;

	if (ckpt_reads(c->flags) || !pipe->peer_gone || ioctl(c->fd, FIONREAD, &n) < 0 || !n)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", c->fd);
	CKPT_FD fd = c->flags & O_ASYNC ? -1 : open(link, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		ckpt_lost(c,
			  "process %d: fd %d: %s: %d bytes in it, which nobody can read any more",
			  c->pid, c->number, c->probe->link, n);
		return 0;
	}
	r = ckpt_pipe_peek(c->arena, fd, c->flags & O_DIRECT, &unread, err);
	pipe->packets = unread.packets;
	pipe->data = unread.data;
	pipe->n_data = unread.n_data;
	return r;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Pipe *m = (void *)msg;
	struct ckpt_pipe pipe;
	int r = ckpt_pipe_peek(c->arena, c->fd, c->flags, &pipe, err);

	if (r >= 0)
		r = collect_unread(c, &pipe, err);
	if (r < 0)
		return ckpt_in(err, r, "%s", c->probe->link);
	m->capacity = pipe.capacity;
	m->has_peer_gone = m->peer_gone = pipe.peer_gone;
	m->has_packets = m->packets = pipe.packets;
	m->data = pipe.data;
	m->n_data = pipe.n_data;
	return 0;
}

static struct ckpt_pipe pipe_of(const Ckpt__Pipe *m)
{
	return (struct ckpt_pipe){ m->capacity, m->peer_gone, m->packets, m->data, m->n_data };
}

/* The ends that the tree has, as one access mode; and any of them that says what is in it. */
struct ends {
	bool reader, writer;
	const Ckpt__Pipe *full;
};

static struct ends find_ends(const struct ckpt_snapshot *snap, const struct ckpt_object *obj)
{
	struct ends ends = { .full = (const void *)obj->msg };

	for (size_t i = 0; i < snap->n_objects; i++) {
		const struct ckpt_object *other = snap->objects[i];

		if (!ckpt_same_inode(other, obj))
			continue;
		ends.reader |= ckpt_reads(other->file.flags);
		ends.writer |= ckpt_writes(other->file.flags);
		if (!ends.full->n_data)
			ends.full = (const void *)other->msg;
	}
	return ends;
}

/* A new pipe, and which of its ends have been given away. */
struct made {
	int fd[2];
	bool given[2];
};

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Pipe *m = (const void *)obj->msg;
	const struct ckpt_snapshot *snap = ckpt_planner_snapshot(p);
	const struct ckpt_object *first = ckpt_inode_first(snap, obj);
	struct ckpt_pipe pipe = pipe_of(m);
	struct ends ends = find_ends(snap, obj);
	char who[CKPT_WHO];

	if (first->kind != obj->kind)
		return 0;
	if (!ckpt_pipe_sane(&pipe) ||
	    m->capacity != ((const Ckpt__Pipe *)(const void *)first->msg)->capacity)
		return ckpt_fail(err, -EBADMSG, "pipe %u: bad capacity or content", obj->id);
	if (!m->peer_gone && !(ends.reader && ends.writer))
		ckpt_problem(p, CKPT_E_EXTERNAL_PEER,
			     "%spipe:[%llu]: a process outside of the tree has its %s end",
			     ckpt_path_who(p, obj, who, sizeof(who)),
			     (unsigned long long)obj->file.ino,
			     ends.reader ? "writing" : "reading");
	if (first != obj)
		ckpt_comes_with(p, first->id);
	return 0;
}

/* The first of each sort gets what pipe2(2) made: one that is opened again has other flags
 * (O_LARGEFILE). */
static int open_end(struct made *ends, uint32_t flags, struct ckpt_err *err)
{
	bool writes = ckpt_writes(flags);
	int copy;

	if (ends->given[writes] || (ckpt_reads(flags) && writes))
		return ckpt_inode_reopen(ends->fd[writes], flags, err);
	ends->given[writes] = true;
	copy = fcntl(ends->fd[writes], F_DUPFD_CLOEXEC, 0);
	return copy >= 0 ? copy : ckpt_fail(err, -errno, "cannot duplicate");
}

/* Both ends of the new pipe stay open until all objects have theirs. */
static int hand_over(struct ckpt_site *site, const struct ckpt_object *obj, struct made *ends,
		     struct ckpt_err *err)
{
	int mine = open_end(ends, obj->file.flags, err), r = mine;

	for (size_t i = obj->id; r >= 0 && i < site->snap->n_objects; i++) {
		const struct ckpt_object *other = site->snap->objects[i];

		if (!ckpt_same_inode(other, obj))
			continue;
		r = open_end(ends, other->file.flags, err);
		if (r >= 0)
			r = site->ops->put(site, other->id, r, err);
	}
	if (r < 0 && mine >= 0)
		close(mine);
	return r < 0 ? r : mine;
}

static int create(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	struct ckpt_pipe pipe = pipe_of(find_ends(site->snap, obj).full);
	int end[2] = { -1, -1 },
	    r = pipe2(end, O_CLOEXEC) < 0 ? ckpt_fail(err, -errno, "cannot create") : 0;
	CKPT_FD out = end[0];
	CKPT_FD in = end[1];

	if (r >= 0)
		r = ckpt_pipe_fill(in, &pipe, err);
	if (r >= 0)
		r = hand_over(site, obj, &(struct made){ { out, in }, { false, false } }, err);
	return ckpt_in(err, r, "pipe:[%llu]", (unsigned long long)obj->file.ino);
}

const struct ckpt_kind ckpt_kind_pipe = {
	.name = "pipe",
	.scope = CKPT_PER_FILE,
	.message = &ckpt__pipe__descriptor,
	.match = match,
	.collect = collect,
	.plan = plan,
	.create = create,
};
