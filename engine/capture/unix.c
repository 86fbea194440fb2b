/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of a Unix socket. Most of it only sock_diag(7) tells; what is in its queue is peeked
 * at. */
#include <errno.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include "engine/capture/socket.h"
#include "engine/capture/unix-diag.h"
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

static int collect_queue(struct ckpt_collect *c, Ckpt__Unix *m, struct ckpt_err *err)
{
	struct ckpt_unix_queue q;
	int r = ckpt_unix_peek(c->arena, c->fd, m->type, &q, err);

	if (r < 0)
		return ckpt_in(err, r, "%s", c->probe->link);
	m->n_queue = q.n;
	m->queue = ckpt_alloc(c->arena, q.n * sizeof(*m->queue));
	for (size_t i = 0; i < q.n; i++) {
		Ckpt__UnixMessage *msg = ckpt_new(c->arena, Ckpt__UnixMessage);

		ckpt__unix_message__init(msg);
		msg->data = (ProtobufCBinaryData){ q.v[i].len, q.v[i].data };
		msg->has_from = q.v[i].from_len > 0;
		msg->from = (ProtobufCBinaryData){ q.v[i].from_len, q.v[i].from };
		if (msg->has_from && msg->from.data[0])
			msg->from.len = strnlen((char *)msg->from.data, msg->from.len);
		m->queue[i] = msg;
	}
	return 0;
}

/* One that waits to be accepted has no inode yet, like one that was closed; but only that shuts
 * down both ways. */
static int collect_peer(struct ckpt_collect *c, Ckpt__Unix *m, const struct ckpt_unix_diag *d,
			struct ckpt_err *err)
{
	struct pollfd p = { .fd = c->fd, .events = POLLPRI };
	struct ckpt_unix_diag theirs;
	struct ckpt_err ignored = CKPT_ERR_INIT;

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
		if (d->shutdown != BOTH_WAYS)
			return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
					   "%s: its connection has not been "
					   "accepted yet",
					   c->probe->link);
		m->has_reset = m->reset = p.revents & POLLERR;
	}
	/* A stranger that is connected to us in turn would not be after a mere connect(2). */
	if (m->type == SOCK_DGRAM && m->peer && ckpt_unix_diag(m->peer, &theirs, &ignored) == 0 &&
	    theirs.peer == (uint32_t)c->probe->st.st_ino)
		m->has_peer_name = false;
	return 0;
}

int ckpt_unix_collect(struct ckpt_collect *c, Ckpt__Unix *m, struct ckpt_err *err)
{
	struct ckpt_unix_diag d;
	int r = ckpt_unix_diag(c->probe->st.st_ino, &d, err);

	if (r < 0)
		return r;
	m->type = c->probe->type;
	r = collect_names(c, m, &d, err);
	if (r < 0)
		return r;
	r = ckpt_socket_collect(c, false, &m->socket, err);
	if (r < 0)
		return r;
	if (d.state == TCP_LISTEN) {
		m->state = CKPT__UNIX__STATE__LISTENING;
		m->has_backlog = true;
		m->backlog = d.backlog;
		m->has_shutdown = m->shutdown = d.shutdown;
		return d.waiting ? ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
					       "%s: %u connections to it have not been "
					       "accepted yet",
					       c->probe->link, d.waiting) :
				   0;
	}
	r = collect_peer(c, m, &d, err);
	return r < 0 ? r : collect_queue(c, m, err);
}
