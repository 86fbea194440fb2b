/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix sockets. Two that are connected come as a pair, made by the one with the lower id; where the accepted one
 * has the name of its listener the pair is made by connecting to a listener of that name. A socket whose peer was
 * closed gets one that is closed again. Queues are filled from the other side before anything is shut down.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/capture/collect.h"
#include "engine/capture/sockopt.h"
#include "engine/capture/unix.h"
#include "engine/model/object.h"
#include "engine/plan/host.h"
#include "engine/plan/path.h"
#include "engine/plan/unix-name.h"
#include "proto/unix.pb-c.h"

#define LISTENING CKPT__UNIX__STATE__LISTENING
#define CONNECTED CKPT__UNIX__STATE__CONNECTED
#define BOTH_WAYS 3u

static bool match(const struct ckpt_probe *probe)
{
	return S_ISSOCK(probe->st.st_mode) && probe->domain == AF_UNIX;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	return ckpt_unix_collect(c, (void *)msg, err);
}

/* ---- plan ---- */

static const Ckpt__Unix *message(const struct ckpt_object *obj)
{
	return (const void *)obj->msg;
}

static struct ckpt_unix_name name_of(const Ckpt__Unix *m)
{
	return (struct ckpt_unix_name){
		.name = m->name.data, .len = m->has_name ? m->name.len : 0, .path = m->path, .cwd = m->cwd,
		.has_file = m->has_mode, .mode = m->mode, .uid = m->uid, .gid = m->gid,
	};
}

static bool equal(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
	return a->len == b->len && !memcmp(a->data, b->data, a->len);
}

static const struct ckpt_object *peer_of(const struct ckpt_snapshot *snap, const struct ckpt_object *obj)
{
	for (size_t i = 0; message(obj)->peer && i < snap->n_objects; i++)
		if (snap->objects[i]->kind == obj->kind && snap->objects[i]->file.ino == message(obj)->peer)
			return snap->objects[i];
	return NULL;
}

/* One of a pair, or what is left of it. */
static bool is_paired(const struct ckpt_snapshot *snap, const struct ckpt_object *obj)
{
	const Ckpt__Unix *m = message(obj);
	const struct ckpt_object *peer = peer_of(snap, obj);

	if (m->state != CONNECTED)
		return false;
	return m->type != SOCK_DGRAM || !m->peer || (peer && message(peer)->peer == obj->file.ino);
}

/* Another socket of that type with that name: the listener of an accepted one, the sender of a datagram. */
static const struct ckpt_object *find_name(const struct ckpt_snapshot *snap, const struct ckpt_object *obj,
					   const ProtobufCBinaryData *name, Ckpt__Unix__State state)
{
	for (size_t i = 0; i < snap->n_objects; i++) {
		const struct ckpt_object *other = snap->objects[i];
		const Ckpt__Unix *m = message(other);

		if (other->kind == obj->kind && m->type == message(obj)->type && m->has_name && equal(&m->name, name) &&
		    (state != LISTENING || m->state == LISTENING))
			return other;
	}
	return NULL;
}

static const struct ckpt_object *listener_of(const struct ckpt_snapshot *snap, const struct ckpt_object *obj)
{
	const Ckpt__Unix *m = message(obj);

	if (m->state != CONNECTED || m->type == SOCK_DGRAM || !m->has_name)
		return NULL;
	return find_name(snap, obj, &m->name, LISTENING);
}

static int check(const struct ckpt_object *obj, const Ckpt__Unix *m, struct ckpt_err *err)
{
	struct ckpt_unix_name name = name_of(m);
	bool ok = m->type == SOCK_STREAM || m->type == SOCK_DGRAM || m->type == SOCK_SEQPACKET;

	ok &= ckpt_unix_name_sane(&name);
	ok &= !m->has_peer_name || (m->peer_name.len && m->peer_name.len <= CKPT_UNIX_NAME_MAX);
	ok &= m->shutdown <= BOTH_WAYS && m->backlog <= INT_MAX && (m->type != SOCK_STREAM || m->n_queue <= 1);
	ok &= m->state == CONNECTED || !m->has_peer;
	ok &= m->state != LISTENING || (m->has_name && m->type != SOCK_DGRAM && !m->n_queue);
	for (size_t i = 0; i < m->n_options; i++)
		ok &= ckpt_sockopt_sane(&(struct ckpt_sockopt){ m->options[i]->option, m->options[i]->value });
	for (size_t i = 0; i < m->n_queue; i++)
		ok &= m->queue[i]->from.len <= CKPT_UNIX_NAME_MAX;
	return ok ? 0 : ckpt_fail(err, -EBADMSG, "unix %u: bad state", obj->id);
}

