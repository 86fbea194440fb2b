/* SPDX-License-Identifier: Apache-2.0 */
/* A process tree as seen from outside, by ptrace(2): the operations of a source. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/arch/x86-64.h"
#include "engine/base/cleanup.h"
#include "injector/caller.h"
#include "injector/filters.h"
#include "injector/freeze.h"
#include "injector/ptrace.h"
#include "injector/remote.h"
#include "injector/target.h"
#include "injector/windback.h"

struct source {
	struct ckpt_source base;
	struct ckpt_ptrace_opts opts;
	struct ckpt_tree tree;
	pthread_mutex_t lock; /* for the descriptors that are kept: tasks are read one after the
				 other */
	pid_t pidfd_of, mem_of;
	int pidfd, mem_fd;
};

static struct source *of(struct ckpt_source *src)
{
	return (struct source *)src;
}

static bool is_tracer(const struct source *s)
{
	return s->tree.held && pthread_equal(s->tree.tracer, pthread_self());
}

static int thread_of(struct source *s, pid_t tid, struct ckpt_tracee **tp, struct ckpt_err *err)
{
	*tp = ckpt_tree_thread(&s->tree, tid);
	if (s->tree.held && *tp && (*tp)->state == CKPT_TRACEE_STOPPED) {
		ckpt_remote_await(&s->tree, *tp);
		return 0;
	}
	if (s->tree.held && *tp)
		return ckpt_caller_lost(*tp, -ESRCH, "ask it", err);
	return ckpt_fail(err, -ESRCH, "thread %d: cannot find it among those that are frozen", tid);
}

/* Who has what is asked of TID. */
static pid_t acts_for(const struct source *s, pid_t tid)
{
	const struct ckpt_proc *proc = ckpt_tree_proc(&s->tree, tid);

	return proc ? ckpt_proc_acts(proc) : tid;
}

/* ---- freeze and thaw ---- */

static void list_task(struct ckpt_arena *arena, const struct ckpt_proc *proc, struct ckpt_frozen *f)
{
	f->pid = proc->pid;
	f->ppid = proc->ppid;
	f->zombie = proc->zombie;
	f->ended = proc->ended;
	f->exit_status = proc->exit_status;
	f->stopped = proc->stopped;
	f->stop_signal = proc->stopped ? proc->stop_signal : 0;
	f->tids = ckpt_alloc(arena, proc->n * sizeof(f->tids[0]));
	for (size_t i = 0; i < proc->n; i++) {
		if (proc->threads[i]->state == CKPT_TRACEE_STOPPED)
			f->tids[f->n_tids++] = proc->threads[i]->tid;
	}
	if (!f->n_tids)
		f->tids[f->n_tids++] = proc->pid;
}

static int freeze_op(struct ckpt_source *src, struct ckpt_arena *arena, struct ckpt_frozen **tasksp,
		     size_t *np, struct ckpt_err *err)
{
	struct source *s = of(src);
	int r = ckpt_tree_freeze(&s->tree, err);

	if (r < 0)
		return r;
	src->frozen_at = s->tree.frozen_at;
	*tasksp = ckpt_alloc(arena, s->tree.n_procs * sizeof(**tasksp));
	*np = 0;
	for (struct ckpt_proc *proc = s->tree.procs; proc; proc = proc->next) {
		if (!proc->gone)
			list_task(arena, proc, &(*tasksp)[(*np)++]);
	}
	return 0;
}

static void forget_fds(struct source *s)
{
	ckpt_close_fd(&s->pidfd);
	ckpt_close_fd(&s->mem_fd);
	s->pidfd = s->mem_fd = -1;
	s->pidfd_of = s->mem_of = 0;
}

static void thaw_op(struct ckpt_source *src)
{
	ckpt_tree_thaw(&of(src)->tree);
	forget_fds(of(src));
}

static void close_op(struct ckpt_source *src)
{
	thaw_op(src);
	ckpt_tree_close(&of(src)->tree);
}

static int kill_op(struct ckpt_source *src, struct ckpt_err *err)
{
	forget_fds(of(src));
	return ckpt_tree_kill(&of(src)->tree, err);
}

