/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A task of the restored tree, from its fork until it leaves this program for the interpreter. It
 * walks its own steps of the plan; only raw system calls and the kinds run here, no allocation, no
 * locks of libc.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/rseq.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/fd-of.h"
#include "engine/plan/program.h"
#include "injector/fill.h"
#include "injector/job.h"
#include "injector/lazy.h"

#define N_SIGNALS 64

/* Like the kernel's, which is what rt_sigaction takes. */
struct kernel_sigaction {
	void *handler;
	unsigned long flags;
	void *restorer;
	uint64_t mask;
};

static void __attribute__((noreturn))
fail(struct ckpt_job *job, const struct ckpt_task *task, const struct ckpt_err *err)
{
	job->slots[task->id - 1].err = *err;
	ckpt_gate_arrive(&job->gates->failed);
	_exit(70);
}

/* Nothing of ours may reach the program: default actions; everything blocked but SIGCHLD, which the
 * default drops. */
static void reset_signals(void)
{
	struct kernel_sigaction dfl = { 0 };
	uint64_t all_but_chld = ~(1ull << (SIGCHLD - 1));
	stack_t none = { .ss_flags = SS_DISABLE };

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all_but_chld, NULL, 8);
	for (int n = 1; n <= N_SIGNALS; n++)
		syscall(SYS_rt_sigaction, n, &dfl, NULL, 8);
	sigaltstack(&none, NULL);
}

static bool leaves_core(int sig)
{
	return sig == SIGQUIT || sig == SIGILL || sig == SIGTRAP || sig == SIGABRT ||
	       sig == SIGBUS || sig == SIGFPE || sig == SIGSEGV || sig == SIGXCPU ||
	       sig == SIGXFSZ || sig == SIGSYS;
}

/* Ends as the zombie did: with its exit status, or by its signal (without a core file: that was
 * written then). */
static void __attribute__((noreturn)) die(const struct ckpt_job *job, const struct ckpt_task *task)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct no_caps[2] = { { 0 } };
	int status = task->exit_status;
	uint64_t none = 0;

	if (job->coordinator == 1) /* the capabilities of a box would keep others from looking at
				      the zombie */
		syscall(SYS_capset, &head, no_caps);

	prctl(PR_SET_NAME, task->comm, 0, 0, 0);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8);
	if (WIFSIGNALED(status)) {
		if (leaves_core(WTERMSIG(status)))
			prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
		syscall(SYS_tgkill, task->pid, task->pid, WTERMSIG(status));
	}
	_exit(WEXITSTATUS(status));
}

static int set_group(struct ckpt_job *job, int number, struct ckpt_err *err)
{
	pid_t group = number < 0 ? getpgid(job->coordinator) : number;

	if (getpgid(0) == group)
		return 0;
	return setpgid(0, group) < 0 ? ckpt_fail(err, -errno, "cannot join group %d", group) : 0;
}

/* Forks, as children of our parent, the tasks of the session that we lead for a moment. */
static void fork_orphans(struct ckpt_job *job, const struct ckpt_task *parent, pid_t sid)
{
	const struct ckpt_snapshot *snap = job->plan->snap;
	struct ckpt_err err = CKPT_ERR_INIT;

	for (size_t i = parent->id; i < snap->n_tasks; i++) {
		const struct ckpt_task *t = snap->tasks[i];

		if (t->parent == parent->id && t->sid == sid &&
		    ckpt_task_fork(job, t, true, &err) < 0)
			fail(job, parent, &err);
	}
}

/* Gives its number to a session or a group whose leader is dead, until everyone is in it. */
static int stand_in(struct ckpt_job *job, const struct ckpt_task *task, const struct ckpt_step *s,
		    struct ckpt_err *err)
{
	pid_t pid = s->number;
	struct clone_args ca = { .exit_signal = SIGCHLD,
				 .set_tid = (uintptr_t)&pid,
				 .set_tid_size = 1 };
	long r = syscall(SYS_clone3, &ca, sizeof(ca));

	if (r < 0 && errno == EEXIST)
		return ckpt_refuse(err, CKPT_E_PID_TAKEN, -EEXIST,
				   "number %d of a dead leader is taken", pid);
	if (r != 0)
		return r < 0 ? ckpt_fail(err, -errno, "cannot stand in for the dead leader %d",
					 pid) :
			       0;
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (s->object) {
		setsid();
		fork_orphans(job, task, pid);
	} else {
		setpgid(0, 0);
	}
	ckpt_gate_arrive(&job->gates->forked);
	ckpt_gate_await(&job->gates->installed, job->plan->snap->n_tasks);
	_exit(0);
}

