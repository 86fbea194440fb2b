/* SPDX-License-Identifier: Apache-2.0 */
/* Who belongs to whom among the Unix sockets of a snapshot, and which of them cannot be restored.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "engine/base/cleanup.h"
#include "engine/capture/socket.h"
#include "engine/capture/unix-queue.h"
#include "engine/model/object.h"
#include "engine/plan/host.h"
#include "engine/plan/path.h"
#include "engine/plan/unix.h"

#define LISTENING CKPT__UNIX__STATE__LISTENING
#define CONNECTED CKPT__UNIX__STATE__CONNECTED
#define BOTH_WAYS 3u

const Ckpt__Unix *ckpt_unix_message_of(const struct ckpt_object *obj)
{
	return (const void *)obj->msg;
}

struct ckpt_unix_name ckpt_unix_name_of(const Ckpt__Unix *m)
{
	return (struct ckpt_unix_name){
		.name = m->name.data,
		.len = m->has_name ? m->name.len : 0,
		.path = m->path,
		.cwd = m->cwd,
		.has_file = m->has_mode,
		.moved = m->moved,
		.mode = m->moved ? m->moved_mode : m->mode,
		.uid = m->moved ? m->moved_uid : m->uid,
		.gid = m->moved ? m->moved_gid : m->gid,
	};
}

bool ckpt_unix_equal(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
	return a->len == b->len && !memcmp(a->data, b->data, a->len);
}

const struct ckpt_object *ckpt_unix_peer(const struct ckpt_snapshot *snap,
					 const struct ckpt_object *obj)
{
	for (size_t i = 0; ckpt_unix_message_of(obj)->peer && i < snap->n_objects; i++)
		if (snap->objects[i]->kind == obj->kind &&
		    snap->objects[i]->file.ino == ckpt_unix_message_of(obj)->peer)
			return snap->objects[i];
	return NULL;
}

/* Also one that was refused, whose kind has no functions. */
static bool is_unix(const struct ckpt_object *o, const struct ckpt_object *obj)
{
	return o->kind->message == obj->kind->message;
}

const struct ckpt_object *ckpt_unix_pending(const struct ckpt_snapshot *snap,
					    const struct ckpt_object *obj, size_t i)
{
	for (size_t k = 0; k < snap->n_objects; k++) {
		const struct ckpt_object *o = snap->objects[k];

		if (is_unix(o, obj) && ckpt_unix_message_of(o)->waits &&
		    o->file.ino == ckpt_unix_message_of(obj)->pending[i])
			return o;
	}
	return NULL;
}

/* One of a pair, or what is left of it. */
bool ckpt_unix_paired(const struct ckpt_snapshot *snap, const struct ckpt_object *obj)
{
	const Ckpt__Unix *m = ckpt_unix_message_of(obj);
	const struct ckpt_object *peer = ckpt_unix_peer(snap, obj);

	if (m->state != CONNECTED || m->waits)
		return false;
	return m->type != SOCK_DGRAM || !m->peer ||
	       (peer && ckpt_unix_message_of(peer)->peer == obj->file.ino);
}

/* Another socket of that type with that name: the listener of an accepted one, the sender of a
 * datagram. */
const struct ckpt_object *ckpt_unix_find(const struct ckpt_snapshot *snap,
					 const struct ckpt_object *obj,
					 const ProtobufCBinaryData *name, Ckpt__Unix__State state)
{
	for (size_t i = 0; i < snap->n_objects; i++) {
		const struct ckpt_object *other = snap->objects[i];
		const Ckpt__Unix *m = ckpt_unix_message_of(other);

		if (other->kind == obj->kind && m->type == ckpt_unix_message_of(obj)->type &&
		    m->has_name && ckpt_unix_equal(&m->name, name) &&
		    (state != LISTENING || m->state == LISTENING))
			return other;
	}
	return NULL;
}

const struct ckpt_object *ckpt_unix_listener(const struct ckpt_snapshot *snap,
					     const struct ckpt_object *obj)
{
	const Ckpt__Unix *m = ckpt_unix_message_of(obj);

	if (m->state != CONNECTED || m->type == SOCK_DGRAM || !m->has_name)
		return NULL;
	return ckpt_unix_find(snap, obj, &m->name, LISTENING);
}

