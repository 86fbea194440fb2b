/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process tree as it serves itself: the operations of a source. What the kernel shows us directly
 * we read directly, which is quicker; what it does not (another user's rules, a process that may
 * not be traced, Yama) a thread of the process opens or reads for us.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/arch/x86-64.h"
#include "engine/base/cleanup.h"
#include "injector/dying.h"
#include "injector/inside-tree.h"
#include "injector/ptrace.h"
#include "injector/target.h"

#define KILL_MS 10000
#define XSTATE_MIN 576 /* with its header */
#define AT_ONCE (CKPT_WIRE_DATA / sizeof(siginfo_t))

struct source {
	struct ckpt_source base;
	struct ckpt_inside tree;
	struct {
		pid_t tid;
		bool of_process;
		unsigned int from, n;
		siginfo_t info[AT_ONCE];
	} pending; /* signals that were asked for last */
};

static struct source *of(struct ckpt_source *src)
{
	return (struct source *)src;
}

/* Who was stopped is asked from outside; NULL: it is asked itself. */
static struct ckpt_source *held(struct ckpt_source *src, pid_t tid)
{
	return ckpt_inside_held(&of(src)->tree, tid);
}

static bool is_forbidden(int code)
{
	return code == -EACCES || code == -EPERM;
}

static int member_of(struct ckpt_source *src, pid_t tid, struct ckpt_member **mp,
		     struct ckpt_err *err)
{
	*mp = ckpt_inside_of_thread(&of(src)->tree, tid);
	if (*mp && (*mp)->state == CKPT_MEMBER_PARKED)
		return 0;
	return ckpt_fail(err, -ESRCH, "thread %d: cannot find it among those that are parked", tid);
}

static int64_t ask(struct ckpt_source *src, pid_t tid, struct ckpt_wire_request *req,
		   const void *data, void *buf, size_t size, int *fdp, struct ckpt_err *err)
{
	return ckpt_inside_request(&of(src)->tree, tid, req, data, buf, size, fdp, err);
}

/* ---- freeze and thaw ---- */

static int list_task(struct ckpt_frozen *f, const struct ckpt_member *m)
{
	if (m->held) {
		*f = *m->frozen;
		f->ppid = m->ppid;
		return 0;
	}
	*f = (struct ckpt_frozen){
		.pid = m->pid,
		.ppid = m->ppid,
		.zombie = m->state == CKPT_MEMBER_ZOMBIE,
		.tids = m->tids,
		.n_tids = m->n_tids,
		.own_fd = m->own_fd,
		.excluded = m->excluded,
		.n_excluded = m->n_excluded,
		.ended = m->acts != m->pid,
	};
	return f->ended ? ckpt_proc_exit_status(m->pid, &f->exit_status) : 0;
}

static int freeze_op(struct ckpt_source *src, struct ckpt_arena *arena, struct ckpt_frozen **tasksp,
		     size_t *np, struct ckpt_err *err)
{
	struct ckpt_inside *in = &of(src)->tree;
	int r = ckpt_inside_stop(in, err);

	if (r < 0)
		return r;
	src->frozen_at = in->frozen_at;
	*tasksp = ckpt_alloc(arena, in->n_members * sizeof(**tasksp));
	*np = 0;
	for (const struct ckpt_member *m = in->members; r >= 0 && m; m = m->next) {
		if (m->state != CKPT_MEMBER_GONE)
			r = list_task(&(*tasksp)[(*np)++], m);
		if (r < 0)
			return ckpt_fail(err, r,
					 "process %d: cannot read how its main thread ended",
					 m->pid);
	}
	return 0;
}

static int copied_op(struct ckpt_source *src, struct ckpt_err *err)
{
	return ckpt_inside_copied(&of(src)->tree, err);
}

/* The kernel's page table entries were copied, not the pages. */
static int snapshot_op(struct ckpt_source *src, struct ckpt_err *err)
{
	struct ckpt_inside *in = &of(src)->tree;

	ckpt_inside_copy_go(in);
	src->thawed_at = ckpt_now_ns();
	return ckpt_inside_copy_check(in, err);
}

static void thaw_op(struct ckpt_source *src)
{
	ckpt_inside_let_go(&of(src)->tree, true, "");
}

static void close_op(struct ckpt_source *src)
{
	char why[1400] = "the checkpoint failed";

	if (src->why)
		ckpt_err_sentence(src->why, why, sizeof(why));
	ckpt_inside_let_go(&of(src)->tree, false, why);
}

