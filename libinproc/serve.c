/* SPDX-License-Identifier: Apache-2.0 */
/* Answers the engine: every request is a system call or a copy of something, made here or by a
 * parked thread. Whatever goes wrong with the connection is its end. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include "libinproc/inproc.h"
#include "libinproc/sys.h"
#include "libinproc/wrap.h"

#define RSEQ_SIGNATURE 0x53053053
#define MAGIC1 0x46505853u /* FP_XSTATE_MAGIC1 of <asm/sigcontext.h> */
#define MAGIC1_AT 464      /* in the extended state of a frame: its sw_reserved */
#define XSTATE_SIZE_AT (MAGIC1_AT + 16)
#define FXSAVE_SIZE 512

/* Of libc (2.35); weak: others have none. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

/* One answer: VALUE, LEN bytes of session->out, maybe a descriptor. */
struct answer {
	int64_t value;
	uint32_t len;
	int fd; /* -1: none */
	bool close_fd;
};

static bool send_message(int sock, const struct iovec *iov, int n, int fd)
{
	union {
		struct cmsghdr hdr;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr msg = { .msg_iov = (struct iovec *)iov, .msg_iovlen = n };

	if (fd >= 0) {
		control.hdr.cmsg_level = SOL_SOCKET;
		control.hdr.cmsg_type = SCM_RIGHTS;
		control.hdr.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.hdr), &fd, sizeof(fd));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control.buf);
	}
	return ckpt_sys(SYS_sendmsg, sock, &msg, MSG_NOSIGNAL) >= 0;
}

static bool answer(int sock, const struct answer *a)
{
	struct ckpt_session *s = ckpt_session;
	const struct iovec iov[2] = { { &s->reply, sizeof(s->reply) }, { s->out, a->len } };
	bool ok;

	s->reply = (struct ckpt_wire_reply){ a->value, a->len, 0 };
	ok = send_message(sock, iov, a->len ? 2 : 1, a->fd);
	if (a->close_fd)
		ckpt_sys(SYS_close, a->fd);
	return ok;
}

bool ckpt_answer(int sock, int64_t value, int fd)
{
	const struct answer a = { .value = value, .fd = fd };

	return answer(sock, &a);
}

static struct ckpt_parked *thread(pid_t tid)
{
	struct ckpt_session *s = ckpt_session;

	if (s->leader->tid == tid)
		return s->leader;
	for (struct ckpt_parked *p = s->parked; p; p = p->next)
		if (p->tid == tid)
			return p;
	return NULL;
}

static bool is_childless(void)
{
	return ckpt_sys(SYS_waitid, P_ALL, 0, NULL,
			WEXITED | WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT | __WALL,
			NULL) == -ECHILD;
}

bool ckpt_serve_hello(int fd, enum ckpt_wire_excuse excuse, int32_t value)
{
	struct ckpt_session *s = ckpt_session;
	int32_t *tid = (int32_t *)s->out;
	struct ckpt_wire_range *range = (void *)s->in;
	struct ckpt_wire_hello hello = {
		.version = CKPT_WIRE_VERSION,
		.excuse = excuse,
		.pid = s->pid,
		.own_fd = fd,
		.value = value,
		.dumpable = s->dumpable,
		.childless = is_childless(),
		.n_excluded = ckpt_excluded(range, CKPT_WIRE_DATA / sizeof(*range)),
		.n_threads = 1,
	};
	struct iovec iov[2] = { { &hello, sizeof(hello) }, { tid, 0 } };

	tid[0] = s->leader->tid;
	for (struct ckpt_parked *p = s->parked;
	     p && hello.n_threads < CKPT_WIRE_DATA / sizeof(*tid); p = p->next)
		tid[hello.n_threads++] = p->tid;
	iov[1].iov_len = hello.n_threads * sizeof(*tid);
	return send_message(fd, iov, 2, -1);
}

/* ---- the requests ---- */

static void look(const struct ckpt_wire_request *req)
{
	const struct ckpt_wire_look *l = (const void *)ckpt_session->in;

	for (uint32_t i = 0; i < req->len / sizeof(*l); i++) {
		struct ckpt_parked *p = thread(l[i].tid);

		if (p)
			ckpt_wind_back_rest(p, &l[i]);
	}
}

