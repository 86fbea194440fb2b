/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix sockets. Two that are connected come as a pair, made by the one with the lower id; where the
 * accepted one has the name of its listener the pair is made by connecting to a listener of that
 * name. A socket whose peer was closed gets one that is closed again. Queues are filled from the
 * other side before anything is shut down: as soon as what goes along with the messages is there.
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/capture/collect.h"
#include "engine/capture/socket.h"
#include "engine/capture/unix.h"
#include "engine/model/object.h"
#include "engine/plan/unix.h"

#define LISTENING CKPT__UNIX__STATE__LISTENING
#define CONNECTED CKPT__UNIX__STATE__CONNECTED

static bool match(const struct ckpt_probe *probe)
{
	return S_ISSOCK(probe->st.st_mode) && probe->domain == AF_UNIX;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	return ckpt_unix_collect(c, (void *)msg, err);
}

static int set_options(int fd, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Socket *s = ckpt_unix_message_of(obj)->socket;
	int r = ckpt_socket_set(fd, s, err);

	if (r >= 0)
		r = ckpt_socket_set_late(fd, s, err);
	return ckpt_in(err, r, "unix %u", obj->id);
}

/* A datagram socket that knows who made it was one of a pair. */
static int new_socket(const Ckpt__Unix *m, struct ckpt_err *err)
{
	static const struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	int fd[2] = { -1, -1 }, r;

	if (m->type != SOCK_DGRAM || !m->creds) {
		fd[0] = socket(AF_UNIX, m->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		return fd[0] < 0 ? ckpt_fail(err, -errno, "cannot create") : fd[0];
	}
	r = ckpt_unix_pair(m->type, fd, m->creds, err);
	CKPT_FD mine = fd[0];
	CKPT_FD other = fd[1];
	if (r >= 0 && connect(mine, &nobody, sizeof(nobody)) < 0)
		r = ckpt_fail(err, -errno, "cannot leave its pair");
	return r < 0 ? r : ckpt_take_fd(&mine);
}

static int open_socket(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	struct ckpt_unix_name name = ckpt_unix_name_of(ckpt_unix_message_of(obj));
	CKPT_FD fd = new_socket(ckpt_unix_message_of(obj), err);
	struct ckpt_err ignored = CKPT_ERR_INIT;
	int r = 0;

	if (fd < 0)
		return ckpt_in(err, fd, "unix %u", obj->id);
	if (name.len &&
	    (!ckpt_unix_unseen(site->snap, obj) || ckpt_unix_bind_unseen(fd, &name, &ignored) < 0))
		r = ckpt_unix_bind(site, fd, ckpt_unix_message_of(obj)->type, &name, err);
	return r < 0 ? r : ckpt_take_fd(&fd);
}

/* The pair is connected through the new socket file: somebody else might have been faster. BY: who
 * has connected. */
static int accept_ours(int listener, pid_t by, struct ckpt_err *err)
{
	struct pollfd waits = { .fd = listener, .events = POLLIN };

	while (poll(&waits, 1, 0) == 1) {
		CKPT_FD fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct ucred peer;
		socklen_t len = sizeof(peer);

		if (fd < 0)
			return ckpt_fail(err, -errno, "cannot accept");
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid == by)
			return ckpt_take_fd(&fd);
	}
	return ckpt_fail(err, -EBUSY, "cannot accept: somebody else has done it");
}

/* The listener of the tree, or one for this occasion, *OWNP. */
static int get_listener(struct ckpt_site *site, const struct ckpt_object *accepted, int *ownp,
			struct ckpt_err *err)
{
	const struct ckpt_object *listener = ckpt_unix_listener(site->snap, accepted);
	int fd;

	if (listener)
		return site->ops->fd_of(site, listener->id, err);
	fd = *ownp = open_socket(site, accepted, err);
	if (fd >= 0 && listen(fd, 1) < 0)
		return ckpt_fail(err, -errno, "unix %u: cannot listen", accepted->id);
	return fd;
}

/* CLIENT may be NULL: it was closed. */
static int connect_pair(struct ckpt_site *site, const struct ckpt_object *accepted,
			const struct ckpt_object *client, int *acceptedp, int *clientp,
			struct ckpt_err *err)
{
	const struct ckpt_object *source = ckpt_unix_listener(site->snap, accepted);
	struct ckpt_unix_name name =
		ckpt_unix_name_of(ckpt_unix_message_of(source ? source : accepted));
	const Ckpt__Unix *m = client ? ckpt_unix_message_of(client) : NULL;
	CKPT_FD own = -1;
	int listener = get_listener(site, accepted, &own, err), r = 0;
	pid_t by;

