/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages behind the first can be peeked at only by moving SO_PEEK_OFF, and credentials are told
 * only with SO_PASSCRED; both belong to the target. That is done by a process of its own that
 * shares our memory: should ckpt be killed, it still puts them back.
 */
#include <errno.h>
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
#include "engine/capture/unix-queue.h"

#define STACK (64 * 1024)
#define NAME_AT offsetof(struct sockaddr_un, sun_path)
#define SCM_PIDFD_ 4 /* Linux 6.5 */
#define NO_OFFSET (-1)

/* What the process of its own gets and gives. */
struct peek {
	struct ckpt_arena *arena;
	struct ckpt_unix_queue *queue;
	int fd, type, old, pass;
	size_t left; /* of a stream: bytes in it */
	int code;    /* negative errno, or 0 */
	bool told;   /* the last look told of credentials, or that there are none */
	bool hidden; /* something was not shown */
};

static struct ckpt_unix_message *new_message(struct peek *p, uint8_t *data, size_t len)
{
	struct ckpt_unix_queue *q = p->queue;

	q->v = ckpt_grow(p->arena, q->v, q->n, &q->room, 4, sizeof(*q->v));
	q->v[q->n] = (struct ckpt_unix_message){ .data = data, .len = len };
	return &q->v[q->n++];
}

static void close_all(const int *fd, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (fd[i] >= 0)
			close(fd[i]);
}

/* The kernel says 0 and the overflow ids where there are none. */
static void take_creds(struct ckpt_unix_message *m, const struct ucred *u)
{
	m->has_creds = u->pid || u->uid != 65534 || u->gid != 65534;
	m->pid = u->pid;
	m->uid = u->uid;
	m->gid = u->gid;
}

static void take_along(struct peek *p, struct msghdr *h, struct ckpt_unix_message *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		const int *fd = (const void *)CMSG_DATA(c);
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_PIDFD_)
			close_all(fd, n);
		if (c->cmsg_type == SCM_CREDENTIALS) {
			take_creds(m, (const void *)CMSG_DATA(c));
			p->told = true;
		}
		if (c->cmsg_type != SCM_RIGHTS)
			continue;
		m->rights = memcpy(ckpt_alloc(p->arena, n * sizeof(int)), fd, n * sizeof(int));
		m->n_rights = n;
	}
}

/* One look, at what SO_PEEK_OFF is at. What comes along goes to M. */
static ssize_t look(struct peek *p, void *buf, size_t len, struct sockaddr_un *from,
		    socklen_t *from_lenp, struct ckpt_unix_message *m)
{
	union {
		struct cmsghdr align;
		char room[4096];
	} control;
	struct iovec iov = { buf, len };
	struct msghdr h = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_name = from,
			    .msg_namelen = from ? sizeof(*from) : 0,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(p->fd, &h, MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);

	p->told = false;
	if (n < 0)
		return -errno;
	take_along(p, &h, m);
	p->hidden |= (h.msg_flags & MSG_CTRUNC) != 0;
	if (from)
		*from_lenp = h.msg_namelen;
	return n;
}

static int set_offset(struct peek *p, int offset)
{
	return setsockopt(p->fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset)) < 0 ? -errno : 0;
}

/* How much of the last message of the queue, at OFFSET, was sent before its last buffer: a look
 * that must fail at the last byte shows all buffers but the one that holds it. */
static ssize_t before_last(struct peek *p, int offset)
{
	const struct ckpt_unix_message *m = &p->queue->v[p->queue->n - 1];
	struct iovec iov[] = { { m->data, m->len - 1 }, { (void *)8, 1 } };
	struct msghdr h = { .msg_iov = iov, .msg_iovlen = 2 };
	int r = set_offset(p, offset);
	ssize_t n = r < 0 ? r : recvmsg(p->fd, &h, MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && r >= 0)
		return errno == EFAULT ? 0 : -errno;
	return n;
}

/* A look at a stream ends behind data that descriptors came with, but begins with what was sent
 * before: the last message of the queue becomes two. */
static int split(struct peek *p, int offset)
{
	ssize_t n = before_last(p, offset);
	struct ckpt_unix_message *m;

	if (n <= 0)
		return n;
	m = new_message(p, NULL, 0);
	*m = m[-1];
	m[-1].len = n;
	m[-1].rights = NULL;
	m[-1].n_rights = 0;
	m->data += n;
	m->len -= n;
	return 0;
}