/* The peer is in the tree and has been refused: its object has a kind without functions. */
static bool peer_was_refused(const struct ckpt_snapshot *snap, const struct ckpt_object *obj)
{
	for (size_t i = 0; i < snap->n_objects; i++)
		if (snap->objects[i]->kind != obj->kind && snap->objects[i]->kind->message == obj->kind->message &&
		    snap->objects[i]->file.ino == message(obj)->peer)
			return true;
	return false;
}

static void plan_external(struct ckpt_planner *p, const struct ckpt_object *obj, const Ckpt__Unix *m)
{
	struct ckpt_unix_name peer = { .name = m->peer_name.data, .len = m->has_peer_name ? m->peer_name.len : 0 };
	char who[40], name[PATH_MAX];
	struct stat st;

	/* Nobody knows that a datagram socket is connected to him, so it can be done again. */
	if (m->type == SOCK_DGRAM && m->has_peer_name && (!m->peer_name.data[0] || m->peer_name.data[0] == '/')) {
		if (m->peer_name.data[0]) {
			snprintf(name, sizeof(name), "%.*s", (int)m->peer_name.len, (char *)m->peer_name.data);
			if (ckpt_planner_host(p) && stat(name, &st) < 0)
				ckpt_path_here(p, obj, name, S_IFSOCK, O_WRONLY, &st);
		}
		return;
	}
	ckpt_problem(p, CKPT_E_EXTERNAL_PEER, "%ssocket:[%llu]: it is connected to a process outside of the tree "
		     "(socket:[%llu]%s%s)", ckpt_path_who(p, obj, who, sizeof(who)), (unsigned long long)obj->file.ino,
		     (unsigned long long)m->peer, peer.len ? " " : "", ckpt_unix_name_show(&peer, name, sizeof(name)));
}

/* Only the peer, or who is sought by name, can put a datagram into the queue again. */
static int plan_queue(const struct ckpt_snapshot *snap, const struct ckpt_object *obj, const Ckpt__Unix *m,
		      struct ckpt_err *err)
{
	const struct ckpt_object *peer = peer_of(snap, obj);
	bool paired = is_paired(snap, obj);

	if (m->type != SOCK_DGRAM)
		return 0;
	for (size_t i = 0; i < m->n_queue; i++) {
		const Ckpt__UnixMessage *q = m->queue[i];
		bool from_peer = peer && message(peer)->has_name == q->has_from &&
				 (!q->has_from || equal(&message(peer)->name, &q->from));

		if (paired && (peer ? !from_peer : q->has_from))
			return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP, "socket:[%llu]: it holds a message of another "
					   "socket than its peer", (unsigned long long)obj->file.ino);
		if (!paired && (!m->has_name || (m->path && !m->has_mode)))
			return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP, "socket:[%llu]: it holds messages, and can be "
					   "sent none any more", (unsigned long long)obj->file.ino);
		if (!paired && q->has_from && !find_name(snap, obj, &q->from, 0))
			return ckpt_refuse(err, CKPT_E_EXTERNAL_PEER, -EOPNOTSUPP, "socket:[%llu]: it holds a message of a "
					   "process outside of the tree", (unsigned long long)obj->file.ino);
	}
	return 0;
}

static int plan_peer(struct ckpt_planner *p, const struct ckpt_object *obj, const Ckpt__Unix *m, struct ckpt_err *err)
{
	const struct ckpt_snapshot *snap = ckpt_planner_snapshot(p);
	const struct ckpt_object *peer = peer_of(snap, obj), *listener;
	bool paired = is_paired(snap, obj);

	if (m->peer && !peer) {
		if (!peer_was_refused(snap, obj))
			plan_external(p, obj, m);
		return 0;
	}
	if (peer == obj || (peer && message(peer)->type != m->type) ||
	    (m->type != SOCK_DGRAM && peer && (message(peer)->state != CONNECTED || message(peer)->peer != obj->file.ino)))
		return ckpt_fail(err, -EBADMSG, "unix %u: socket %llu cannot be its peer", obj->id,
				 (unsigned long long)m->peer);
	if (!paired && (!message(peer)->has_name || (message(peer)->path && !message(peer)->has_mode)))
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP, "socket:[%llu]: it is connected to a socket that has no "
				   "name", (unsigned long long)obj->file.ino);
	listener = listener_of(snap, obj);
	if (listener)
		ckpt_needs(p, listener->id);
	if (paired && peer && peer->id < obj->id)
		ckpt_comes_with(p, peer->id);
	return 0;
}