static int kill_op(struct ckpt_source *src, struct ckpt_err *err)
{
	struct ckpt_inside *in = &of(src)->tree;

	for (const struct ckpt_member *m = in->members; m; m = m->next) {
		int r = m->held ? m->held->ops->kill(m->held, err) : 0;

		if (r < 0)
			return r;
		if (!m->held && m->pidfd >= 0 &&
		    syscall(SYS_pidfd_send_signal, m->pidfd, SIGKILL, NULL, 0) < 0 &&
		    errno != ESRCH)
			return ckpt_fail(err, -errno, "process %d: cannot kill it", m->pid);
	}
	for (const struct ckpt_member *m = in->members; m; m = m->next)
		ckpt_dying_release(m->held ? -1 : m->pidfd);
	for (const struct ckpt_member *m = in->members; m; m = m->next) {
		struct pollfd p = { m->pidfd, POLLIN, 0 };

		if (m->pidfd >= 0 && poll(&p, 1, KILL_MS) <= 0)
			return ckpt_fail(err, -ETIMEDOUT, "process %d: it does not end", m->pid);
	}
	ckpt_inside_let_go(in, true, "");
	return 0;
}

/* ---- /proc and descriptors ---- */

/* Whose /proc shows what was asked for. */
static pid_t shown_by(struct ckpt_source *src, pid_t tid)
{
	const struct ckpt_member *m = ckpt_inside_of_thread(&of(src)->tree, tid);

	return m && m->copy ? m->copy : ckpt_inside_acts(&of(src)->tree, tid);
}

/* A copy of its memory answers nothing. */
static bool can_ask(struct ckpt_source *src, pid_t tid)
{
	const struct ckpt_member *m = ckpt_inside_of_thread(&of(src)->tree, tid);

	return m && m->sock >= 0;
}

/* As the thread itself says it. */
static void own_path(char *buf, size_t size, struct ckpt_source *src, pid_t tid, const char *name)
{
	tid = ckpt_inside_acts(&of(src)->tree, tid);
	if (ckpt_inside_member(&of(src)->tree, tid))
		snprintf(buf, size, "/proc/self/%s", name);
	else
		snprintf(buf, size, "/proc/self/task/%d/%s", tid, name);
}

static int open_proc_op(struct ckpt_source *src, pid_t tid, const char *name, struct ckpt_err *err)
{
	struct ckpt_wire_request req = { .verb = CKPT_WIRE_OPEN, .buf_arg = -1 };
	char path[128], own[128];
	int64_t r;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", shown_by(src, tid), name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 || !is_forbidden(-errno) || !can_ask(src, tid))
		return fd < 0 ? ckpt_fail(err, -errno, "%s: cannot open", path) : fd;
	own_path(own, sizeof(own), src, tid, name);
	req.len = strlen(own) + 1;
	r = ask(src, tid, &req, own, NULL, 0, &fd, err);
	return r == -ECONNRESET ? r : r < 0 ? ckpt_fail(err, r, "%s: cannot open", path) : fd;
}

static int read_link_op(struct ckpt_source *src, pid_t tid, const char *name, char *buf,
			size_t size, struct ckpt_err *err)
{
	struct ckpt_wire_request req = { .verb = CKPT_WIRE_LINK, .buf_arg = -1 };
	char path[128], own[128];
	int64_t n;

	snprintf(path, sizeof(path), "/proc/%d/%s", shown_by(src, tid), name);
	n = readlink(path, buf, size);
	if (n < 0 && is_forbidden(-errno) && can_ask(src, tid)) {
		own_path(own, sizeof(own), src, tid, name);
		req.len = strlen(own) + 1;
		n = ask(src, tid, &req, own, buf, size, NULL, err);
		if (n == -ECONNRESET)
			return n;
	} else if (n < 0) {
		n = -errno;
	}
	if (n < 0 || (size_t)n >= size)
		return ckpt_fail(err, n < 0 ? (int)n : -ENAMETOOLONG, "%s: cannot read the link",
				 path);
	buf[n] = '\0';
	return n;
}

static int dup_fd_op(struct ckpt_source *src, pid_t pid, int number, struct ckpt_err *err)
{
	struct ckpt_wire_request req = { .verb = CKPT_WIRE_FD, .arg = { number }, .buf_arg = -1 };
	struct ckpt_source *by = held(src, pid);
	struct ckpt_member *m;
	int fd = -1, r = by ? 0 : member_of(src, pid, &m, err);

	if (by)
		return by->ops->dup_fd(by, pid, number, err);
	if (r < 0)
		return r;
	/* A main thread that has ended has none any more. */
	r = m->acts == m->pid ? syscall(SYS_pidfd_getfd, m->pidfd, number, 0) : -EPERM;
	if (r >= 0)
		return r;
	if (m->acts == m->pid && !is_forbidden(-errno))
		return ckpt_fail(err, -errno, "process %d: fd %d: cannot duplicate", pid, number);
	r = ask(src, pid, &req, NULL, NULL, 0, &fd, err);
	if (r == -ECONNRESET)
		return r;
	return fd < 0 ? ckpt_fail(err, r < 0 ? r : -EBADF, "process %d: fd %d: cannot duplicate",
				  pid, number) :
			fd;
}

