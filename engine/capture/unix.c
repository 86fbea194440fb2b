/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of a Unix socket. Most of it only sock_diag(7) tells; what is in its queue is peeked
 * at. */
#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include "engine/base/creds.h"
#include "engine/capture/socket.h"
#include "engine/capture/unix-diag.h"
#include "engine/capture/unix-queue.h"
#include "engine/capture/unix.h"

#define NAME_AT offsetof(struct sockaddr_un, sun_path)
#define BOTH_WAYS 3u

static void keep_name(struct ckpt_arena *arena, const struct sockaddr_un *a, socklen_t len,
		      ProtobufCBinaryData *name, protobuf_c_boolean *hasp)
{
	size_t n = len > NAME_AT ? len - NAME_AT : 0;

	if (n && a->sun_path[0])
		n = strnlen(a->sun_path, n);
	*hasp = n > 0;
	name->len = n;
	name->data = memcpy(ckpt_alloc(arena, n + 1), a->sun_path, n);
}

/* The file that the socket was bound to may have gone, or be another one by now. */
static int collect_file(struct ckpt_collect *c, Ckpt__Unix *m, const struct ckpt_unix_diag *d,
			struct ckpt_err *err)
{
	char *name = (char *)m->name.data, cwd[PATH_MAX];
	struct stat st;
	int r = 0;

	m->path = name;
	if (name[0] != '/') {
		r = c->src->ops->read_link(c->src, c->pid, "cwd", cwd, sizeof(cwd), err);
		if (r < 0)
			return r;
		m->cwd = ckpt_strdup(c->arena, cwd);
		m->path = ckpt_alloc(c->arena, strlen(cwd) + strlen(name) + 2);
		sprintf(m->path, "%s/%s", cwd, name);
	}
	m->has_mode = m->has_uid = m->has_gid = d->has_file && lstat(m->path, &st) == 0 &&
						S_ISSOCK(st.st_mode) &&
						(uint32_t)st.st_ino == d->file_ino;
	if (m->has_mode) {
		m->mode = st.st_mode & 07777;
		m->uid = st.st_uid;
		m->gid = st.st_gid;
		return 0;
	}
	/* Accepted ones have the name of their listener, which makes the file. */
	if (d->has_file && (m->type == SOCK_DGRAM || d->state != TCP_ESTABLISHED))
		m->moved = ckpt_unix_file_moved(c->arena, m->path, d->file_ino, &st);
	if (m->moved) {
		m->has_moved_mode = m->has_moved_uid = m->has_moved_gid = true;
		m->moved_mode = st.st_mode & 07777;
		m->moved_uid = st.st_uid;
		m->moved_gid = st.st_gid;
	} else if (m->cwd) {
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
				   "socket %s: its relative name does not lead to it "
				   "from the working directory %s",
				   name, cwd);
	}
	return 0;
}

static int collect_names(struct ckpt_collect *c, Ckpt__Unix *m, const struct ckpt_unix_diag *d,
			 struct ckpt_err *err)
{
	struct sockaddr_un a;
	socklen_t len = sizeof(a);

	if (getsockname(c->fd, (void *)&a, &len) < 0)
		return ckpt_fail(err, -errno, "%s: cannot ask for its name", c->probe->link);
	keep_name(c->arena, &a, len, &m->name, &m->has_name);
	len = sizeof(a);
	if (getpeername(c->fd, (void *)&a, &len) == 0)
		keep_name(c->arena, &a, len, &m->peer_name, &m->has_peer_name);
	return m->has_name && m->name.data[0] ? collect_file(c, m, d, err) : 0;
}

/* Only a process that is there can be named again. Who does not ask for credentials will hardly
 * miss them. */
static int collect_creds(struct ckpt_collect *c, const struct ckpt_unix_message *from,
			 Ckpt__UnixMessage *msg, struct ckpt_err *err)
{
	socklen_t len = sizeof(int);
	int asks = 1;

	if (!from->has_creds)
		return 0;
	msg->has_pid = msg->has_uid = msg->has_gid = ckpt_pid_in_tree(c, from->pid);
	msg->pid = from->pid;
	msg->uid = from->uid;
	msg->gid = from->gid;
	if (msg->has_pid)
		return 0;
	getsockopt(c->fd, SOL_SOCKET, SO_PASSCRED, &asks, &len);
	if (asks)
		return ckpt_refuse(err, CKPT_E_IN_FLIGHT, -EOPNOTSUPP,
				   "%s: credentials of process %d, which is not in the tree, are "
				   "in its queue (SCM_CREDENTIALS)",
				   c->probe->link, from->pid);
	ckpt_lost(c,
		  "process %d: fd %d: %s: credentials of process %d, which is not in the tree and "
		  "which it does not ask for, are in its queue",
		  c->pid, c->number, c->probe->link, from->pid);
	return 0;
}