	if (listener < 0)
		return listener;
	*clientp =
		client ? open_socket(site, client, err) :
			 socket(AF_UNIX,
				ckpt_unix_message_of(accepted)->type | SOCK_CLOEXEC | SOCK_NONBLOCK,
				0);
	if (*clientp < 0)
		return client ? *clientp :
				ckpt_fail(err, -errno, "unix %u: cannot create its peer",
					  accepted->id);
	if (m && m->creds)
		r = ckpt_unix_listen(listener, source ? ckpt_unix_message_of(source)->backlog : 1,
				     m->creds, err);
	if (r >= 0)
		r = ckpt_unix_connect_as(*clientp, &name, ckpt_unix_message_of(accepted)->creds,
					 &by, err);
	if (r >= 0)
		r = *acceptedp = accept_ours(listener, by, err);
	if (own >= 0)
		ckpt_unix_unlink(own, &name);
	return ckpt_in(err, r, "unix %u", accepted->id);
}

static int bind_if_named(struct ckpt_site *site, const struct ckpt_object *obj, int fd,
			 struct ckpt_err *err)
{
	struct ckpt_unix_name name = obj ? ckpt_unix_name_of(ckpt_unix_message_of(obj)) :
					   (struct ckpt_unix_name){ .len = 0 };

	return name.len ? ckpt_unix_bind(site, fd, ckpt_unix_message_of(obj)->type, &name, err) : 0;
}

/* Made by socketpair(2)? Datagram sockets that connected by name do not know each other. */
static bool was_pair(const struct ckpt_object *a, const struct ckpt_object *b)
{
	const Ckpt__UnixCreds *creds = ckpt_unix_message_of(a)->creds;

	return creds && (!b || ckpt_unix_creds_equal(creds, ckpt_unix_message_of(b)->creds));
}

/* Datagram sockets, by their names; B may be NULL: it was closed. */
static int connect_both(struct ckpt_site *site, const struct ckpt_object *a,
			const struct ckpt_object *b, int fd[2], struct ckpt_err *err)
{
	struct ckpt_unix_name name[2] = { ckpt_unix_name_of(ckpt_unix_message_of(a)) };
	int r = fd[0] = open_socket(site, a, err);

	if (r >= 0 && !b)
		r = fd[1] = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (r >= 0 && !b)
		return ckpt_unix_name_closed(fd[1], ckpt_unix_message_of(a), fd[0], err);
	if (r >= 0)
		r = fd[1] = open_socket(site, b, err);
	if (r < 0)
		return r;
	name[1] = ckpt_unix_name_of(ckpt_unix_message_of(b));
	r = ckpt_unix_connect(fd[0], &name[1], err);
	return r < 0 ? r : ckpt_unix_connect(fd[1], &name[0], err);
}

static int make_pair(struct ckpt_site *site, const struct ckpt_object *a,
		     const struct ckpt_object *b, int fd[2], struct ckpt_err *err)
{
	bool stream = ckpt_unix_message_of(a)->type != SOCK_DGRAM,
	     b_named = b && ckpt_unix_message_of(b)->has_name;
	int r;

	if (stream && (ckpt_unix_message_of(a)->has_name || b_named)) {
		bool b_accepted =
			b_named && !ckpt_unix_listener(site->snap, a) &&
			(!ckpt_unix_message_of(a)->has_name || ckpt_unix_listener(site->snap, b));

		return b_accepted ? connect_pair(site, b, a, &fd[1], &fd[0], err) :
				    connect_pair(site, a, b, &fd[0], &fd[1], err);
	}
	if (!stream && !was_pair(a, b))
		return connect_both(site, a, b, fd, err);
	r = ckpt_unix_pair(ckpt_unix_message_of(a)->type, fd, ckpt_unix_message_of(a)->creds, err);
	if (r < 0)
		return ckpt_in(err, r, "unix %u", a->id);
	r = bind_if_named(site, a, fd[0], err);
	return r < 0 ? r : bind_if_named(site, b, fd[1], err);
}

/* FROM is the other side of what OBJ is to be, TO. */
static int fill(struct ckpt_site *site, int from, int to, const struct ckpt_object *obj,
		struct ckpt_err *err)
{
	const Ckpt__Unix *m = ckpt_unix_message_of(obj);
	int r = 0;

	ckpt_socket_widen(from);
	for (size_t i = 0; r >= 0 && i < m->n_queue; i++)
		r = ckpt_unix_put(site, from, to, NULL, m->type == SOCK_STREAM, m->queue[i], err);
	return ckpt_in(err, r, "unix %u", obj->id);
}

