/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams behind the first can be peeked at only by moving SO_PEEK_OFF, which belongs to the
 * target. That is done by a process of its own that shares our memory: should ckpt be killed, it
 * still puts the offset back.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/capture/unix-diag.h"

#define STACK (64 * 1024)
#define NAME_AT offsetof(struct sockaddr_un, sun_path)

static void take_attribute(struct ckpt_unix_diag *d, unsigned int type, const void *data,
			   size_t len)
{
	if (type == UNIX_DIAG_PEER && len >= sizeof(d->peer)) {
		d->has_peer = true;
		memcpy(&d->peer, data, sizeof(d->peer));
	} else if (type == UNIX_DIAG_VFS && len >= sizeof(struct unix_diag_vfs)) {
		d->has_file = true;
		d->file_ino = ((const struct unix_diag_vfs *)data)->udiag_vfs_ino;
	} else if (type == UNIX_DIAG_RQLEN && len >= sizeof(struct unix_diag_rqlen)) {
		d->waiting = ((const struct unix_diag_rqlen *)data)->udiag_rqueue;
		d->backlog = ((const struct unix_diag_rqlen *)data)->udiag_wqueue;
	} else if (type == UNIX_DIAG_SHUTDOWN && len >= 1) {
		d->shutdown = *(const uint8_t *)data;
	}
}

static void take_apart(struct ckpt_unix_diag *d, const struct nlmsghdr *h)
{
	const struct unix_diag_msg *m = (const void *)((const char *)h + NLMSG_HDRLEN);
	size_t at = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(*m));

	*d = (struct ckpt_unix_diag){ .type = m->udiag_type, .state = m->udiag_state };
	while (at + sizeof(struct nlattr) <= h->nlmsg_len) {
		const struct nlattr *a = (const void *)((const char *)h + at);

		if (a->nla_len < sizeof(*a) || at + a->nla_len > h->nlmsg_len)
			break;
		take_attribute(d, a->nla_type & NLA_TYPE_MASK, a + 1, a->nla_len - sizeof(*a));
		at += NLA_ALIGN(a->nla_len);
	}
}

int ckpt_unix_diag(uint32_t ino, struct ckpt_unix_diag *diag, struct ckpt_err *err)
{
	struct {
		struct nlmsghdr h;
		struct unix_diag_req r;
	} ask = {
		.h = { .nlmsg_len = sizeof(ask),
		       .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		       .nlmsg_flags = NLM_F_REQUEST },
		.r = { .sdiag_family = AF_UNIX,
		       .udiag_states = ~0u,
		       .udiag_ino = ino,
		       .udiag_cookie = { ~0u, ~0u },
		       .udiag_show = UDIAG_SHOW_VFS | UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN },
	};
	union {
		struct nlmsghdr h;
		char room[4096];
	} answer;
	CKPT_FD fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	ssize_t n;

	if (fd < 0 || send(fd, &ask, sizeof(ask), 0) < 0)
		return ckpt_refuse(err, CKPT_E_KERNEL_FEATURE, -errno,
				   "Unix sockets: cannot ask for them: %s (sock_diag)",
				   strerror(errno));
	n = recv(fd, &answer, sizeof(answer), 0);
	if (n < (ssize_t)sizeof(answer.h) || answer.h.nlmsg_len > (size_t)n)
		return ckpt_fail(err, n < 0 ? -errno : -EBADMSG,
				 "Unix socket %u: no answer of sock_diag", ino);
	if (answer.h.nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *e = (const void *)(answer.room + NLMSG_HDRLEN);
		int code = e->error;

		if (code == -ENOENT)
			return ckpt_fail(err, code, "Unix socket %u: not in this network namespace",
					 ino);
		return ckpt_refuse(err, CKPT_E_KERNEL_FEATURE, code,
				   "Unix sockets: cannot ask for them: %s (unix_diag)",
				   strerror(-code));
	}
	if (answer.h.nlmsg_len < NLMSG_HDRLEN + sizeof(struct unix_diag_msg))
		return ckpt_fail(err, -EBADMSG, "Unix socket %u: bad answer of sock_diag", ino);
	take_apart(diag, &answer.h);
	return 0;
}

/* What the process of its own gets and gives. */
struct peek {
	struct ckpt_arena *arena;
	struct ckpt_unix_queue *queue;
	int fd, type, old;
	size_t left;    /* of a stream: bytes in it */
	int code;       /* negative errno, or 0 */
	bool in_flight; /* descriptors or credentials come along */
};

static struct ckpt_unix_message *new_message(struct peek *p, size_t len)
{
	struct ckpt_unix_queue *q = p->queue;

	if (q->n == q->room) {
		struct ckpt_unix_message *more =
			ckpt_alloc(p->arena, (q->room = 2 * q->room + 4) * sizeof(*more));

		for (size_t i = 0; i < q->n; i++)
			more[i] = q->v[i];
		q->v = more;
	}
	q->v[q->n] =
		(struct ckpt_unix_message){ .data = ckpt_alloc(p->arena, len + 1), .len = len };
	return &q->v[q->n++];
}