static void make_calls(struct ckpt_wire_asked *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		bool follows = c[i].result_of >= 0 && (size_t)c[i].result_of < i;
		int64_t first = follows ? c[c[i].result_of].ret : 0;

		if (c[i].buf_arg >= 0)
			c[i].arg[c[i].buf_arg] = (uintptr_t)c[i].buf;
		if (follows)
			c[i].arg[0] = first;
		c[i].ret = first < 0 && first > -4096 ? first :
							ckpt_sys(c[i].nr, c[i].arg[0], c[i].arg[1],
								 c[i].arg[2], c[i].arg[3]);
	}
}

/* What is behind the request is in session->in. */
static int64_t make_call(void *arg)
{
	struct ckpt_wire_request *req = arg;
	void *data = ckpt_session->in;

	if (req->verb == CKPT_WIRE_CALLS) {
		make_calls(data, req->len / sizeof(struct ckpt_wire_asked));
		return 0;
	}
	if (req->buf_arg >= 0)
		req->arg[req->buf_arg] = (uintptr_t)data;
	return ckpt_sys(req->nr, req->arg[0], req->arg[1], req->arg[2], req->arg[3], req->arg[4],
			req->arg[5]);
}

static void call(struct ckpt_wire_request *req, struct answer *a)
{
	struct ckpt_session *s = ckpt_session;
	struct ckpt_parked *p = thread(req->tid);

	if (!p || req->buf_arg > 5) {
		a->value = -ESRCH;
		return;
	}
	a->value = ckpt_parked_run(p, make_call, req);
	if (req->buf_arg >= 0 || req->verb == CKPT_WIRE_CALLS) {
		memcpy(s->out, s->in, req->len);
		a->len = req->len;
	}
}

static bool is_text(const struct ckpt_wire_request *req)
{
	return req->len && !ckpt_session->in[req->len - 1];
}

static void open_file(const struct ckpt_wire_request *req, struct answer *a)
{
	a->value = is_text(req) ? ckpt_sys(SYS_open, ckpt_session->in, O_RDONLY | O_CLOEXEC) :
				  -EINVAL;
	a->fd = a->value < 0 ? -1 : (int)a->value;
	a->close_fd = a->fd >= 0;
}

static void read_link(const struct ckpt_wire_request *req, struct answer *a)
{
	struct ckpt_session *s = ckpt_session;

	a->value = is_text(req) ? ckpt_sys(SYS_readlink, s->in, s->out, CKPT_WIRE_DATA) : -EINVAL;
	a->len = a->value < 0 ? 0 : a->value;
}

static void read_memory(const struct ckpt_wire_request *req, struct answer *a)
{
	struct ckpt_session *s = ckpt_session;
	struct iovec local = { s->out,
			       req->arg[1] < CKPT_WIRE_DATA ? req->arg[1] : CKPT_WIRE_DATA };
	struct iovec remote = { (void *)req->arg[0], local.iov_len };
	int fd;

	/* Of ourselves: a bad address is an error, no fault. */
	a->value = ckpt_sys(SYS_process_vm_readv, s->leader->tid, &local, 1, &remote, 1, 0);
	if (a->value <= 0) { /* what the program itself may not read */
		fd = ckpt_sys(SYS_open, "/proc/thread-self/mem", O_RDONLY | O_CLOEXEC);
		a->value = fd < 0 ? fd :
				    ckpt_sys(SYS_pread64, fd, s->out, local.iov_len, req->arg[0]);
		ckpt_sys(SYS_close, fd);
	}
	a->len = a->value < 0 ? 0 : a->value;
}

/* The frame holds what the kernel says it does. */
static uint32_t xstate_size(const char *xstate)
{
	uint32_t magic, size;

	memcpy(&magic, xstate + MAGIC1_AT, sizeof(magic));
	memcpy(&size, xstate + XSTATE_SIZE_AT, sizeof(size));
	return magic != MAGIC1 || size < FXSAVE_SIZE ? FXSAVE_SIZE : size;
}