/* Between others their place is not told, nor what came along with them. */
static int check_hidden(struct ckpt_collect *c, const struct ckpt_unix_queue *q, size_t hidden,
			struct ckpt_err *err)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;
	uint64_t rights = 0;
	int r = ckpt_fdinfo_u64(c, "scm_fds", 10, &rights, &ignored);
	bool alike = !rights && (r >= 0 || r == -ENOENT);

	for (size_t i = 0; i < q->n; i++)
		alike &= !q->v[i].len && !q->v[i].has_creds;
	return alike ? 0 :
		       ckpt_refuse(err, CKPT_E_IN_FLIGHT, -EOPNOTSUPP,
				   "%s: in its queue are empty messages (%zu) that an earlier "
				   "dump, or somebody else, has peeked at: where between the "
				   "others the kernel does not tell",
				   c->probe->link, hidden);
}

/* Hidden ones are like the first, and come last. */
static int collect_queue(struct ckpt_collect *c, Ckpt__Unix *m, uint32_t sent, struct ckpt_err *err)
{
	const struct ckpt_unix_queue *q = ckpt_unix_queue_seen(c);
	struct ckpt_unix_queue own;
	size_t hidden;
	int r = q ? 0 : ckpt_unix_peek(c->arena, c->fd, m->type, &own, err);

	for (size_t i = 0; !q && r >= 0 && i < own.n; i++)
		if (own.v[i].n_rights)
			r = ckpt_refuse(err, CKPT_E_IN_FLIGHT, -EOPNOTSUPP,
					"descriptors in flight are in its queue");
	if (!q) {
		ckpt_unix_queue_close(&own);
		q = &own;
	}
	if (r < 0)
		return ckpt_in(err, r, "%s", c->probe->link);
	hidden = ckpt_unix_hidden(q, m->type, sent);
	if (hidden)
		r = check_hidden(c, q, hidden, err);
	m->n_queue = q->n + hidden;
	m->queue = ckpt_alloc(c->arena, m->n_queue * sizeof(*m->queue));
	for (size_t i = 0; r >= 0 && i < m->n_queue; i++) {
		const struct ckpt_unix_message *from = &q->v[i < q->n ? i : 0];
		Ckpt__UnixMessage *msg = m->queue[i] = ckpt_new(c->arena, Ckpt__UnixMessage);

		ckpt__unix_message__init(msg);
		msg->data = (ProtobufCBinaryData){ from->len, from->data };
		msg->has_from = from->from_len > 0;
		msg->from = (ProtobufCBinaryData){ from->from_len, from->from };
		if (msg->has_from && msg->from.data[0])
			msg->from.len = strnlen((char *)msg->from.data, msg->from.len);
		msg->n_rights = from->n_objects;
		msg->rights = from->objects;
		r = collect_creds(c, from, msg, err);
	}
	return r;
}

#define SO_PEERGROUPS_ 59 /* Linux 4.13 */

static void new_creds(struct ckpt_collect *c, Ckpt__UnixCreds **mp, pid_t pid, uid_t uid, gid_t gid)
{
	Ckpt__UnixCreds *m = *mp = ckpt_new(c->arena, Ckpt__UnixCreds);

	ckpt__unix_creds__init(m);
	m->pid = pid;
	m->uid = uid;
	m->gid = gid;
}

/* Who made the pair, connected, or listens; who only has a name has none. */
static int collect_peer_creds(struct ckpt_collect *c, Ckpt__Unix *m, struct ckpt_err *err)
{
	struct ucred u;
	socklen_t len = sizeof(u), size = 0;

	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &u, &len) < 0)
		return ckpt_fail(err, -errno, "%s: cannot ask for its peer", c->probe->link);
	if (u.uid == (uid_t)-1)
		return 0;
	new_creds(c, &m->creds, u.pid, u.uid, u.gid);
	if (!u.pid)
		ckpt_lost(c,
			  "process %d: fd %d: %s: its peer is not of this pid namespace: "
			  "SO_PEERCRED will tell another one",
			  c->pid, c->number, c->probe->link);
	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERGROUPS_, NULL, &size) == 0 || errno != ERANGE)
		return 0;
	m->creds->groups = ckpt_alloc(c->arena, size);
	m->creds->n_groups = size / sizeof(*m->creds->groups);
	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERGROUPS_, m->creds->groups, &size) < 0)
		return ckpt_fail(err, -errno, "%s: cannot ask for the groups of its peer",
				 c->probe->link);
	return 0;
}

/* What the other end will be told nobody can ask before it is accepted: that is who has this one.
 */
static int collect_connector(struct ckpt_collect *c, Ckpt__Unix *m, struct ckpt_err *err)
{
	struct ckpt_creds *creds;
	int r = ckpt_status_creds(c, &creds, err);

	if (r < 0)
		return r;
	new_creds(c, &m->connector, c->pid, creds->uid[CKPT_ID_EFFECTIVE],
		  creds->gid[CKPT_ID_EFFECTIVE]);
	m->connector->groups = creds->groups;
	m->connector->n_groups = creds->n_groups;
	return 0;
}

