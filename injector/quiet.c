/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proof that a thread has executed nothing: before its areas are read it waits in a system
 * call, and when it is stopped it is in that call, with the same arguments and the same stack. It
 * may have come back from the call and made it once more; but then it has executed the instruction
 * that makes it, and each time that happens is counted, by a breakpoint of perf_event_open(2). The
 * thread itself notices nothing of it, and it goes with us.
 *
 * Nobody else changes the areas of a process: what other processes can do (userfaultfd, by a
 * descriptor that came from there) its threads have not seen either, so that it might as well have
 * happened after the freeze.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "injector/freeze.h"
#include "injector/ptrace.h"
#include "injector/quiet.h"
#include "injector/source-ptrace.h"

#define AREAS_MIN 1000 /* fewer are read faster than breakpoints are made: 7 ms for the first */
#define AREAS_PER_THREAD 20 /* the same for what each thread costs while it is frozen */
#define THREADS_MAX 64
#define AREAS_ENOUGH (AREAS_MIN + THREADS_MAX * AREAS_PER_THREAD)
#define CALL_TEXT 256
#define CALL_WORDS 9
#define CALL_LEN 2 /* bytes of `syscall`, and of `int $0x80` */
#define BUFFER (32u << 10)

struct thread {
	pid_t tid;
	int fd;                    /* counts how often it makes the call */
	uint64_t call[CALL_WORDS]; /* number, arguments, stack pointer, where it returns to */
};

struct quiet {
	struct ckpt_maps_before before;
	int pidfd; /* the process itself, not another one with its number */
	size_t n;
	struct thread thread[THREADS_MAX];
};

/* ---- breakpoints ---- */

static int count_executions(pid_t tid, uint64_t addr)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_BREAKPOINT,
		.size = sizeof(attr),
		.bp_type = HW_BREAKPOINT_X,
		.bp_addr = addr,
		.bp_len = sizeof(long),
		.pinned = 1, /* all the time, or reading it fails */
		.exclude_kernel = 1,
		.exclude_hv = 1,
	};

	return syscall(SYS_perf_event_open, &attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static bool count_is(int fd, uint64_t n)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) == sizeof(count) && count == n;
}

static void __attribute__((noinline)) step_on_it(void)
{
	__asm__ volatile("" ::: "memory");
}

/* There are machines, mostly virtual ones, where they are taken and never hit. */
static bool breakpoints_work(void)
{
	CKPT_FD fd = count_executions(0, (uintptr_t)step_on_it);

	if (fd < 0 || !count_is(fd, 0))
		return false;
	step_on_it();
	step_on_it();
	return count_is(fd, 2);
}

/* ---- threads ---- */

/* "7 0x1 ... 0x7ffd8 0x7f81" of a thread that sleeps in a call, else "running" or "-1 ...". */
static bool read_call(pid_t tid, uint64_t call[CALL_WORDS])
{
	char text[CALL_TEXT];
	const char *p = text;

	if (ckpt_proc_read(tid, "syscall", text, sizeof(text)) <= 0 ||
	    !ckpt_parse_u64(&p, 10, &call[0]))
		return false;
	for (int i = 1; i < CALL_WORDS; i++) {
		if (!ckpt_parse_u64(&p, 16, &call[i]))
			return false;
	}
	return true;
}

/* From the second look on all that it executes is counted. */
static bool watch(struct thread *t)
{
	uint64_t call[CALL_WORDS];

	if (!read_call(t->tid, t->call))
		return false;
	t->fd = count_executions(t->tid, t->call[CALL_WORDS - 1] - CALL_LEN);
	return t->fd >= 0 && read_call(t->tid, call) && !memcmp(call, t->call, sizeof(call));
}

static bool list_threads(struct quiet *q)
{
	char path[32];
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", q->before.pid);
	dir = opendir(path);
	if (!dir)
		return false;
	while ((d = readdir(dir)) && q->n <= THREADS_MAX) {
		if (d->d_name[0] < '1' || d->d_name[0] > '9')
			continue;
		if (q->n < THREADS_MAX)
			q->thread[q->n] = (struct thread){ .tid = atoi(d->d_name), .fd = -1 };
		q->n++;
	}
	closedir(dir);
	return q->n <= THREADS_MAX;
}