/* A file that is bound anew; accepted sockets have it from their listener. */
static void plan_file(struct ckpt_planner *p, const struct ckpt_object *obj, const Ckpt__Unix *m)
{
	const struct ckpt_host *host = ckpt_planner_host(p);
	char who[40];
	struct stat st;

	if (!host || !m->path || listener_of(ckpt_planner_snapshot(p), obj))
		return;
	ckpt_path_who(p, obj, who, sizeof(who));
	ckpt_path_folder_here(p, obj, m->path);
	if (lstat(m->path, &st) == 0 && (!S_ISSOCK(st.st_mode) || !m->has_mode))
		ckpt_problem(p, CKPT_E_ADDRESS_IN_USE, "%ssocket %s: a file is in its place", who, m->path);
	if (m->has_mode && (m->uid != host->uid || m->gid != host->gid) && !ckpt_host_has_cap(host, CAP_CHOWN))
		ckpt_loss(p, "%ssocket %s: will belong to you, not to %u:%u", who, m->path, m->uid, m->gid);
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Unix *m = message(obj);
	int r = check(obj, m, err);

	if (r >= 0)
		r = plan_queue(ckpt_planner_snapshot(p), obj, m, err);
	if (r >= 0 && m->state == CONNECTED)
		r = plan_peer(p, obj, m, err);
	if (r >= 0)
		plan_file(p, obj, m);
	return r;
}

/* ---- restore ---- */

static int set_options(int fd, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Unix *m = message(obj);
	struct ckpt_sockopt opt[CKPT_SOCKOPT_MAX];
	size_t n = 0;

	for (size_t i = 0; i < m->n_options && n < CKPT_SOCKOPT_MAX; i++)
		opt[n++] = (struct ckpt_sockopt){ m->options[i]->option, m->options[i]->value };
	return ckpt_in(err, ckpt_sockopt_set(fd, opt, n, err), "unix %u", obj->id);
}

static int open_socket(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	struct ckpt_unix_name name = name_of(message(obj));
	CKPT_FD fd = socket(AF_UNIX, message(obj)->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	if (fd < 0)
		return ckpt_fail(err, -errno, "unix %u: cannot create", obj->id);
	r = name.len ? ckpt_unix_bind(site, fd, message(obj)->type, &name, err) : 0;
	return r < 0 ? r : ckpt_take_fd(&fd);
}

/* The pair is connected through the new socket file: somebody else might have been faster. */
static int accept_ours(int listener, struct ckpt_err *err)
{
	for (int i = 0; i < 64; i++) {
		CKPT_FD fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct ucred peer;
		socklen_t len = sizeof(peer);

		if (fd < 0)
			return ckpt_fail(err, -errno, "cannot accept");
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid == getpid())
			return ckpt_take_fd(&fd);
	}
	return ckpt_fail(err, -EBUSY, "cannot accept: others connect all the time");
}

/* The listener of the tree, or one for this occasion, *OWNP. */
static int get_listener(struct ckpt_site *site, const struct ckpt_object *accepted, int *ownp, struct ckpt_err *err)
{
	const struct ckpt_object *listener = listener_of(site->snap, accepted);
	int fd;

	if (listener)
		return site->ops->fd_of(site, listener->id, err);
	fd = *ownp = open_socket(site, accepted, err);
	if (fd >= 0 && listen(fd, 1) < 0)
		return ckpt_fail(err, -errno, "unix %u: cannot listen", accepted->id);
	return fd;
}