static void reap_stand_ins(struct ckpt_job *job, const struct ckpt_task *task)
{
	for (uint32_t i = 0; i < job->n_steps[task->id]; i++) {
		const struct ckpt_step *s = &job->plan->steps[job->steps[task->id][i]];

		if (s->verb == CKPT_STAND_IN)
			waitpid(s->number, NULL, __WALL);
	}
}

/* Their SIGCHLD has to come while the default action drops it, and before we are traced, when
 * nothing is dropped. */
static void await_zombies(struct ckpt_job *job, const struct ckpt_task *task)
{
	const struct ckpt_snapshot *snap = job->plan->snap;
	siginfo_t si;

	for (size_t i = task->id; i < snap->n_tasks; i++)
		if (snap->tasks[i]->parent == task->id && snap->tasks[i]->run_state == CKPT_ZOMBIE)
			waitid(P_PID, snap->tasks[i]->pid, &si, WEXITED | WNOWAIT);
}

static int install(struct ckpt_job *job, const struct ckpt_step *s, struct ckpt_err *err)
{
	if (dup3(job->plan->bank[s->object], s->number, s->cloexec ? O_CLOEXEC : 0) < 0)
		return ckpt_fail(err, -errno, "fd %d: cannot install %s %u", s->number,
				 job->plan->snap->objects[s->object - 1]->kind->name, s->object);
	return 0;
}

static int fetch(struct ckpt_job *job, const struct ckpt_step *s, struct ckpt_err *err)
{
	int number = job->plan->bank[s->object];
	CKPT_FD fd = ckpt_fd_of(s->number, number);

	if (fd < 0 || dup3(fd, number, O_CLOEXEC) < 0)
		return ckpt_fail(err, -errno, "%s %u: cannot get it from process %d",
				 job->plan->snap->objects[s->object - 1]->kind->name, s->object,
				 s->number);
	job->made[s->object] = true;
	return 0;
}

static int run_step(struct ckpt_job *job, const struct ckpt_task *task, const struct ckpt_step *s,
		    struct ckpt_err *err)
{
	const struct ckpt_snapshot *snap = job->plan->snap;

	switch (s->verb) {
	case CKPT_SESSION:
		return setsid() < 0 ? ckpt_fail(err, -errno, "cannot make a session") : 0;
	case CKPT_CONTROL:
		return snap->objects[s->object - 1]->kind->control(
			&job->site, snap->objects[s->object - 1], err);
	case CKPT_CREATE:
	case CKPT_MAKE:
		return ckpt_builder_create(job, s->object, err);
	case CKPT_FORK:
		return ckpt_task_fork(job, snap->tasks[s->object - 1], false, err);
	case CKPT_STAND_IN:
		return stand_in(job, task, s, err);
	case CKPT_LEAD:
		return setpgid(0, 0) < 0 ? ckpt_fail(err, -errno, "cannot lead a group") : 0;
	case CKPT_GROUP:
		return set_group(job, s->number, err);
	case CKPT_FETCH:
		return fetch(job, s, err);
	case CKPT_INSTALL:
		return install(job, s, err);
	case CKPT_LINK:
		return snap->objects[s->object - 1]->kind->link(&job->site,
								snap->objects[s->object - 1], err);
	case CKPT_ATTACH:
		return snap->objects[s->object - 1]->kind->attach(
			&job->site, snap->objects[s->object - 1], err);
	case CKPT_ENTER:
		return 0;
	}
	return ckpt_fail(err, -EINVAL, "unknown step %d", s->verb);
}

/* The stretches between barriers, by verb. */
static void run_steps(struct ckpt_job *job, const struct ckpt_task *task, unsigned int verbs)
{
	struct ckpt_err err = CKPT_ERR_INIT;

	for (uint32_t i = 0; i < job->n_steps[task->id]; i++) {
		const struct ckpt_step *s = &job->plan->steps[job->steps[task->id][i]];

		if (!(verbs >> s->verb & 1))
			continue;
		if (run_step(job, task, s, &err) < 0) {
			ckpt_in(&err, err.code, "process %d", task->pid);
			fail(job, task, &err);
		}
	}
}

/* libc's rseq area goes with the rest of this program; the kernel must not write there any more. */
static void leave_libc(void)
{
	syscall(SYS_rseq, (char *)__builtin_thread_pointer() + __rseq_offset, 32,
		RSEQ_FLAG_UNREGISTER, RSEQ_SIG);
	syscall(SYS_set_robust_list, NULL, 24);
	syscall(SYS_set_tid_address, NULL);
}