static int check(const struct ckpt_object *obj, const Ckpt__Unix *m, struct ckpt_err *err)
{
	struct ckpt_unix_name name = ckpt_unix_name_of(m);
	bool ok = m->type == SOCK_STREAM || m->type == SOCK_DGRAM || m->type == SOCK_SEQPACKET;

	ok &= ckpt_unix_name_sane(&name);
	ok &= !m->has_peer_name || (m->peer_name.len && m->peer_name.len <= CKPT_UNIX_NAME_MAX);
	ok &= m->shutdown <= BOTH_WAYS && m->backlog <= INT_MAX;
	ok &= m->state == CONNECTED || (!m->has_peer && !m->waits);
	ok &= !m->waits || (m->type != SOCK_DGRAM && !m->peer && !m->n_queue);
	ok &= m->state == LISTENING || !m->n_pending;
	ok &= m->state != LISTENING || (m->has_name && m->type != SOCK_DGRAM && !m->n_queue);
	/* Who was not made as a pair has connected to a name. */
	ok &= m->type != SOCK_DGRAM || m->state != CONNECTED || m->peer || m->creds ||
	      m->has_peer_name;
	ok &= ckpt_unix_creds_sane(m->creds) && ckpt_unix_creds_sane(m->connector);
	ok = ok && m->socket && ckpt_socket_sane(m->socket);
	for (size_t i = 0; i < m->n_queue; i++)
		ok &= m->queue[i]->from.len <= CKPT_UNIX_NAME_MAX &&
		      m->queue[i]->n_rights <= CKPT_UNIX_MAX_RIGHTS;
	return ok ? 0 : ckpt_fail(err, -EBADMSG, "unix %u: bad state", obj->id);
}

/* The peer is in the tree and has been refused: its object has a kind without functions. */
static bool peer_was_refused(const struct ckpt_snapshot *snap, const struct ckpt_object *obj)
{
	for (size_t i = 0; i < snap->n_objects; i++)
		if (snap->objects[i]->kind != obj->kind && is_unix(snap->objects[i], obj) &&
		    snap->objects[i]->file.ino == ckpt_unix_message_of(obj)->peer)
			return true;
	return false;
}

static void plan_external(struct ckpt_planner *p, const struct ckpt_object *obj,
			  const Ckpt__Unix *m)
{
	struct ckpt_unix_name peer = { .name = m->peer_name.data,
				       .len = m->has_peer_name ? m->peer_name.len : 0 };
	char who[CKPT_WHO], name[PATH_MAX];
	struct stat st;

	/* Nobody knows that a datagram socket is connected to him, so it can be done again. */
	if (m->type == SOCK_DGRAM && m->has_peer_name &&
	    (!m->peer_name.data[0] || m->peer_name.data[0] == '/')) {
		if (m->peer_name.data[0]) {
			snprintf(name, sizeof(name), "%.*s", (int)m->peer_name.len,
				 (char *)m->peer_name.data);
			if (ckpt_planner_host(p) && stat(name, &st) < 0)
				ckpt_path_here(p, obj, name, S_IFSOCK, O_WRONLY, &st);
		}
		return;
	}
	ckpt_problem(p, CKPT_E_EXTERNAL_PEER,
		     "%ssocket:[%llu]: it is connected to a process outside of the tree "
		     "(socket:[%llu]%s%s)",
		     ckpt_path_who(p, obj, who, sizeof(who)), (unsigned long long)obj->file.ino,
		     (unsigned long long)m->peer, peer.len ? " " : "",
		     ckpt_unix_name_show(&peer, name, sizeof(name)));
}