static int stop_op(struct ckpt_source *src, struct ckpt_err *err)
{
	forget_fds(of(src));
	return ckpt_tree_stop(&of(src)->tree, err);
}

/* ---- /proc and descriptors ---- */

/* Opens PATH for PID, unless it was the last one. By the holder of the lock. */
static int kept(int *fdp, pid_t *ofp, pid_t pid, const char *name, int flags)
{
	char path[64];

	if (*ofp == pid)
		return *fdp;
	ckpt_close_fd(fdp);
	*ofp = 0;
	snprintf(path, sizeof(path), "/proc/%d%s", pid, name);
	*fdp = open(path, flags | O_CLOEXEC);
	if (*fdp < 0)
		return -errno;
	*ofp = pid;
	return *fdp;
}

/* While a thread makes calls for us these files show it. */
static void let_rest(struct source *s, pid_t tid, const char *name)
{
	if (is_tracer(s) &&
	    (strstr(name, "stat") || strstr(name, "syscall") || strstr(name, "wchan")))
		ckpt_remote_rest(&s->tree, tid);
}

/* By their whole path: two threads ask in turn for different processes, so that keeping a folder
 * open saves nothing. */
static int open_proc_op(struct ckpt_source *src, pid_t tid, const char *name, struct ckpt_err *err)
{
	char path[128];
	int fd;

	let_rest(of(src), tid, name);
	snprintf(path, sizeof(path), "/proc/%d/%s", acts_for(of(src), tid), name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? ckpt_fail(err, -errno, "%s: cannot open", path) : fd;
}

static int read_link_op(struct ckpt_source *src, pid_t tid, const char *name, char *buf,
			size_t size, struct ckpt_err *err)
{
	char path[128];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/%s", acts_for(of(src), tid), name);
	n = readlink(path, buf, size);
	if (n < 0 || (size_t)n >= size)
		return ckpt_fail(err, n < 0 ? -errno : -ENAMETOOLONG, "%s: cannot read the link",
				 path);
	buf[n] = '\0';
	return n;
}

static int pidfd_of(struct source *s, pid_t pid)
{
	pid_t acts = acts_for(s, pid);

	if (s->pidfd_of == pid)
		return s->pidfd;
	ckpt_close_fd(&s->pidfd);
	s->pidfd_of = 0;
	s->pidfd = acts == pid ? syscall(SYS_pidfd_open, pid, 0) :
				 syscall(SYS_pidfd_open, acts, O_EXCL); /* PIDFD_THREAD, Linux 6.9
									 */
	if (s->pidfd < 0)
		return -errno;
	s->pidfd_of = pid;
	return s->pidfd;
}

static int dup_fd_op(struct ckpt_source *src, pid_t pid, int number, struct ckpt_err *err)
{
	struct source *s = of(src);
	int fd;

	pthread_mutex_lock(&s->lock);
	fd = pidfd_of(s, pid);
	if (fd >= 0) {
		fd = syscall(SYS_pidfd_getfd, fd, number, 0);
		if (fd < 0)
			fd = -errno;
	}
	pthread_mutex_unlock(&s->lock);
	return fd < 0 ? ckpt_fail(err, fd, "process %d: fd %d: cannot duplicate", pid, number) : fd;
}

static int compare_op(struct ckpt_source *src, pid_t pid1, pid_t pid2, int type, uint64_t idx1,
		      uint64_t idx2)
{
	int r = syscall(SYS_kcmp, acts_for(of(src), pid1), acts_for(of(src), pid2), type, idx1,
			idx2);

	return r < 0 ? -errno : r;
}

/* ---- memory ---- */

/* What process_vm_readv(2) does not read: pages that the program itself may not. */
static int read_forced(struct source *s, pid_t pid, uint64_t addr, void *buf, size_t len)
{
	ssize_t n;

	pthread_mutex_lock(&s->lock);
	n = kept(&s->mem_fd, &s->mem_of, acts_for(s, pid), "/mem", O_RDONLY);
	if (n >= 0) {
		n = pread(n, buf, len, addr);
		if (n < 0)
			n = -errno;
	}
	pthread_mutex_unlock(&s->lock);
	return n < 0 ? n : n == (ssize_t)len ? 0 : -EFAULT;
}

/* Rest of the page in which reading got stuck, or of the range. */
static size_t stuck_len(const struct iovec *range, size_t done)
{
	uint64_t at = (uintptr_t)range->iov_base + done, rest = range->iov_len - done,
		 in_page = CKPT_PAGE - at % CKPT_PAGE;

	return rest < in_page ? rest : in_page;
}

static int read_some(struct source *s, pid_t pid, const struct iovec *range, size_t n, char *buf,
		     size_t len, struct ckpt_err *err)
{
	struct iovec remote[IOV_MAX];
	size_t first = 0, done = 0; /* ranges that are read, and how much of the next one is */

	while (len) {
		size_t m = n - first;
		ssize_t got;
		int r;

		memcpy(remote, range + first, m * sizeof(*remote));
		remote[0].iov_base = (char *)remote[0].iov_base + done;
		remote[0].iov_len -= done;
		got = process_vm_readv(acts_for(s, pid), &(struct iovec){ buf, len }, 1, remote, m,
				       0);
		if (got < 0 && errno != EFAULT)
			return ckpt_fail(err, -errno, "process %d: cannot read its memory", pid);
		if (got <= 0) {
			got = stuck_len(&range[first], done);
			r = read_forced(s, pid, (uintptr_t)range[first].iov_base + done, buf, got);
			if (r < 0)
				return ckpt_fail(
					err, r, "process %d: cannot read its memory at %#llx", pid,
					(unsigned long long)(uintptr_t)range[first].iov_base +
						done);
		}
		buf += got;
		len -= got;
		done += got;
		while (first < n && done >= range[first].iov_len)
			done -= range[first++].iov_len;
	}
	return 0;
}

static int read_mem_op(struct ckpt_source *src, pid_t pid, const struct iovec *range, size_t n,
		       void *buf, struct ckpt_err *err)
{
	struct source *s = of(src);
	char *to = buf;

	if (is_tracer(s))
		ckpt_remote_rest(&s->tree, pid);
	while (n) {
		size_t m = n < IOV_MAX ? n : IOV_MAX, len = 0;
		int r;

		for (size_t i = 0; i < m; i++)
			len += range[i].iov_len;
		r = read_some(s, pid, range, m, to, len, err);
		if (r < 0)
			return r;
		for (size_t i = 0; i < m; i++) {
			ckpt_remote_hide(&s->tree, pid, (uintptr_t)range[i].iov_base, to,
					 range[i].iov_len);
			to += range[i].iov_len;
		}
		range += m;
		n -= m;
	}
	return 0;
}

/* ---- threads ---- */

static int call_op(struct ckpt_source *src, pid_t tid, struct ckpt_call *call, struct ckpt_err *err)
{
	struct source *s = of(src);
	struct ckpt_tracee *t;
	int r = thread_of(s, acts_for(s, tid), &t, err);

	return r < 0 ? r : ckpt_remote_call(&s->tree, t, call, err);
}

static void call_soon_op(struct ckpt_source *src, const pid_t *tids, size_t n)
{
	struct source *s = of(src);
	struct ckpt_tracee *t, *v[CKPT_SOON];
	size_t n_can = 0;

	for (size_t i = 0; i < n && n_can < CKPT_SOON; i++) {
		t = ckpt_tree_thread(&s->tree, tids[i]);
		if (t && t->state == CKPT_TRACEE_STOPPED && !t->proc->ended)
			v[n_can++] = t;
	}
	if (is_tracer(s) && n_can)
		ckpt_remote_ahead(&s->tree, v, n_can);
}

static int regs_op(struct ckpt_source *src, pid_t tid, struct ckpt_arena *arena,
		   struct ckpt_regs *regs, struct ckpt_err *err)
{
	struct source *s = of(src);
	struct ckpt_tracee *t;
	int r = thread_of(s, tid, &t, err);

	(void)arena; /* the vector registers are there */
	if (r >= 0)
		r = ckpt_tracee_regs(&s->tree, t, &regs->gp, err);
	if (r >= 0)
		r = ckpt_remote_xstate(&s->tree, t, err);
	if (r < 0)
		return r;
	regs->gp.orig_rax = -1;
	regs->sigmask = t->mask;
	regs->waits_longer = t->waits_longer;
	regs->dispatch = *ckpt_caller_dispatch(t);
	regs->xstate = t->xstate;
	regs->xstate_len = t->xstate_len;
	return 0;
}

static int peek_signal_op(struct ckpt_source *src, pid_t tid, bool of_process, unsigned int n,
			  siginfo_t *info, struct ckpt_err *err)
{
	struct ckpt_tracee *t;
	pid_t acts = acts_for(of(src), tid);
	int r = thread_of(of(src), acts, &t, err);

	if (r < 0)
		return r;
	if (acts != tid && !of_process) /* it has ended, and they with it */
		return 0;
	r = ckpt_pt_peek_signal(acts, of_process, n, info);
	return r < 0 ? ckpt_fail(err, r, "thread %d: cannot read its pending signals", tid) : r;
}

static int rseq_op(struct ckpt_source *src, pid_t tid, uint64_t *addr, uint32_t *size,
		   uint32_t *signature, struct ckpt_err *err)
{
	struct ckpt_rseq_conf conf;
	struct ckpt_tracee *t;
	int r = thread_of(of(src), tid, &t, err);

	if (r < 0)
		return r;
	r = ckpt_pt_rseq(tid, &conf);
	if (r < 0)
		return ckpt_fail(err, r, "thread %d: cannot read its rseq registration", tid);
	*addr = conf.addr;
	*size = conf.size;
	*signature = conf.signature;
	return 0;
}

static int seccomp_op(struct ckpt_source *src, pid_t tid, const struct ckpt_filter **filterp,
		      size_t *np, struct ckpt_err *err)
{
	struct ckpt_tracee *t;
	int r = thread_of(of(src), tid, &t, err);

	if (r >= 0)
		r = ckpt_filters_lift(&of(src)->tree, t, err);
	if (r < 0)
		return r;
	*filterp = t->filters;
	*np = t->n_filters;
	return 0;
}

static void unfiltered_op(struct ckpt_source *src, pid_t tid)
{
	struct ckpt_tracee *t = ckpt_tree_thread(&of(src)->tree, tid);

	if (t)
		t->lifted = true;
}

static const struct ckpt_source_ops ops = {
	.name = "ptrace",
	.freeze = freeze_op,
	.thaw = thaw_op,
	.kill = kill_op,
	.stop = stop_op,
	.close = close_op,
	.open_proc = open_proc_op,
	.read_link = read_link_op,
	.dup_fd = dup_fd_op,
	.compare = compare_op,
	.compares_anywhere = true,
	.read_mem = read_mem_op,
	.call = call_op,
	.call_soon = call_soon_op,
	.regs = regs_op,
	.peek_signal = peek_signal_op,
	.rseq = rseq_op,
	.seccomp = seccomp_op,
	.unfiltered = unfiltered_op,
};

struct ckpt_tree *ckpt_source_ptrace_tree(const struct ckpt_source *src)
{
	return src->ops == &ops ? &((struct source *)src)->tree : NULL;
}

/* ---- open ---- */

int ckpt_source_ptrace_open(struct ckpt_source **srcp, struct ckpt_arena *arena, pid_t pid,
			    const struct ckpt_ptrace_opts *opts, struct ckpt_err *err)
{
	struct source *s;
	int r = ckpt_target_check(pid, err);

	if (r < 0)
		return r;
	s = ckpt_new(arena, struct source);
	s->base.ops = &ops;
	s->opts = *opts;
	pthread_mutex_init(&s->lock, NULL);
	s->pidfd = s->mem_fd = -1;
	s->tree.arena = arena;
	s->tree.opts = &s->opts;
	s->tree.root = pid;
	s->tree.last = &s->tree.procs;
	s->tree.cache = ckpt_gadget_cache_open(arena);
	s->tree.remote = ckpt_remote_open(arena);
	ckpt_tree_work_ahead(&s->tree);
	*srcp = &s->base;
	return 0;
}
