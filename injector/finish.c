/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a restore. Every thread waits in the interpreter, attached to us: until all is done
 * the tree dies with us. Then each process gives up the restorer's memory, each thread gets its
 * registers, and all are let go.
 */
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "engine/plan/program.h"
#include "injector/job.h"
#include "injector/ptrace.h"

#ifndef PTRACE_SETSIGMASK
#define PTRACE_SETSIGMASK 0x420b
#endif
#define XSTATE_MAX 65536
#define STOP_WAIT_MS 5000

/* Filters that the threads put on are not for what they have yet to do for us. */
static int seize(pid_t tid)
{
	long options = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD;

	if (ptrace(PTRACE_SEIZE, tid, 0, options | CKPT_PTRACE_O_SUSPEND_SECCOMP) == 0)
		return 0;
	return errno == EPERM || errno == EINVAL ? ptrace(PTRACE_SEIZE, tid, 0, options) : -1;
}

int ckpt_finish_seize(struct ckpt_job *job, struct ckpt_err *err)
{
	const struct ckpt_snapshot *snap = job->plan->snap;

	for (size_t t = 0; t < snap->n_tasks; t++)
		for (size_t i = 0; i < snap->tasks[t]->n_threads; i++) {
			pid_t tid = snap->tasks[t]->threads[i].tid;

			if (!snap->tasks[t]->threads[i].ended && seize(tid) < 0)
				return ckpt_fail(err, -errno, "thread %d: cannot attach", tid);
		}
	return 0;
}

/* Waits for a stop that is not a signal; signals (SIGCHLD of children that end or stop now) are
 * dropped. */
static int wait_stop(pid_t tid, enum __ptrace_request go, struct ckpt_err *err)
{
	for (;;) {
		int status;

		if (waitpid(tid, &status, __WALL) != tid)
			return ckpt_fail(err, -errno, "thread %d: cannot wait for it", tid);
		if (!WIFSTOPPED(status))
			return ckpt_fail(err, -ECHILD, "thread %d: ended with status %#x", tid,
					 status);
		if (status >> 16 == PTRACE_EVENT_STOP || WSTOPSIG(status) == (SIGTRAP | 0x80))
			return 0;
		if (ptrace(go, tid, 0, 0) < 0)
			return ckpt_fail(err, -errno, "thread %d: cannot go on", tid);
	}
}

static int stop_all(struct ckpt_job *job, struct ckpt_err *err)
{
	const struct ckpt_snapshot *snap = job->plan->snap;

	for (size_t t = 0; t < snap->n_tasks; t++)
		for (size_t i = 0; i < snap->tasks[t]->n_threads; i++)
			if (!snap->tasks[t]->threads[i].ended &&
			    ptrace(PTRACE_INTERRUPT, snap->tasks[t]->threads[i].tid, 0, 0) < 0)
				return ckpt_fail(err, -errno, "thread %d: cannot stop",
						 snap->tasks[t]->threads[i].tid);
	for (size_t t = 0; t < snap->n_tasks; t++)
		for (size_t i = 0; i < snap->tasks[t]->n_threads; i++) {
			int r = snap->tasks[t]->threads[i].ended ?
					0 :
					wait_stop(snap->tasks[t]->threads[i].tid, PTRACE_CONT, err);

			if (r < 0)
				return r;
		}
	return 0;
}

/* A system call at the blob's own instruction; the thread is left in the stop behind it. */
static int call_in(struct ckpt_job *job, pid_t tid, long nr, const int64_t *arg, int64_t *retp,
		   struct ckpt_err *err)
{
	struct user_regs_struct regs;