/* Only the peer, or who is sought by name, can put a datagram into the queue again. */
static int plan_queue(const struct ckpt_snapshot *snap, const struct ckpt_object *obj,
		      const Ckpt__Unix *m, struct ckpt_err *err)
{
	const struct ckpt_object *peer = ckpt_unix_peer(snap, obj);
	bool paired = ckpt_unix_paired(snap, obj);

	if (m->type != SOCK_DGRAM)
		return 0;
	for (size_t i = 0; i < m->n_queue; i++) {
		const Ckpt__UnixMessage *q = m->queue[i];
		bool from_peer = peer && ckpt_unix_message_of(peer)->has_name == q->has_from &&
				 (!q->has_from ||
				  ckpt_unix_equal(&ckpt_unix_message_of(peer)->name, &q->from));

		if (paired && (peer ? !from_peer : q->has_from))
			return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
					   "socket:[%llu]: it holds a message of another "
					   "socket than its peer",
					   (unsigned long long)obj->file.ino);
		if (!paired && (!m->has_name || (m->path && !m->has_mode)))
			return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
					   "socket:[%llu]: it holds messages, and can be "
					   "sent none any more",
					   (unsigned long long)obj->file.ino);
		if (!paired && q->has_from && !ckpt_unix_find(snap, obj, &q->from, 0))
			return ckpt_refuse(err, CKPT_E_EXTERNAL_PEER, -EOPNOTSUPP,
					   "socket:[%llu]: it holds a message of a "
					   "process outside of the tree",
					   (unsigned long long)obj->file.ino);
	}
	return 0;
}

/* What comes along with messages. */
static void plan_along(struct ckpt_planner *p, const struct ckpt_object *obj, const Ckpt__Unix *m)
{
	const struct ckpt_host *host = ckpt_planner_host(p);
	const struct ckpt_snapshot *snap = ckpt_planner_snapshot(p);

	for (size_t i = 0; i < m->n_queue; i++) {
		const Ckpt__UnixMessage *q = m->queue[i];
		bool there = !q->has_pid;

		for (size_t k = 0; k < q->n_rights; k++)
			ckpt_sends(p, q->rights[k]);
		for (size_t t = 0; t < snap->n_tasks; t++)
			there |= snap->tasks[t]->pid == q->pid;
		if (!there)
			ckpt_problem(p, CKPT_E_IMAGE_DAMAGED,
				     "unix %u: credentials of process %d, which there is not",
				     obj->id, q->pid);
		else if (q->has_pid && host && !host->box &&
			 !ckpt_host_has_cap(host, CAP_SYS_ADMIN))
			ckpt_problem(p, CKPT_E_PRIVILEGE,
				     "socket:[%llu]: credentials of process %d are in its queue: "
				     "that needs CAP_SYS_ADMIN",
				     (unsigned long long)obj->file.ino, q->pid);
	}
	if (ckpt_unix_paired(snap, obj) && !ckpt_unix_peer(snap, obj) &&
	    ckpt_unix_stage(snap, obj) > CKPT_UNIX_AT_CREATE)
		ckpt_keeps_other(p);
}

/* One that waits is connected by the listener that it waits for. */
static void plan_waits(struct ckpt_planner *p, const struct ckpt_object *obj, const Ckpt__Unix *m)
{
	const struct ckpt_snapshot *snap = ckpt_planner_snapshot(p);
	bool found = false;

	for (size_t i = 0; i < snap->n_objects; i++) {
		const struct ckpt_object *o = snap->objects[i];

		for (size_t k = 0; is_unix(o, obj) && k < ckpt_unix_message_of(o)->n_pending; k++)
			found |= ckpt_unix_message_of(o)->pending[k] == obj->file.ino &&
				 ckpt_unix_message_of(o)->type == m->type;
	}
	if (!found)
		plan_external(p, obj, m);
}

static void plan_pending(struct ckpt_planner *p, const struct ckpt_object *obj, const Ckpt__Unix *m)
{
	const struct ckpt_snapshot *snap = ckpt_planner_snapshot(p);
	char who[CKPT_WHO];

	for (size_t i = 0; i < m->n_pending; i++)
		if (!ckpt_unix_pending(snap, obj, i))
			ckpt_problem(p, CKPT_E_NOT_ACCEPTED,
				     "%ssocket:[%llu]: a connection to it that has not been "
				     "accepted yet is of a process outside of the tree "
				     "(socket:[%llu])",
				     ckpt_path_who(p, obj, who, sizeof(who)),
				     (unsigned long long)obj->file.ino,
				     (unsigned long long)m->pending[i]);
}

static int plan_peer(struct ckpt_planner *p, const struct ckpt_object *obj, const Ckpt__Unix *m,
		     struct ckpt_err *err)
{
	const struct ckpt_snapshot *snap = ckpt_planner_snapshot(p);
	const struct ckpt_object *peer = ckpt_unix_peer(snap, obj), *listener;
	bool paired = ckpt_unix_paired(snap, obj);