static int peek_stream(struct peek *p)
{
	uint8_t *buf = ckpt_alloc(p->arena, p->left + 1);
	size_t at = 0;
	int r = 0;

	while (r >= 0 && at < p->left) {
		struct ckpt_unix_message *m = new_message(p, buf + at, 0);
		ssize_t n = r = set_offset(p, at);

		if (r >= 0)
			n = look(p, m->data, p->left - at, NULL, NULL, m);
		if (n <= 0) {
			p->queue->n--;
			p->hidden = true;
			return n == -EAGAIN ? 0 : n;
		}
		m->len = n;
		if (m->n_rights)
			r = split(p, at);
		at += n;
	}
	return r;
}

/* The message at that offset of the queue: 1, or 0 at its end, where a SOCK_SEQPACKET socket goes
 * on giving something empty that has come from nobody. */
static int peek_message(struct peek *p, int offset)
{
	struct ckpt_unix_message first = { 0 }, *m;
	struct sockaddr_un from;
	socklen_t from_len;
	int r = set_offset(p, offset);
	ssize_t len = r < 0 ? r : look(p, NULL, 0, &from, &from_len, &first), n = len;

	if (len == -EAGAIN || (!len && !p->told))
		return 0;
	if (len < 0)
		return len;
	m = new_message(p, NULL, len);
	*m = first;
	m->len = len;
	if ((size_t)len + STACK > ckpt_arena_left(p->arena))
		return -ENOMEM;
	m->data = ckpt_alloc(p->arena, len + 1);
	/* An empty one is shown only once. */
	if (len) {
		close_all(m->rights, m->n_rights);
		m->n_rights = 0;
		r = set_offset(p, offset);
	}
	if (r >= 0 && len)
		n = look(p, m->data, len, NULL, NULL, m);
	if (r < 0 || n != len)
		return r < 0 ? r : n < 0 ? n : -EIO;
	m->from_len = from_len > NAME_AT ? from_len - NAME_AT : 0;
	m->from = memcpy(ckpt_alloc(p->arena, m->from_len + 1), from.sun_path, m->from_len);
	return 1;
}

/* Without an offset the first one is shown even if it is empty and has been peeked at before, which
 * no offset shows: those behind it are up to unix-hidden.c. */
static int peek_messages(struct peek *p)
{
	int offset = 0, r = peek_message(p, NO_OFFSET);

	while (r == 1) {
		offset += p->queue->v[p->queue->n - 1].len;
		r = peek_message(p, offset);
	}
	return r;
}

static int in_own_process(void *arg)
{
	struct peek *p = arg;
	int on = 1, r;

	if (!p->pass)
		setsockopt(p->fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
	p->code = p->type == SOCK_STREAM ? peek_stream(p) : peek_messages(p);
	if (!p->pass)
		setsockopt(p->fd, SOL_SOCKET, SO_PASSCRED, &p->pass, sizeof(p->pass));
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

/* Asking with a peek would make an empty message invisible, and take an error that is to be
 * returned first: then -EIO. */
static int may_have_messages(const struct peek *p)
{
	struct pollfd f = { .fd = p->fd, .events = POLLIN };
	int n = poll(&f, 1, 0);

	return n && f.revents & POLLERR ? -EIO : n != 0;
}

static bool is_connected(int fd)
{
	struct sockaddr_un a;
	socklen_t len = sizeof(a);

	return getpeername(fd, (void *)&a, &len) == 0;
}

int ckpt_unix_peek(struct ckpt_arena *arena, int fd, int type, struct ckpt_unix_queue *queue,
		   struct ckpt_err *err)
{
	struct peek p = { .arena = arena, .queue = queue, .fd = fd, .type = type, .old = -1 };
	socklen_t len = sizeof(p.old), pass_len = sizeof(p.pass);
	int n = 0, r = 0;

	*queue = (struct ckpt_unix_queue){ .of_any = type == SOCK_DGRAM && !is_connected(fd) };
	if (getsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &p.old, &len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PASSCRED, &p.pass, &pass_len) < 0 ||
	    ioctl(fd, FIONREAD, &n) < 0)
		return ckpt_fail(err, -errno, "cannot ask what is in its queue");
	p.left = n;
	if (type != SOCK_STREAM)
		n = may_have_messages(&p);
	if (n < 0)
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
				   "an error that nobody has asked for stands before its queue");
	if (n)
		r = run(&p, err);
	if (r < 0)
		return r;
	if (p.hidden)
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
				   "not all that is in its queue can be looked at");
	return p.code < 0 ? ckpt_fail(err, p.code, "cannot look into its queue") : 0;
}

void ckpt_unix_queue_close(struct ckpt_unix_queue *queue)
{
	for (size_t i = 0; i < queue->n; i++) {
		close_all(queue->v[i].rights, queue->v[i].n_rights);
		queue->v[i].n_rights = 0;
	}
}