	if (ptrace(PTRACE_GETREGS, tid, 0, &regs) < 0)
		return ckpt_fail(err, -errno, "thread %d: cannot read registers", tid);
	regs.rip = job->blob_syscall;
	regs.rax = nr;
	regs.orig_rax = -1;
	regs.rdi = arg[0], regs.rsi = arg[1], regs.rdx = arg[2];
	regs.r10 = arg[3], regs.r8 = arg[4], regs.r9 = arg[5];
	if (ptrace(PTRACE_SETREGS, tid, 0, &regs) < 0)
		return ckpt_fail(err, -errno, "thread %d: cannot set registers", tid);
	for (int stop = 0; stop < 2; stop++) { /* at the entry, at the exit */
		int r;

		if (ptrace(PTRACE_SYSCALL, tid, 0, 0) < 0)
			return ckpt_fail(err, -errno, "thread %d: cannot go on", tid);
		r = wait_stop(tid, PTRACE_SYSCALL, err);
		if (r < 0)
			return r;
	}
	if (ptrace(PTRACE_GETREGS, tid, 0, &regs) < 0)
		return ckpt_fail(err, -errno, "thread %d: cannot read registers", tid);
	*retp = regs.rax;
	return 0;
}

static int last_calls(struct ckpt_job *job, const struct ckpt_task *task, struct ckpt_err *err)
{
	const struct ckpt_task_program *prog = job->plan->programs[task->id - 1];
	const struct ckpt_layout *l = job->plan->layout;
	int64_t unmap[6] = { l->base, l->home + prog->len - l->base };
	int64_t ret = 0;
	int r;

	for (size_t i = 0; i < prog->n_parked; i++) {
		const struct ckpt_sv_call *c = &prog->parked[i];

		r = call_in(job, ckpt_task_acts(task)->tid, c->nr, c->arg, &ret, err);
		if (r < 0)
			return r;
		if (c->flags & CKPT_SV_EQUAL ? ret != c->want : ret < 0 && ret > -4096)
			return ckpt_fail(err, ret < 0 ? ret : -EIO,
					 "process %d: call %d failed at the end", task->pid, c->nr);
	}
	r = call_in(job, ckpt_task_acts(task)->tid, SYS_munmap, unmap, &ret, err);
	if (r >= 0 && ret < 0)
		r = ckpt_fail(err, ret, "process %d: cannot unmap the restorer", task->pid);
	return r;
}

/* The image's state in a buffer of the size that this kernel wants; what it has more is in its
 * initial state. */
static int set_xstate(pid_t tid, const struct ckpt_regs *regs, struct ckpt_err *err)
{
	uint8_t buf[XSTATE_MAX] __attribute__((aligned(64)));
	struct iovec iov = { buf, sizeof(buf) };

	if (ptrace(PTRACE_GETREGSET, tid, NT_X86_XSTATE, &iov) < 0)
		return ckpt_fail(err, -errno, "thread %d: cannot read the extended registers", tid);
	memset(buf, 0, iov.iov_len);
	memcpy(buf, regs->xstate, regs->xstate_len < iov.iov_len ? regs->xstate_len : iov.iov_len);
	if (ptrace(PTRACE_SETREGSET, tid, NT_X86_XSTATE, &iov) < 0)
		return ckpt_fail(err, -errno, "thread %d: cannot set the extended registers", tid);
	return 0;
}

static int set_registers(const struct ckpt_thread *t, struct ckpt_err *err)
{
	struct user_regs_struct gp = t->regs.gp;
	uint64_t mask = t->regs.sigmask;
	int r = set_xstate(t->tid, &t->regs, err);

	if (r < 0)
		return r;
	gp.orig_rax = -1; /* no system call to be made again: that is in the registers already */
	if (ptrace(PTRACE_SETREGS, t->tid, 0, &gp) < 0)
		return ckpt_fail(err, -errno, "thread %d: cannot set registers", t->tid);
	if (ptrace(PTRACE_SETSIGMASK, t->tid, sizeof(mask), &mask) < 0)
		return ckpt_fail(err, -errno, "thread %d: cannot set the signal mask", t->tid);
	r = t->regs.dispatch.mode ? ckpt_pt_set_dispatch(t->tid, &t->regs.dispatch) : 0;
	return r < 0 ? ckpt_fail(err, r, "thread %d: cannot set syscall user dispatch", t->tid) : 0;
}

/* One that is not there any more was ended by others, its own tree maybe: that is not our matter.
 */
static void let_go(const struct ckpt_task *task)
{
	for (size_t i = 0; i < task->n_threads; i++)
		ptrace(PTRACE_DETACH, task->threads[i].tid, 0, 0);
}