static void __attribute__((noreturn)) enter(struct ckpt_job *job, const struct ckpt_task *task)
{
	const struct ckpt_task_program *prog = job->plan->programs[task->id - 1];
	const struct ckpt_layout *l = job->plan->layout;
	struct ckpt_err err = CKPT_ERR_INIT;
	void *home = mmap((void *)(uintptr_t)l->home, prog->len, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (home == MAP_FAILED) {
		ckpt_fail(&err, -errno, "process %d: cannot map %zu bytes for its restore",
			  task->pid, prog->len);
		fail(job, task, &err);
	}
	if (ckpt_lazy_send(job, task, &err) < 0 || ckpt_fill_offer(job, task, &err) < 0)
		fail(job, task, &err);
	memcpy(home, prog->bytes, prog->len);
	leave_libc();
	__asm__ volatile("mov %0, %%rsp\n\t"
			 "push $0\n\t"
			 "jmp *%1"
			 :
			 : "r"(prog->stack), "r"(l->blob), "D"(prog->entry)
			 : "memory");
	__builtin_unreachable();
}

static uint32_t count_stand_ins(const struct ckpt_plan *plan)
{
	uint32_t n = 0;

	for (size_t i = 0; i < plan->n_steps; i++)
		n += plan->steps[i].verb == CKPT_STAND_IN;
	return n;
}

static void __attribute__((noreturn))
task_main(struct ckpt_job *job, const struct ckpt_task *task, pid_t parent)
{
	uint32_t n_tasks = job->plan->snap->n_tasks;
	struct ckpt_err err = CKPT_ERR_INIT;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != parent)
		_exit(71);
	job->slots[task->id - 1].born = 1;
	job->site.task = task;
	job->log = NULL;
	reset_signals();
	if (ckpt_stage_task(job, task, &err) < 0) {
		ckpt_in(&err, err.code, "process %d", task->pid);
		fail(job, task, &err);
	}
	run_steps(job, task,
		  1u << CKPT_SESSION | 1u << CKPT_CONTROL | 1u << CKPT_STAND_IN | 1u << CKPT_LEAD |
			  1u << CKPT_CREATE | 1u << CKPT_FORK);
	ckpt_gate_arrive(&job->gates->forked);
	ckpt_gate_await(&job->gates->forked, n_tasks + count_stand_ins(job->plan));
	run_steps(job, task, 1u << CKPT_GROUP | 1u << CKPT_MAKE);
	if (job->plan->has_last) {
		ckpt_gate_arrive(&job->gates->made);
		ckpt_gate_await(&job->gates->made, n_tasks);
	}
	run_steps(job, task, 1u << CKPT_FETCH | 1u << CKPT_INSTALL);
	ckpt_gate_arrive(&job->gates->installed);
	ckpt_gate_await(&job->gates->installed, n_tasks);
	reap_stand_ins(job, task);
	if (task->run_state == CKPT_ZOMBIE)
		die(job, task);
	await_zombies(job, task);
	run_steps(job, task, 1u << CKPT_LINK | 1u << CKPT_ATTACH);
	enter(job, task);
}

int ckpt_task_fork(struct ckpt_job *job, const struct ckpt_task *task, bool sibling,
		   struct ckpt_err *err)
{
	pid_t pid = task->pid, parent = sibling ? getppid() : getpid();
	struct clone_args ca = {
		.flags = sibling ? CLONE_PARENT : task->shares,
		.exit_signal = sibling ? 0 : SIGCHLD, /* a sibling has that of its creator */
		.set_tid = (uintptr_t)&pid,
		.set_tid_size = 1,
	};
	long r = syscall(SYS_clone3, &ca, sizeof(ca));

	if (r == 0)
		task_main(job, task, parent);
	if (r < 0 && errno == EEXIST)
		return ckpt_refuse(err, CKPT_E_PID_TAKEN, -EEXIST,
				   "process %d (%s): its number is taken", task->pid, task->comm);
	if (r < 0 && errno == EPERM)
		return ckpt_refuse(
			err, CKPT_E_PRIVILEGE, -EPERM,
			"process %d (%s): may not choose its number (CAP_CHECKPOINT_RESTORE)",
			task->pid, task->comm);
	return r < 0 ? ckpt_fail(err, -errno, "process %d (%s): cannot fork", task->pid,
				 task->comm) :
		       0;
}