static int compare_op(struct ckpt_source *src, pid_t pid1, pid_t pid2, int type, uint64_t idx1,
		      uint64_t idx2)
{
	struct ckpt_wire_request req = { .verb = CKPT_WIRE_CALL,
					 .nr = SYS_kcmp,
					 .arg = { ckpt_inside_acts(&of(src)->tree, pid1),
						  ckpt_inside_acts(&of(src)->tree, pid2), type,
						  idx1, idx2 },
					 .buf_arg = -1 };
	struct ckpt_err ignored = CKPT_ERR_INIT;
	int r = syscall(SYS_kcmp, req.arg[0], req.arg[1], type, idx1, idx2);

	if (r >= 0 || !is_forbidden(-errno) || type == KCMP_EPOLL_TFD)
		return r < 0 ? -errno : r;
	return ask(src, pid1, &req, NULL, NULL, 0, NULL, &ignored);
}

static int read_mem_op(struct ckpt_source *src, pid_t pid, const struct iovec *range, size_t n,
		       void *buf, struct ckpt_err *err)
{
	struct ckpt_source *by = held(src, pid);

	return by ? by->ops->read_mem(by, pid, range, n, buf, err) :
		    ckpt_inside_read(&of(src)->tree, pid, range, n, buf, err);
}

/* ---- threads ---- */

static int thread_of(struct ckpt_source *src, pid_t tid, const struct ckpt_wire_thread **tp,
		     struct ckpt_err *err)
{
	struct ckpt_member *m;
	int r = member_of(src, tid, &m, err);

	if (r < 0)
		return r;
	*tp = m->threads[ckpt_inside_index(m, tid)];
	return *tp ? 0 : ckpt_fail(err, -ESRCH, "thread %d: cannot read its registers", tid);
}

static int call_op(struct ckpt_source *src, pid_t tid, struct ckpt_call *call, struct ckpt_err *err)
{
	struct ckpt_wire_request req = { .verb = CKPT_WIRE_CALL,
					 .nr = call->nr,
					 .buf_arg = call->buf_arg,
					 .len = call->buf_arg < 0 ? 0 : call->buf_len };
	struct ckpt_source *by = held(src, tid);
	struct ckpt_member *m;
	int r = by ? by->ops->call(by, tid, call, err) : member_of(src, tid, &m, err);

	if (by || r < 0 || ckpt_inside_answered(m, ckpt_inside_acts(&of(src)->tree, tid), call))
		return r;
	memcpy(req.arg, call->arg, sizeof(req.arg));
	if (call->takes)
		req.verb = CKPT_WIRE_TAKE;
	call->ret = ask(src, tid, &req, call->buf, call->buf, call->buf_len,
			call->takes ? &call->taken : NULL, err);
	return call->ret == -ECONNRESET && err->code ? -ECONNRESET : 0;
}

/* The thread is in the handler, and so it is restored. */
static int regs_op(struct ckpt_source *src, pid_t tid, struct ckpt_arena *arena,
		   struct ckpt_regs *regs, struct ckpt_err *err)
{
	struct ckpt_source *by = held(src, tid);
	const struct ckpt_wire_thread *t;
	int r = by ? by->ops->regs(by, tid, arena, regs, err) : thread_of(src, tid, &t, err);

	if (by || r < 0)
		return r;
	regs->gp = t->gp;
	regs->sigmask = t->mask;
	regs->xstate_len = t->xstate_len < XSTATE_MIN ? XSTATE_MIN : t->xstate_len;
	regs->xstate = ckpt_alloc(arena, regs->xstate_len);
	memcpy(regs->xstate, t + 1, t->xstate_len);
	return 0;
}

static int rseq_op(struct ckpt_source *src, pid_t tid, uint64_t *addr, uint32_t *size,
		   uint32_t *signature, struct ckpt_err *err)
{
	struct ckpt_source *by = held(src, tid);
	const struct ckpt_wire_thread *t;
	int r = by ? by->ops->rseq(by, tid, addr, size, signature, err) :
		     thread_of(src, tid, &t, err);

	if (by || r < 0)
		return r;
	*addr = t->rseq_addr;
	*size = t->rseq_size;
	*signature = t->rseq_signature;
	return 0;
}

