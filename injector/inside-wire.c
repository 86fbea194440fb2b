/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to a parked process, and its answers. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "injector/inside-tree.h"
#include "injector/ptrace.h"

#define BACKLOG 128
#define LOOK_MS 100 /* between two looks at who does not answer */
#define ANSWER_S 60 /* no call and no copy takes as long */
#define WHY_MAX 500 /* the library keeps a little more */

static int gone(const struct ckpt_member *m, struct ckpt_err *err)
{
	return ckpt_refuse(err, CKPT_E_VANISHED, -ECONNRESET,
			   "process %d: it has gone on, or ended, in the middle of the checkpoint",
			   m->pid);
}

void ckpt_inside_limit(const struct ckpt_member *m)
{
	const struct timeval tv = { 0, LOOK_MS * 1000 };

	setsockopt(m->sock, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
}

/* Nothing came between two looks. Who is stopped goes back to work when he is continued. */
static int check_late(const struct ckpt_member *m, unsigned int looks, struct ckpt_err *err)
{
	struct ckpt_proc_stat st;

	if (ckpt_proc_stat(m->acts, &st) == 0 && st.state == 'T')
		return ckpt_refuse(err, CKPT_E_STOPPED, -ECONNRESET,
				   "process %d: it was stopped in the middle of the checkpoint",
				   m->pid);
	if (looks < ANSWER_S * 1000 / LOOK_MS)
		return 0;
	return ckpt_refuse(
		err, CKPT_E_NO_ANSWER, -ECONNRESET,
		"process %d: it has not answered for %d s in the middle of the checkpoint", m->pid,
		ANSWER_S);
}

int64_t ckpt_inside_receive(struct ckpt_inside *in, const struct ckpt_member *m, int *fdp,
			    struct ckpt_err *err)
{
	union {
		struct cmsghdr hdr;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov[2] = { { &in->reply, sizeof(in->reply) }, { in->data, sizeof(in->data) } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	unsigned int looks = 0;
	ssize_t n;

	if (fdp) {
		*fdp = -1;
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_LEN(sizeof(int)); /* for one, and no more */
	}
	while ((n = recvmsg(m->sock, &msg, MSG_CMSG_CLOEXEC)) < 0 &&
	       (errno == EINTR || errno == EAGAIN))
		if (errno == EAGAIN && check_late(m, ++looks, err) < 0) {
			shutdown(m->sock, SHUT_RDWR); /* an answer that comes now is none */
			return err->code;
		}
	if (n < (ssize_t)sizeof(in->reply) || in->reply.len != n - sizeof(in->reply))
		return gone(m, err);
	if (fdp && CMSG_FIRSTHDR(&msg))
		memcpy(fdp, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(*fdp));
	return in->reply.ret;
}

static bool send_request(const struct ckpt_member *m, const struct ckpt_wire_request *req,
			 const void *data)
{
	struct iovec iov[2] = { { (void *)req, sizeof(*req) }, { (void *)data, req->len } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n;

	do
		n = sendmsg(m->sock, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n >= 0;
}

int ckpt_inside_send(const struct ckpt_member *m, const struct ckpt_wire_request *req,
		     const void *data, struct ckpt_err *err)
{
	return m->sock < 0 || !send_request(m, req, data) ? gone(m, err) : 0;
}

int64_t ckpt_inside_ask(struct ckpt_inside *in, struct ckpt_member *m,
			const struct ckpt_wire_request *req, const void *data, int *fdp,
			struct ckpt_err *err)
{
	int r = ckpt_inside_send(m, req, data, err);

	if (r >= 0)
		r = ckpt_inside_copy_take(in, m, err);
	return r < 0 ? r : ckpt_inside_receive(in, m, fdp, err);
}

int64_t ckpt_inside_request(struct ckpt_inside *in, pid_t tid, struct ckpt_wire_request *req,
			    const void *data, void *buf, size_t size, int *fdp,
			    struct ckpt_err *err)
{
	struct ckpt_member *m = ckpt_inside_of_thread(in, tid);
	int64_t r;

	if (!m || m->state != CKPT_MEMBER_PARKED)
		return ckpt_fail(err, -ESRCH,
				 "thread %d: cannot find it among those that are parked", tid);
	req->tid = ckpt_inside_acts(in, tid);
	pthread_mutex_lock(&in->lock);
	r = ckpt_inside_ask(in, m, req, data, fdp, err);
	/* What it says it has read must be there. */
	if (r > in->reply.len && (req->verb == CKPT_WIRE_READ || req->verb == CKPT_WIRE_LINK))
		r = -EBADMSG;
	if (r != -ECONNRESET && buf)
		memcpy(buf, in->data, in->reply.len < size ? in->reply.len : size);
	pthread_mutex_unlock(&in->lock);
	return r;
}

int ckpt_inside_hello(int sock, struct ckpt_wire_hello *hello, int32_t *tids, size_t max)
{
	struct iovec iov[2] = { { hello, sizeof(*hello) }, { tids, max * sizeof(*tids) } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n;

	do
		n = recvmsg(sock, &msg, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n < (ssize_t)sizeof(*hello) || hello->version != CKPT_WIRE_VERSION ||
	    !hello->n_threads || (n - sizeof(*hello)) / sizeof(*tids) != hello->n_threads)
		return -EBADMSG;
	return 0;
}

void ckpt_inside_tell_go(const struct ckpt_member *m, bool done, const char *why)
{
	struct ckpt_wire_request req = { .verb = CKPT_WIRE_GO, .arg = { done }, .buf_arg = -1 };
	char text[WHY_MAX];

	if (m->sock < 0)
		return;
	snprintf(text, sizeof(text), "%s", why);
	req.len = done ? 0 : strlen(text) + 1;
	if (m->state == CKPT_MEMBER_PARKED && send_request(m, &req, text) && m->toldp)
		*m->toldp = true;
}

void ckpt_inside_go(struct ckpt_member *m, bool done, const char *why)
{
	ckpt_inside_tell_go(m, done, why);
	ckpt_close_fd(&m->sock);
	m->sock = -1;
}

int ckpt_inside_listen(struct ckpt_inside *in, struct ckpt_err *err)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	uint32_t random;
	int fd, n;

	ckpt_close_fd(&in->listener);
	in->listener = -1;
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return ckpt_fail(err, -errno, "cannot make a token");
	in->token_at = ckpt_now_ns();
	in->token = (uint64_t)random << 32 | (uint32_t)((in->token_at + in->clock_ahead) / 1000000);
	n = snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, CKPT_WIRE_NAME,
		     (unsigned long long)in->token);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return ckpt_fail(err, -errno, "cannot make a socket");
	in->listener = fd;
	if (bind(fd, (struct sockaddr *)&name, offsetof(struct sockaddr_un, sun_path) + 1 + n) <
		    0 ||
	    listen(fd, BACKLOG) < 0)
		return ckpt_fail(err, -errno, "cannot listen on a socket");
	return 0;
}