/* False: there is no room for it. */
static bool put_thread(const struct ckpt_parked *p, struct answer *a)
{
	struct ckpt_wire_thread *t = (void *)(ckpt_session->out + a->len);
	const char *xstate = (const char *)p->uc->uc_mcontext.fpregs;
	uint32_t len = xstate ? xstate_size(xstate) : 0;

	if (a->len + sizeof(*t) + len > CKPT_WIRE_DATA)
		return false;
	*t = (struct ckpt_wire_thread){ .gp = p->regs,
					.mask = ~(1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1)),
					.tid = p->tid,
					.xstate_len = len };
	memcpy(t->answer, p->answer, sizeof(t->answer));
	if (&__rseq_size && __rseq_size) {
		t->rseq_addr = p->regs.fs_base + __rseq_offset;
		t->rseq_size = 32; /* as libc registers it, whatever it says is in use */
		t->rseq_signature = RSEQ_SIGNATURE;
	}
	memcpy(t + 1, xstate, len);
	a->len += sizeof(*t) + ((len + 7) & ~7u);
	return true;
}

static bool threads(int sock)
{
	struct ckpt_session *s = ckpt_session;
	struct answer a = { .value = s->n_parked + 1, .fd = -1 };
	const struct ckpt_parked *p = s->leader, *next = s->parked;

	for (; p; p = next, next = next ? next->next : NULL) {
		if (put_thread(p, &a))
			continue;
		if (!answer(sock, &a))
			return false;
		a.len = 0;
		put_thread(p, &a);
	}
	return answer(sock, &a);
}

static void excluded(struct answer *a)
{
	struct ckpt_wire_range *range = (void *)ckpt_session->out;

	a->value = ckpt_excluded(range, CKPT_WIRE_DATA / sizeof(*range));
	a->len = a->value * sizeof(*range);
}

/* False: it was the last one. */
static bool serve(int sock, struct ckpt_wire_request *req, struct ckpt_end *end)
{
	struct answer a = { .value = -ENOSYS, .fd = -1 };

	switch (req->verb) {
	case CKPT_WIRE_LOOK:
		look(req);
		return true;
	case CKPT_WIRE_CALL:
	case CKPT_WIRE_CALLS:
		call(req, &a);
		break;
	case CKPT_WIRE_TAKE:
		call(req, &a);
		a.fd = a.value < 0 ? -1 : (int)a.value;
		a.close_fd = a.fd >= 0;
		break;
	case CKPT_WIRE_OPEN:
		open_file(req, &a);
		break;
	case CKPT_WIRE_LINK:
		read_link(req, &a);
		break;
	case CKPT_WIRE_FD:
		a.fd = req->arg[0];
		a.value = 0;
		break;
	case CKPT_WIRE_READ:
		read_memory(req, &a);
		break;
	case CKPT_WIRE_THREADS:
		return threads(sock);
	case CKPT_WIRE_SIGNALS:
		a.value = thread(req->tid) ? ckpt_serve_signals(thread(req->tid), req->arg[0],
								req->arg[1], &a.len) :
					     -ESRCH;
		break;
	case CKPT_WIRE_EXCLUDED:
		excluded(&a);
		break;
	case CKPT_WIRE_FORK:
		a.value = ckpt_serve_copy(sock, (const void *)ckpt_session->in,
					  req->len / sizeof(struct ckpt_wire_kept));
		if (a.value >= 0)
			return true;
		break;
	case CKPT_WIRE_GO:
		end->said = true;
		end->outcome = req->arg[0] ? CKPT_WIRE_DONE : CKPT_WIRE_FAILED;
		if (req->len < CKPT_TEXT)
			memcpy(end->text, ckpt_session->in, req->len);
		return false;
	}
	return answer(sock, &a);
}

void ckpt_serve(int fd, struct ckpt_end *end)
{
	struct ckpt_session *s = ckpt_session;

	for (;;) {
		struct iovec iov[2] = { { &s->request, sizeof(s->request) },
					{ s->in, sizeof(s->in) } };
		struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
		int64_t n = ckpt_sys(SYS_recvmsg, fd, &msg, 0);

		if (n < (int64_t)sizeof(s->request) ||
		    s->request.len != n - (int64_t)sizeof(s->request))
			return;
		if (!serve(fd, &s->request, end))
			return;
	}
}