/* As the user has it: N connections, of which this one is an end, are lost. */
static bool skip(struct ckpt_collect *c, unsigned int n)
{
	if (c->skip_in_flight)
		ckpt_lost(
			c,
			"process %d: fd %d: %s: connections (%u) that are not accepted yet: will be closed",
			c->pid, c->number, c->probe->link, n);
	return c->skip_in_flight;
}

/* What PEER has sent to this one; 0: not known. Another datagram socket may have
 * got some of it; of the tree's own it can be seen. */
static uint32_t sent_by(struct ckpt_collect *c, const Ckpt__Unix *m,
			const struct ckpt_unix_diag *peer)
{
	struct sockaddr_un a;
	socklen_t len = sizeof(a);

	if (m->type == SOCK_DGRAM &&
	    (getpeername(c->fd, (void *)&a, &len) < 0 ||
	     ckpt_unix_seen_elsewhere(c, a.sun_path, len > NAME_AT ? len - NAME_AT : 0)))
		return 0;
	return peer->sent;
}

/* One that waits to be accepted has no inode yet, like one that was closed; but only that shuts
 * down both ways. What it has sent to this one goes to *SENTP. */
static int collect_peer(struct ckpt_collect *c, Ckpt__Unix *m, const struct ckpt_unix_diag *d,
			uint32_t *sentp, struct ckpt_err *err)
{
	struct pollfd p = { .fd = c->fd, .events = POLLPRI };
	struct ckpt_unix_diag theirs;
	struct ckpt_err ignored = CKPT_ERR_INIT;
	int sent = 0;

	m->has_shutdown = m->shutdown = d->shutdown;
	if (poll(&p, 1, 0) > 0 && p.revents & POLLPRI)
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
				   "%s: urgent data is in its queue", c->probe->link);
	if (m->type == SOCK_DGRAM ? !d->has_peer : d->state != TCP_ESTABLISHED)
		return 0;
	m->state = CKPT__UNIX__STATE__CONNECTED;
	m->has_peer = true;
	m->peer = d->peer;
	if (m->type != SOCK_DGRAM && !m->peer) {
		m->has_waits = m->waits = d->shutdown != BOTH_WAYS && !skip(c, 1);
		if (m->waits && (ioctl(c->fd, SIOCOUTQ, &sent) < 0 || sent))
			return ckpt_refuse(err, CKPT_E_NOT_ACCEPTED, -EOPNOTSUPP,
					   "%s: its connection has not been accepted yet, and it "
					   "has sent something, which nobody can look at",
					   c->probe->link);
		m->has_reset = m->reset = p.revents & POLLERR;
		if (m->waits && collect_connector(c, m, err) < 0)
			return err->code;
	}
	/* A stranger that is connected to us in turn would not be after a mere connect(2). */
	if (m->type != SOCK_STREAM && m->peer && ckpt_unix_diag(m->peer, &theirs, &ignored) == 0 &&
	    theirs.peer == (uint32_t)c->probe->st.st_ino) {
		m->has_peer_name &= m->type != SOCK_DGRAM;
		*sentp = sent_by(c, m, &theirs);
	}
	return 0;
}

/* Who waits to be accepted. One that has closed again is in nobody's hands. */
static int collect_pending(struct ckpt_collect *c, Ckpt__Unix *m, const struct ckpt_unix_diag *d,
			   struct ckpt_err *err)
{
	if (d->waiting && skip(c, d->waiting))
		return 0;
	m->pending = ckpt_alloc(c->arena, (d->n_pending + 1) * sizeof(*m->pending));
	m->n_pending = d->n_pending;
	for (size_t i = 0; i < d->n_pending; i++)
		m->pending[i] = d->pending[i];
	for (size_t i = 0; i < d->waiting; i++)
		if (d->n_pending != d->waiting || !d->pending[i])
			return ckpt_refuse(err, CKPT_E_NOT_ACCEPTED, -EOPNOTSUPP,
					   "%s: %u connections to it have not been accepted yet, "
					   "and some of them are closed",
					   c->probe->link, d->waiting);
	return 0;
}

int ckpt_unix_collect(struct ckpt_collect *c, Ckpt__Unix *m, struct ckpt_err *err)
{
	struct ckpt_unix_diag d;
	uint32_t sent = 0;
	int r = ckpt_unix_diag(c->probe->st.st_ino, &d, err);

	if (r < 0)
		return r;
	m->type = c->probe->type;
	r = collect_names(c, m, &d, err);
	if (r < 0)
		return r;
	r = ckpt_socket_collect(c, false, &m->socket, err);
	if (r >= 0)
		r = collect_peer_creds(c, m, err);
	if (r < 0)
		return r;
	if (d.state == TCP_LISTEN) {
		m->state = CKPT__UNIX__STATE__LISTENING;
		m->has_backlog = true;
		m->backlog = d.backlog;
		m->has_shutdown = m->shutdown = d.shutdown;
		return collect_pending(c, m, &d, err);
	}
	r = collect_peer(c, m, &d, &sent, err);
	return r < 0 ? r : collect_queue(c, m, sent, err);
}