/* Asks for the pending signals of TID from the Nth on. */
static int64_t ask_pending(struct ckpt_source *src, pid_t tid, bool of_process, unsigned int n,
			   struct ckpt_err *err)
{
	struct ckpt_wire_request req = { .verb = CKPT_WIRE_SIGNALS,
					 .arg = { of_process, n },
					 .buf_arg = -1 };
	struct source *s = of(src);
	int64_t r = ask(src, tid, &req, NULL, s->pending.info, sizeof(s->pending.info), NULL, err);

	s->pending.tid = tid;
	s->pending.of_process = of_process;
	s->pending.from = n;
	s->pending.n = r < 0 ? 0 : r;
	return r;
}

/* Asking for what is sent along moves the queues: not without need, and for as many as there are.
 */
static int peek_signal_op(struct ckpt_source *src, pid_t tid, bool of_process, unsigned int n,
			  siginfo_t *info, struct ckpt_err *err)
{
	struct source *s = of(src);
	struct ckpt_source *by = held(src, tid);
	char status[8192];
	int64_t r = 0;

	if (by)
		return by->ops->peek_signal(by, tid, of_process, n, info, err);
	if (ckpt_inside_acts(&s->tree, tid) != tid && !of_process)
		return 0; /* it has ended, and they with it */
	if (ckpt_proc_read(tid, "status", status, sizeof(status)) > 0 &&
	    !(ckpt_status_number(status, of_process ? "ShdPnd" : "SigPnd", 16) &
	      ~(1ull << (s->tree.opts.signal - 1))))
		return 0;
	if (!n || tid != s->pending.tid || of_process != s->pending.of_process ||
	    n >= s->pending.from + AT_ONCE)
		r = ask_pending(src, tid, of_process, n, err);
	if (r == -ECONNRESET)
		return r;
	if (r == -EPERM)
		return ckpt_refuse(
			err, CKPT_E_SIGNAL_QUEUE, r,
			"process %d: signals wait, and its main thread, which alone could "
			"put them back, has ended",
			tid);
	if (r < 0)
		return ckpt_fail(err, r, "thread %d: cannot read its pending signals", tid);
	if (n - s->pending.from >= s->pending.n)
		return 0;
	*info = s->pending.info[n - s->pending.from];
	return 1;
}

/* Only who is held may have filters: the library cannot work under one. */
static int seccomp_op(struct ckpt_source *src, pid_t tid, const struct ckpt_filter **filterp,
		      size_t *np, struct ckpt_err *err)
{
	struct ckpt_source *by = held(src, tid);

	return by ? by->ops->seccomp(by, tid, filterp, np, err) :
		    ckpt_refuse(err, CKPT_E_SECCOMP, -EPERM, "it runs under a seccomp filter");
}

static void unfiltered_op(struct ckpt_source *src, pid_t tid)
{
	struct ckpt_source *by = held(src, tid);

	if (by)
		by->ops->unfiltered(by, tid);
}

static const struct ckpt_source_ops ops = {
	.name = "inside",
	.freeze = freeze_op,
	.thaw = thaw_op,
	.copied = copied_op,
	.snapshot = snapshot_op,
	.kill = kill_op,
	.close = close_op,
	.open_proc = open_proc_op,
	.read_link = read_link_op,
	.dup_fd = dup_fd_op,
	.compare = compare_op,
	.read_mem = read_mem_op,
	.call = call_op,
	.regs = regs_op,
	.peek_signal = peek_signal_op,
	.rseq = rseq_op,
	.seccomp = seccomp_op,
	.unfiltered = unfiltered_op,
};

/* ---- open ---- */

int ckpt_source_inside_open(struct ckpt_source **srcp, struct ckpt_arena *arena, pid_t pid,
			    const struct ckpt_source_inside_opts *opts, struct ckpt_err *err)
{
	struct source *s = ckpt_new(arena, struct source);
	int r;

	s->base.ops = &ops;
	s->tree.arena = arena;
	s->tree.opts = opts->inside;
	s->tree.log = opts->log;
	s->tree.root = pid;
	s->tree.last = &s->tree.members;
	s->tree.listener = -1;
	pthread_mutex_init(&s->tree.lock, NULL);
	r = ckpt_inside_check(pid, &s->tree.opts.signal, err);
	if (r >= 0 && !opts->inside.answer)
		r = ckpt_target_check_self(pid, err);
	if (r < 0)
		return r;
	*srcp = &s->base;
	return 0;
}
