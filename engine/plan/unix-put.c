/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts messages into the queues of Unix sockets again, with the descriptors and credentials that
 * came along. A process may be named that is not the sender, by the privileged, if it exists.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include "engine/capture/unix-queue.h"
#include "engine/model/object.h"
#include "engine/plan/unix.h"

/* What goes along with a message. */
struct along {
	size_t len;
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(CKPT_UNIX_MAX_RIGHTS * sizeof(int)) +
			  CMSG_SPACE(sizeof(struct ucred))];
	} control;
};

static void add(struct along *a, int type, const void *data, size_t len)
{
	struct cmsghdr *c = (void *)(a->control.room + a->len);

	memset(c, 0, CMSG_SPACE(len));
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	a->len += CMSG_SPACE(len);
}

static int gather(struct ckpt_site *site, const Ckpt__UnixMessage *q, struct along *a,
		  struct ckpt_err *err)
{
	struct ucred creds = { .pid = q->pid, .uid = q->uid, .gid = q->gid };
	int rights[CKPT_UNIX_MAX_RIGHTS];

	a->len = 0;
	if (q->has_pid)
		add(a, SCM_CREDENTIALS, &creds, sizeof(creds));
	for (size_t i = 0; i < q->n_rights; i++) {
		rights[i] = site->ops->fd_of(site, q->rights[i], err);
		if (rights[i] < 0)
			return ckpt_in(err, rights[i], "in flight");
	}
	if (q->n_rights)
		add(a, SCM_RIGHTS, rights, q->n_rights * sizeof(int));
	return 0;
}

static int send_one(int fd, const struct ckpt_unix_name *name, struct msghdr *h,
		    struct ckpt_err *err)
{
	ssize_t n;

	if (name)
		return ckpt_unix_send(fd, name, h, err);
	n = sendmsg(fd, h, MSG_DONTWAIT | MSG_NOSIGNAL);
	return n < 0 ? ckpt_fail(err, -errno, "cannot fill its queue") : (int)n;
}

/* With SO_PASSCRED on either side our own credentials would go along. */
static int hush(int fd, int on)
{
	socklen_t len = sizeof(int);
	int was = 0;

	getsockopt(fd, SOL_SOCKET, SO_PASSCRED, &was, &len);
	if (was != on)
		setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
	return was;
}

static int put(struct ckpt_site *site, int from, const struct ckpt_unix_name *name, bool stream,
	       const Ckpt__UnixMessage *q, struct ckpt_err *err)
{
	struct along a;
	size_t at = 0;
	int r = gather(site, q, &a, err);

	if (r < 0)
		return r;
	do {
		struct iovec iov = { q->data.data + at, q->data.len - at };
		struct msghdr h = { .msg_iov = &iov,
				    .msg_iovlen = 1,
				    .msg_control = a.len ? &a.control : NULL,
				    .msg_controllen = a.len };

		r = send_one(from, name, &h, err);
		if (r == -EPERM && q->has_pid)
			return ckpt_refuse(err, CKPT_E_PRIVILEGE, r,
					   "credentials of process %d, %u:%u: not permitted",
					   q->pid, q->uid, q->gid);
		if (r < 0)
			return r;
		at += r;
		a.len = q->has_pid ? CMSG_SPACE(sizeof(struct ucred)) : 0;
	} while (stream && at < q->data.len);
	return 0;
}

int ckpt_unix_put(struct ckpt_site *site, int from, int to, const struct ckpt_unix_name *name,
		  bool stream, const Ckpt__UnixMessage *q, struct ckpt_err *err)
{
	int from_was = hush(from, 0), to_was = hush(to, 0);
	int r = put(site, from, name, stream, q, err);

	hush(from, from_was);
	hush(to, to_was);
	return r;
}

static enum ckpt_unix_stage stage_of(const struct ckpt_object *obj)
{
	const Ckpt__Unix *m = ckpt_unix_message_of(obj);
	enum ckpt_unix_stage stage = CKPT_UNIX_AT_CREATE;

	for (size_t i = 0; i < m->n_queue; i++) {
		if (m->queue[i]->n_rights && stage < CKPT_UNIX_AT_LINK)
			stage = CKPT_UNIX_AT_LINK;
		if (m->queue[i]->has_pid)
			stage = CKPT_UNIX_AT_ATTACH;
	}
	return stage;
}

enum ckpt_unix_stage ckpt_unix_stage(const struct ckpt_snapshot *snap,
				     const struct ckpt_object *obj)
{
	const struct ckpt_object *peer = ckpt_unix_paired(snap, obj) ? ckpt_unix_peer(snap, obj) :
								       NULL;
	enum ckpt_unix_stage mine = stage_of(obj), theirs = peer ? stage_of(peer) : mine;

	return mine > theirs ? mine : theirs;
}