static int shut(int fd, const struct ckpt_object *obj, struct ckpt_err *err)
{
	static const int how[] = { -1, SHUT_RD, SHUT_WR, SHUT_RDWR };
	uint32_t mask = ckpt_unix_message_of(obj)->shutdown;

	if (mask && shutdown(fd, how[mask]) < 0 && errno != ENOTCONN)
		return ckpt_fail(err, -errno, "unix %u: cannot shut it down", obj->id);
	return 0;
}

static int finish_pair(struct ckpt_site *site, const struct ckpt_object *a,
		       const struct ckpt_object *b, const int fd[2], struct ckpt_err *err)
{
	bool stream = ckpt_unix_message_of(a)->type != SOCK_DGRAM;
	int r = fill(site, fd[1], fd[0], a, err);

	if (r >= 0 && b)
		r = fill(site, fd[0], fd[1], b, err);
	/* One that is closed with something unread resets the connection. */
	if (r >= 0 && !b && ckpt_unix_message_of(a)->reset &&
	    send(fd[0], "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1)
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
	const struct ckpt_object *peer = ckpt_unix_peer(site->snap, obj);
	int fd[2] = { -1, -1 }, r = make_pair(site, obj, peer, fd, err);
	CKPT_FD mine = fd[0];
	CKPT_FD other = fd[1];

	if (r >= 0 && !peer && ckpt_unix_message_of(obj)->has_peer_name &&
	    (ckpt_unix_message_of(obj)->type != SOCK_DGRAM || was_pair(obj, NULL)))
		r = ckpt_unix_name_closed(other, ckpt_unix_message_of(obj), -1, err);
	if (r >= 0 && ckpt_unix_stage(site->snap, obj) == CKPT_UNIX_AT_CREATE)
		r = finish_pair(site, obj, peer, fd, err);
	else if (r >= 0 && !peer)
		r = site->ops->keep(site, obj->id, ckpt_take_fd(&other), err);
	if (r >= 0 && peer)
		r = site->ops->put(site, peer->id, ckpt_take_fd(&other), err);
	return r < 0 ? r : ckpt_take_fd(&mine);
}

/* The same of a pair whose queues had to wait; the one that made it does it. */
static int finish_later(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const struct ckpt_object *peer = ckpt_unix_peer(site->snap, obj);
	int fd[2] = { site->ops->fd_of(site, obj->id, err), -1 };

	if (peer && peer->id < obj->id)
		return 0;
	if (fd[0] >= 0)
		fd[1] = peer ? site->ops->fd_of(site, peer->id, err) :
			       site->ops->kept(site, obj->id, err);
	return fd[0] < 0 || fd[1] < 0 ? -EBADF : finish_pair(site, obj, peer, fd, err);
}

static int create(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Unix *m = ckpt_unix_message_of(obj);
	int r;

	if (ckpt_unix_paired(site->snap, obj))
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
	const Ckpt__Unix *m = ckpt_unix_message_of(obj);
	struct ckpt_unix_name name = ckpt_unix_name_of(m);
	int to = site->ops->fd_of(site, obj->id, err);
	CKPT_FD nobody = -1;

	if (to < 0)
		return to;
	for (size_t i = 0; i < m->n_queue; i++) {
		const Ckpt__UnixMessage *q = m->queue[i];
		const struct ckpt_object *sender =
			q->has_from ? ckpt_unix_find(site->snap, obj, &q->from, 0) : NULL;
		int fd, r;

		if (!sender && nobody < 0)
			nobody = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (!sender && nobody >= 0)
			ckpt_socket_widen(nobody);
		fd = sender ? site->ops->fd_of(site, sender->id, err) : nobody;
		if (fd < 0)
			return sender ? fd :
					ckpt_fail(err, -errno, "unix %u: cannot create a sender",
						  obj->id);
		r = ckpt_unix_put(site, fd, to, &name, false, q, err);
		if (r < 0)
			return ckpt_in(err, r, "unix %u", obj->id);
	}
	return 0;
}

/* Only now: a datagram socket that is connected takes nothing from others. */
static int connect_datagrams(struct ckpt_site *site, const struct ckpt_object *obj,
			     struct ckpt_err *err)
{
	const Ckpt__Unix *m = ckpt_unix_message_of(obj);
	const struct ckpt_object *peer = ckpt_unix_peer(site->snap, obj);
	struct ckpt_unix_name name = { .name = m->peer_name.data,
				       .len = m->has_peer_name ? m->peer_name.len : 0 };
	int fd = site->ops->fd_of(site, obj->id, err);

	if (fd < 0)
		return fd;
	if (peer)
		name = ckpt_unix_name_of(ckpt_unix_message_of(peer));
	return ckpt_in(err, ckpt_unix_connect(fd, &name, err), "unix %u", obj->id);
}

/* Will the process that listened listen again, when it is there? */
static bool listens_itself(struct ckpt_site *site, const struct ckpt_object *obj)
{
	const struct ckpt_task *task = ckpt_snapshot_task(site->snap, obj->task);
	const Ckpt__Unix *m = ckpt_unix_message_of(obj);

	return task && (!m->creds || m->creds->pid == task->pid);
}

/* Connects who waited to be accepted, in order. */
static int connect_pending(struct ckpt_site *site, const struct ckpt_object *obj,
			   struct ckpt_err *err)
{
	const Ckpt__Unix *m = ckpt_unix_message_of(obj);
	struct ckpt_unix_name name = ckpt_unix_name_of(m);
	int fd = site->ops->fd_of(site, obj->id, err), r = fd;

	for (size_t i = 0; r >= 0 && i < m->n_pending; i++) {
		const struct ckpt_object *from = ckpt_unix_pending(site->snap, obj, i);
		const Ckpt__Unix *theirs = ckpt_unix_message_of(from);

		/* There may be more than there is room for: it was made smaller. */
		r = ckpt_unix_listen(fd, m->n_pending, theirs->creds, err);
		if (r >= 0)
			r = site->ops->fd_of(site, from->id, err);
		if (r >= 0)
			r = ckpt_unix_connect_as(r, &name, theirs->connector, NULL, err);
	}
	if (r >= 0 && !listens_itself(site, obj))
		r = ckpt_unix_listen(fd, m->backlog, m->creds, err);
	return ckpt_in(err, r < 0 ? r : 0, "unix %u", obj->id);
}

/* Does another socket have a file of that name that stays, or that is still connected to? */
static bool is_needed(const struct ckpt_snapshot *snap, const struct ckpt_object *obj)
{
	for (size_t i = 0; i < snap->n_objects; i++)
		if (snap->objects[i]->kind == obj->kind && snap->objects[i] != obj &&
		    (ckpt_unix_message_of(snap->objects[i])->has_mode ||
		     ckpt_unix_message_of(snap->objects[i])->n_pending) &&
		    ckpt_unix_equal(&ckpt_unix_message_of(snap->objects[i])->name,
				    &ckpt_unix_message_of(obj)->name))
			return true;
	return false;
}

static void unlink_name(struct ckpt_site *site, const struct ckpt_object *obj,
			const struct ckpt_unix_name *name)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;
	int fd = site->ops->fd_of(site, obj->id, &ignored);

	if (fd >= 0)
		ckpt_unix_unlink(fd, name);
}

static int fill_and_connect(struct ckpt_site *site, const struct ckpt_object *obj,
			    struct ckpt_err *err)
{
	const Ckpt__Unix *m = ckpt_unix_message_of(obj);
	struct ckpt_unix_name name = ckpt_unix_name_of(m);
	int r = 0;

	if (ckpt_unix_paired(site->snap, obj)) {
		if (ckpt_unix_stage(site->snap, obj) > CKPT_UNIX_AT_CREATE)
			r = finish_later(site, obj, err);
	} else if (m->type == SOCK_DGRAM) {
		r = send_all(site, obj, err);
		if (r >= 0 && m->state == CONNECTED)
			r = connect_datagrams(site, obj, err);
	}
	if (r >= 0 && m->state == LISTENING)
		r = connect_pending(site, obj, err);
	if (r >= 0 && m->path && !m->has_mode && !is_needed(site->snap, obj))
		unlink_name(site, obj, &name);
	return r;
}

static int link_up(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	return ckpt_unix_stage(site->snap, obj) < CKPT_UNIX_AT_ATTACH ?
		       fill_and_connect(site, obj, err) :
		       0;
}

/* When nobody has to send or connect any more. Listening again tells clients the process that does
 * it (SO_PEERCRED). */
static int attach(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Unix *m = ckpt_unix_message_of(obj);
	int fd = site->ops->fd_of(site, obj->id, err), r = 0;

	if (fd >= 0 && ckpt_unix_stage(site->snap, obj) == CKPT_UNIX_AT_ATTACH)
		r = fill_and_connect(site, obj, err);
	if (fd < 0 || r < 0)
		return fd < 0 ? fd : r;
	if (m->state == LISTENING && listens_itself(site, obj))
		r = ckpt_unix_listen(fd, m->backlog, m->creds, err);
	if (r < 0)
		return ckpt_in(err, r, "unix %u", obj->id);
	return m->state != CONNECTED || m->waits || m->type == SOCK_DGRAM ? shut(fd, obj, err) : 0;
}

const struct ckpt_kind ckpt_kind_unix = {
	.name = "unix",
	.scope = CKPT_PER_FILE,
	.message = &ckpt__unix__descriptor,
	.match = match,
	.collect = collect,
	.plan = ckpt_unix_plan,
	.create = create,
	.link = link_up,
	.attach = attach,
};