/* CLIENT may be NULL: it was closed. */
static int connect_pair(struct ckpt_site *site, const struct ckpt_object *accepted, const struct ckpt_object *client,
			int *acceptedp, int *clientp, struct ckpt_err *err)
{
	const struct ckpt_object *source = listener_of(site->snap, accepted);
	struct ckpt_unix_name name = name_of(message(source ? source : accepted));
	CKPT_FD own = -1;
	int listener = get_listener(site, accepted, &own, err), r;

	if (listener < 0)
		return listener;
	*clientp = client ? open_socket(site, client, err) :
		   socket(AF_UNIX, message(accepted)->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*clientp < 0)
		return client ? *clientp : ckpt_fail(err, -errno, "unix %u: cannot create its peer", accepted->id);
	r = ckpt_unix_connect(*clientp, &name, err);
	if (r >= 0)
		r = *acceptedp = accept_ours(listener, err);
	if (own >= 0)
		ckpt_unix_unlink(&name);
	return ckpt_in(err, r, "unix %u", accepted->id);
}

static int bind_if_named(struct ckpt_site *site, const struct ckpt_object *obj, int fd, struct ckpt_err *err)
{
	struct ckpt_unix_name name = obj ? name_of(message(obj)) : (struct ckpt_unix_name){ .len = 0 };

	return name.len ? ckpt_unix_bind(site, fd, message(obj)->type, &name, err) : 0;
}

static int make_pair(struct ckpt_site *site, const struct ckpt_object *a, const struct ckpt_object *b, int fd[2],
		     struct ckpt_err *err)
{
	bool stream = message(a)->type != SOCK_DGRAM, b_named = b && message(b)->has_name;
	int r;

	if (stream && (message(a)->has_name || b_named)) {
		bool b_accepted = b_named && !listener_of(site->snap, a) &&
				  (!message(a)->has_name || listener_of(site->snap, b));

		return b_accepted ? connect_pair(site, b, a, &fd[1], &fd[0], err) :
				    connect_pair(site, a, b, &fd[0], &fd[1], err);
	}
	if (socketpair(AF_UNIX, message(a)->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd) < 0)
		return ckpt_fail(err, -errno, "unix %u: cannot create", a->id);
	r = bind_if_named(site, a, fd[0], err);
	return r < 0 ? r : bind_if_named(site, b, fd[1], err);
}

/* FROM is the other side of what OBJ is to be. */
static int fill(int from, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Unix *m = message(obj);

	ckpt_sockopt_widen(from);
	for (size_t i = 0; i < m->n_queue; i++) {
		const ProtobufCBinaryData *data = &m->queue[i]->data;
		size_t at = 0;

		do {
			ssize_t n = send(from, data->data + at, data->len - at, MSG_DONTWAIT | MSG_NOSIGNAL);

			if (n < 0)
				return ckpt_fail(err, -errno, "unix %u: cannot fill its queue", obj->id);
			at += n;
		} while (at < data->len && m->type == SOCK_STREAM);
	}
	return 0;
}

static int shut(int fd, const struct ckpt_object *obj, struct ckpt_err *err)
{
	static const int how[] = { -1, SHUT_RD, SHUT_WR, SHUT_RDWR };
	uint32_t mask = message(obj)->shutdown;

	if (mask && shutdown(fd, how[mask]) < 0 && errno != ENOTCONN)
		return ckpt_fail(err, -errno, "unix %u: cannot shut it down", obj->id);
	return 0;
}