static ssize_t receive(struct peek *p, void *buf, size_t len, struct sockaddr_un *from,
		       socklen_t *from_lenp)
{
	struct iovec iov = { buf, len };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_name = from,
			    .msg_namelen = from ? sizeof(*from) : 0 };
	ssize_t n = recvmsg(p->fd, &m, MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC);

	/* No room was given for them. */
	p->in_flight |= n >= 0 && m.msg_flags & MSG_CTRUNC;
	if (from)
		*from_lenp = m.msg_namelen;
	return n < 0 ? -errno : n;
}

/* Without an offset a peek at a stream goes through the whole queue, but stops where descriptors
 * come along. */
static int peek_stream(struct peek *p)
{
	struct ckpt_unix_message *m;
	ssize_t n;

	if (!p->left)
		return 0;
	m = new_message(p, p->left);
	n = receive(p, m->data, m->len, NULL, NULL);
	if (n >= 0 && (size_t)n != p->left)
		p->in_flight = true;
	return n < 0 ? n : 0;
}

static int set_offset(struct peek *p, int offset)
{
	return setsockopt(p->fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset)) < 0 ? -errno : 0;
}

/* The message at that offset of the queue: 1, or 0 at its end. */
static int peek_message(struct peek *p, int offset)
{
	struct ckpt_unix_message *m;
	struct sockaddr_un from;
	socklen_t from_len;
	int r = set_offset(p, offset);
	ssize_t len = r < 0 ? r : receive(p, NULL, 0, &from, &from_len), n = len;

	if (len == -EAGAIN)
		return 0;
	if (len < 0)
		return len;
	if ((size_t)len + STACK > ckpt_arena_left(p->arena))
		return -ENOMEM;
	m = new_message(p, len);
	/* An empty one is shown only once. */
	if (len)
		r = set_offset(p, offset);
	if (r >= 0 && len)
		n = receive(p, m->data, len, NULL, NULL);
	if (r < 0 || n != len)
		return r < 0 ? r : n < 0 ? n : -EIO;
	m->from_len = from_len > NAME_AT ? from_len - NAME_AT : 0;
	m->from = memcpy(ckpt_alloc(p->arena, m->from_len + 1), from.sun_path, m->from_len);
	return 1;
}

static bool at_end(const struct peek *p)
{
	struct pollfd f = { .fd = p->fd, .events = POLLIN | POLLRDHUP };

	return p->type == SOCK_SEQPACKET && poll(&f, 1, 0) == 1 &&
	       f.revents & (POLLRDHUP | POLLHUP);
}

/* At its end a SOCK_SEQPACKET socket goes on giving empty messages. */
static int peek_messages(struct peek *p)
{
	bool end = at_end(p);
	int offset = 0, r;

	do {
		r = peek_message(p, offset);
		if (r == 1) {
			offset += p->queue->v[p->queue->n - 1].len;
			if (end && !p->queue->v[p->queue->n - 1].len)
				p->queue->n--, r = 0;
		}
	} while (r == 1 && !p->in_flight);
	return r;
}

static int in_own_process(void *arg)
{
	struct peek *p = arg;
	int r;

	if (p->type == SOCK_STREAM) {
		p->code = set_offset(p, 0);
		if (p->code >= 0)
			p->code = peek_stream(p);
	} else {
		p->code = peek_messages(p);
	}
	r = set_offset(p, p->old);
	if (p->code >= 0)
		p->code = r;
	return 0;
}

/* A Ctrl-C must not end it half-way either. */
static int run(struct peek *p, struct ckpt_err *err)
{
	char *stack = ckpt_alloc(p->arena, STACK);
	sigset_t all, old;
	int status = 0;
	pid_t pid;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	pid = clone(in_own_process, stack + STACK, CLONE_VM | CLONE_FILES | CLONE_VFORK, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (pid < 0)
		return ckpt_fail(err, -errno, "cannot start a process");
	if (waitpid(pid, &status, __WCLONE) != pid || status)
		return ckpt_fail(err, -EIO, "the process that looked into it ended early");
	return 0;
}

/* Asking with a peek would make an empty message invisible. */
static bool may_have_messages(const struct peek *p)
{
	struct pollfd f = { .fd = p->fd, .events = POLLIN };

	return poll(&f, 1, 0) != 0;
}

int ckpt_unix_peek(struct ckpt_arena *arena, int fd, int type, struct ckpt_unix_queue *queue,
		   struct ckpt_err *err)
{
	struct peek p = { .arena = arena, .queue = queue, .fd = fd, .type = type, .old = -1 };
	socklen_t len = sizeof(p.old);
	int n = 0, r = 0;

	*queue = (struct ckpt_unix_queue){ 0 };
	if (getsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &p.old, &len) < 0 ||
	    ioctl(fd, FIONREAD, &n) < 0)
		return ckpt_fail(err, -errno, "cannot ask what is in its queue");
	p.left = n;
	if (type == SOCK_STREAM && p.old < 0)
		p.code = peek_stream(&p);
	else if (type == SOCK_STREAM ? n : may_have_messages(&p))
		r = run(&p, err);
	if (r < 0)
		return r;
	if (p.in_flight)
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
				   "descriptors or credentials in flight are in its queue");
	return p.code < 0 ? ckpt_fail(err, p.code, "cannot look into its queue") : 0;
}