	if (m->peer && !peer) {
		if (!peer_was_refused(snap, obj))
			plan_external(p, obj, m);
		return 0;
	}
	if (peer == obj || (peer && ckpt_unix_message_of(peer)->type != m->type) ||
	    (m->type != SOCK_DGRAM && peer &&
	     (ckpt_unix_message_of(peer)->state != CONNECTED ||
	      ckpt_unix_message_of(peer)->peer != obj->file.ino)))
		return ckpt_fail(err, -EBADMSG, "unix %u: socket %llu cannot be its peer", obj->id,
				 (unsigned long long)m->peer);
	if (!paired &&
	    (!ckpt_unix_message_of(peer)->has_name ||
	     (ckpt_unix_message_of(peer)->path && !ckpt_unix_message_of(peer)->has_mode)))
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
				   "socket:[%llu]: it is connected to a socket that has no "
				   "name",
				   (unsigned long long)obj->file.ino);
	listener = ckpt_unix_listener(snap, obj);
	if (listener)
		ckpt_needs(p, listener->id);
	if (paired && peer && peer->id < obj->id)
		ckpt_comes_with(p, peer->id);
	return 0;
}

bool ckpt_unix_unseen(const struct ckpt_snapshot *snap, const struct ckpt_object *obj)
{
	const Ckpt__Unix *m = ckpt_unix_message_of(obj);

	if (!m->path || m->has_mode || m->moved || m->state == CONNECTED || m->n_pending ||
	    m->n_queue)
		return false;
	for (size_t i = 0; i < snap->n_objects; i++) {
		const struct ckpt_object *o = snap->objects[i];

		if (o != obj && is_unix(o, obj) &&
		    (ckpt_unix_listener(snap, o) == obj || ckpt_unix_peer(snap, o) == obj))
			return false;
	}
	return true;
}

/* A mount of its own takes these; in a box they are there. */
static bool may_bind_unseen(const struct ckpt_host *host)
{
	return host->box ||
	       (ckpt_host_has_cap(host, CAP_SYS_ADMIN) && ckpt_host_has_cap(host, CAP_SYS_CHROOT));
}

/* Something is in the place of the file of OBJ, which has to be there, if only for a moment. */
static bool is_in_the_way(const Ckpt__Unix *m)
{
	CKPT_FD there = ckpt_path_look(m->path);
	struct stat st;

	return there >= 0 && fstat(there, &st) == 0 && (!S_ISSOCK(st.st_mode) || !m->has_mode);
}

/* A file that is bound anew; accepted sockets have it from their listener. */
static void plan_file(struct ckpt_planner *p, const struct ckpt_object *obj, const Ckpt__Unix *m)
{
	const struct ckpt_host *host = ckpt_planner_host(p);
	struct ckpt_unix_name n = ckpt_unix_name_of(m);
	char who[CKPT_WHO];

	if (!host || !m->path || ckpt_unix_listener(ckpt_planner_snapshot(p), obj))
		return;
	if (ckpt_unix_unseen(ckpt_planner_snapshot(p), obj) && may_bind_unseen(host))
		return;
	ckpt_path_who(p, obj, who, sizeof(who));
	ckpt_path_folder_here(p, obj, m->path);
	if (is_in_the_way(m))
		ckpt_problem(p, CKPT_E_ADDRESS_IN_USE, "%ssocket %s: a file is in its place", who,
			     m->path);
	if ((m->has_mode || m->moved) && (n.uid != host->uid || n.gid != host->gid) &&
	    !ckpt_host_has_cap(host, CAP_CHOWN))
		ckpt_loss(p, "%ssocket %s: will belong to you, not to %u:%u", who,
			  m->moved ? m->moved : m->path, n.uid, n.gid);
}

int ckpt_unix_plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Unix *m = ckpt_unix_message_of(obj);
	int r = check(obj, m, err);

	if (r >= 0)
		r = plan_queue(ckpt_planner_snapshot(p), obj, m, err);
	if (r >= 0 && m->waits)
		plan_waits(p, obj, m);
	else if (r >= 0 && m->state == CONNECTED)
		r = plan_peer(p, obj, m, err);
	if (r >= 0) {
		plan_along(p, obj, m);
		plan_pending(p, obj, m);
		plan_file(p, obj, m);
		ckpt_unix_plan_creds(p, obj, m->creds);
		ckpt_unix_plan_creds(p, obj, m->connector);
	}
	return r;
}