static bool all_wait(const struct quiet *q)
{
	uint64_t call[CALL_WORDS];
	size_t i = 0;

	while (i < q->n && read_call(q->thread[i].tid, call))
		i++;
	return i == q->n;
}

/* Once all that are known sleep there is nobody to start another one: so all are known if their
 * number is right. */
static bool watch_all(struct quiet *q)
{
	struct ckpt_proc_stat st;

	for (size_t i = 0; i < q->n; i++) {
		if (!watch(&q->thread[i]))
			return false;
	}
	return !ckpt_proc_stat(q->before.pid, &st) && (size_t)st.n_threads == q->n;
}

/* ---- areas ---- */

static int open_of(pid_t pid, const char *name)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static size_t count_areas(pid_t pid)
{
	CKPT_FD fd = open_of(pid, "maps");
	char text[BUFFER];
	size_t n = 0;
	ssize_t len;

	while (n < AREAS_ENOUGH && fd >= 0 && (len = read(fd, text, sizeof(text))) > 0) {
		for (const char *p = text; (p = memchr(p, '\n', text + len - p)); p++)
			n++;
	}
	return n;
}

static bool read_areas(struct quiet *q, struct ckpt_arena *arena)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;
	CKPT_FD fd = open_of(q->before.pid, "smaps");

	return fd >= 0 && !ckpt_maps_read(arena, fd, &q->before.map, &q->before.n, &ignored);
}

/* ---- what the capture calls ---- */

static const struct thread *find(const struct quiet *q, pid_t tid)
{
	for (size_t i = 0; i < q->n; i++) {
		if (q->thread[i].tid == tid)
			return &q->thread[i];
	}
	return NULL;
}

/* As it was stopped: what the freeze does to its registers comes after that. */
static bool is_in_call(const struct user_regs_struct *regs, const uint64_t call[CALL_WORDS])
{
	const uint64_t now[CALL_WORDS] = {
		regs->orig_rax, regs->rdi, regs->rsi, regs->rdx, regs->r10,
		regs->r8,       regs->r9,  regs->rsp, regs->rip,
	};

	return !memcmp(now, call, sizeof(now));
}

static const struct user_regs_struct *found_of(const struct ckpt_source *src, pid_t tid)
{
	const struct ckpt_tree *tree = ckpt_source_ptrace_tree(src);
	const struct ckpt_tracee *t = tree ? ckpt_tree_thread(tree, tid) : NULL;

	return t && t->state == CKPT_TRACEE_STOPPED ? &t->found : NULL;
}

static bool still_true(const struct ckpt_maps_before *before, const struct ckpt_source *src,
		       const pid_t *tids, size_t n)
{
	const struct quiet *q = (const struct quiet *)before;

	if (n != q->n || syscall(SYS_pidfd_send_signal, q->pidfd, 0, NULL, 0) < 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		const struct user_regs_struct *regs = found_of(src, tids[i]);
		const struct thread *t = find(q, tids[i]);

		if (!t || !regs || !is_in_call(regs, t->call) || !count_is(t->fd, 0))
			return false;
	}
	return true;
}

static void close_all(struct ckpt_maps_before *before)
{
	struct quiet *q = (struct quiet *)before;

	ckpt_close_fd(&q->pidfd);
	for (size_t i = 0; i < q->n && i < THREADS_MAX; i++)
		ckpt_close_fd(&q->thread[i].fd);
}

struct ckpt_maps_before *ckpt_quiet_read(struct ckpt_arena *arena, pid_t pid)
{
	size_t n_areas = count_areas(pid);
	struct quiet *q;

	if (n_areas < AREAS_MIN) /* mostly */
		return NULL;
	q = ckpt_new(arena, struct quiet);
	q->before.pid = pid;
	q->before.still_true = still_true;
	q->before.close = close_all;
	q->pidfd = syscall(SYS_pidfd_open, pid, 0);
	if (q->pidfd >= 0 && list_threads(q) && all_wait(q) &&
	    n_areas >= AREAS_MIN + q->n * AREAS_PER_THREAD && breakpoints_work() && watch_all(q) &&
	    read_areas(q, arena))
		return &q->before;
	close_all(&q->before);
	return NULL;
}