static bool is_in_state(pid_t tid, char state)
{
	struct ckpt_proc_stat st;

	return ckpt_proc_stat(tid, &st) >= 0 && st.state == state;
}

/* Lets a process go into a stop, and waits for all of it: whoever called for the restore finds it
 * standing still, and its parent, still held, must not hear of it later. */
static int let_stop(const struct ckpt_task *task, struct ckpt_err *err)
{
	struct timespec ms = { 0, 1000000 };

	if (kill(task->pid, SIGSTOP) < 0)
		return ckpt_fail(err, -errno, "process %d: cannot stop", task->pid);
	let_go(task);
	for (size_t t = 0; t < task->n_threads; t++) {
		if (task->threads[t].ended)
			continue;
		for (int i = 0; !is_in_state(task->threads[t].tid, 'T'); i++) {
			if (i == STOP_WAIT_MS)
				return ckpt_fail(err, -ETIMEDOUT, "thread %d: does not stop",
						 task->threads[t].tid);
			nanosleep(&ms, NULL);
		}
	}
	return 0;
}

/* From here on it outlives us. */
static int untie(const struct ckpt_task *task, struct ckpt_err *err)
{
	for (size_t i = 0; i < task->n_threads; i++)
		if (!task->threads[i].ended &&
		    ptrace(PTRACE_SETOPTIONS, task->threads[i].tid, 0, PTRACE_O_TRACESYSGOOD) < 0)
			return ckpt_fail(err, -errno, "thread %d: cannot set options",
					 task->threads[i].tid);
	return 0;
}

static bool is_to_stop(const struct ckpt_job *job, const struct ckpt_task *task)
{
	return task->run_state == CKPT_STOPPED ||
	       (task->run_state == CKPT_RUNNING && job->plan->opts->leave_stopped);
}

static int finish_task(struct ckpt_job *job, const struct ckpt_task *task, struct ckpt_err *err)
{
	int r = last_calls(job, task, err);

	for (size_t i = 0; r >= 0 && i < task->n_threads; i++)
		if (!task->threads[i].ended)
			r = set_registers(&task->threads[i], err);
	if (r < 0 || !is_to_stop(job, task))
		return r;
	r = untie(task, err);
	return r < 0 ? r : let_stop(task, err);
}

/* Main threads that had ended do so again, while the restorer is still there for them. */
static int end_main_threads(struct ckpt_job *job, struct ckpt_err *err)
{
	const struct ckpt_snapshot *snap = job->plan->snap;
	struct timespec ms = { 0, 1000000 };

	ckpt_gate_arrive(&job->gates->leave);
	for (size_t t = 0; t < snap->n_tasks; t++) {
		const struct ckpt_task *task = snap->tasks[t];

		if (!task->n_threads || !task->threads[0].ended)
			continue;
		for (int i = 0; !is_in_state(task->pid, 'Z'); i++) {
			if (i == STOP_WAIT_MS)
				return ckpt_fail(err, -ETIMEDOUT,
						 "process %d: its main thread does not end",
						 task->pid);
			nanosleep(&ms, NULL);
		}
	}
	return 0;
}

/* Children before parents: a stopped child's SIGCHLD is dropped at its parent's last calls. */
int ckpt_finish_rest(struct ckpt_job *job, struct ckpt_err *err)
{
	const struct ckpt_snapshot *snap = job->plan->snap;
	int r = end_main_threads(job, err);

	if (r >= 0)
		r = stop_all(job, err);
	for (size_t t = snap->n_tasks; r >= 0 && t-- > 0;)
		if (snap->tasks[t]->run_state != CKPT_ZOMBIE)
			r = finish_task(job, snap->tasks[t], err);
	for (size_t t = 0; r >= 0 && t < snap->n_tasks; t++)
		if (!is_to_stop(job, snap->tasks[t]))
			r = untie(snap->tasks[t], err);
	if (r < 0)
		return r;
	__atomic_store_n(&job->gates->decided, 1, __ATOMIC_SEQ_CST);
	for (size_t t = 0; t < snap->n_tasks; t++)
		if (!is_to_stop(job, snap->tasks[t]))
			let_go(snap->tasks[t]);
	return 0;
}