static int finish_pair(const struct ckpt_object *a, const struct ckpt_object *b, const int fd[2], struct ckpt_err *err)
{
	bool stream = message(a)->type != SOCK_DGRAM;
	int r = fill(fd[1], a, err);

	if (r >= 0 && b)
		r = fill(fd[0], b, err);
	/* One that is closed with something unread resets the connection. */
	if (r >= 0 && !b && message(a)->reset && send(fd[0], "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1)
		r = ckpt_fail(err, -errno, "unix %u: cannot reset it", a->id);
	if (r >= 0)
		r = set_options(fd[0], a, err);
	if (r >= 0 && b)
		r = set_options(fd[1], b, err);
	if (r >= 0 && b && stream)
		r = shut(fd[0], a, err);
	return r >= 0 && b && stream ? shut(fd[1], b, err) : r;
}

static int create_pair(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const struct ckpt_object *peer = peer_of(site->snap, obj);
	int fd[2] = { -1, -1 }, r = make_pair(site, obj, peer, fd, err);
	CKPT_FD mine = fd[0];
	CKPT_FD other = fd[1];

	if (r >= 0)
		r = finish_pair(obj, peer, fd, err);
	if (r >= 0 && peer)
		r = site->ops->put(site, peer->id, ckpt_take_fd(&other), err);
	return r < 0 ? r : ckpt_take_fd(&mine);
}

static int create(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Unix *m = message(obj);
	int r;

	if (is_paired(site->snap, obj))
		return create_pair(site, obj, err);
	CKPT_FD fd = open_socket(site, obj, err);
	if (fd < 0)
		return fd;
	r = set_options(fd, obj, err);
	if (r >= 0 && m->state == LISTENING && listen(fd, m->backlog) < 0)
		r = ckpt_fail(err, -errno, "unix %u: cannot listen", obj->id);
	return r < 0 ? r : ckpt_take_fd(&fd);
}

/* Each message from who had sent it, or from nobody in particular. */
static int send_all(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Unix *m = message(obj);
	struct ckpt_unix_name name = name_of(m);
	CKPT_FD nobody = -1;

	for (size_t i = 0; i < m->n_queue; i++) {
		const Ckpt__UnixMessage *q = m->queue[i];
		const struct ckpt_object *sender = q->has_from ? find_name(site->snap, obj, &q->from, 0) : NULL;
		int fd, r;

		if (!sender && nobody < 0)
			nobody = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (!sender && nobody >= 0)
			ckpt_sockopt_widen(nobody);
		fd = sender ? site->ops->fd_of(site, sender->id, err) : nobody;
		if (fd < 0)
			return sender ? fd : ckpt_fail(err, -errno, "unix %u: cannot create a sender", obj->id);
		r = ckpt_unix_send(fd, &name, q->data.data, q->data.len, err);
		if (r < 0)
			return ckpt_in(err, r, "unix %u", obj->id);
	}
	return 0;
}

/* Only now: a datagram socket that is connected takes nothing from others. */
static int connect_datagrams(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Unix *m = message(obj);
	const struct ckpt_object *peer = peer_of(site->snap, obj);
	struct ckpt_unix_name name = { .name = m->peer_name.data, .len = m->has_peer_name ? m->peer_name.len : 0 };
	int fd = site->ops->fd_of(site, obj->id, err);

	if (fd < 0)
		return fd;
	if (peer)
		name = name_of(message(peer));
	return ckpt_in(err, ckpt_unix_connect(fd, &name, err), "unix %u", obj->id);
}

/* Has another socket made a file of that name, which stays? */
static bool is_needed(const struct ckpt_snapshot *snap, const struct ckpt_object *obj)
{
	for (size_t i = 0; i < snap->n_objects; i++)
		if (snap->objects[i]->kind == obj->kind && message(snap->objects[i])->has_mode &&
		    equal(&message(snap->objects[i])->name, &message(obj)->name))
			return true;
	return false;
}

static int link_up(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Unix *m = message(obj);
	struct ckpt_unix_name name = name_of(m);
	int r = 0;

	if (m->type == SOCK_DGRAM && !is_paired(site->snap, obj)) {
		r = send_all(site, obj, err);
		if (r >= 0 && m->state == CONNECTED)
			r = connect_datagrams(site, obj, err);
	}
	if (r >= 0 && m->path && !m->has_mode && !is_needed(site->snap, obj))
		ckpt_unix_unlink(&name);
	return r;
}

/* When nobody has to send or connect any more. Listening again tells clients the process that does it (SO_PEERCRED). */
static int attach(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Unix *m = message(obj);
	int fd = site->ops->fd_of(site, obj->id, err);

	if (fd < 0)
		return fd;
	if (m->state == LISTENING && listen(fd, m->backlog) < 0)
		return ckpt_fail(err, -errno, "unix %u: cannot listen", obj->id);
	return m->state != CONNECTED || m->type == SOCK_DGRAM ? shut(fd, obj, err) : 0;
}

const struct ckpt_kind ckpt_kind_unix = {
	.name = "unix",
	.scope = CKPT_PER_FILE,
	.message = &ckpt__unix__descriptor,
	.match = match,
	.collect = collect,
	.plan = plan,
	.create = create,
	.link = link_up,
	.attach = attach,
};
