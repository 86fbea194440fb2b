/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that has a number, ids and groups for as long as one call takes. The kernel goes on
 * telling its number when it has long ended, also when another process gets it. Where the number is
 * our own a thread does it: credentials are those of a thread.
 */
#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <linux/securebits.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine/plan/actor.h"

#define GROUPS_SEEN 256
#define UNDONE INT_MIN /* as a code */

struct act {
	const struct ckpt_actor *as;
	int (*fn)(void *arg, struct ckpt_err *err);
	void *arg;
	struct ckpt_err *err;
	volatile pid_t pid; /* written where the compiler sees no way back */
	volatile int code;
};

static bool has_groups(const struct ckpt_actor *as)
{
	gid_t have[GROUPS_SEEN];
	int n = getgroups(GROUPS_SEEN, have);

	return n >= 0 && (size_t)n == as->n_groups &&
	       (!n || !memcmp(have, as->groups, n * sizeof(*have)));
}

bool ckpt_actor_is_us(const struct ckpt_actor *as)
{
	return (!as->pid || as->pid == getpid()) &&
	       (as->uid == (uid_t)-1 ||
		(as->uid == geteuid() && as->gid == getegid() && has_groups(as)));
}

/* Raw calls: those of libc would change all threads. Capabilities stay, for places that only we
 * reach. */
static void become(const struct ckpt_actor *as)
{
	if (as->uid == (uid_t)-1)
		return;
	syscall(SYS_prctl, PR_SET_SECUREBITS,
		syscall(SYS_prctl, PR_GET_SECUREBITS) | SECBIT_NO_SETUID_FIXUP);
	if (!has_groups(as))
		syscall(SYS_setgroups, as->n_groups, as->groups);
	syscall(SYS_setresgid, -1, as->gid, -1);
	syscall(SYS_setresuid, -1, as->uid, -1);
}

static void __attribute__((noreturn)) act(struct act *a)
{
	become(a->as);
	a->pid = syscall(SYS_getpid);
	a->code = a->fn(a->arg, a->err);
	for (;;)
		syscall(SYS_exit, 0);
}

/* As vfork(2): the child runs on our stack, in frames above this one, which it never leaves. */
static long __attribute__((noinline)) clone_and_act(struct clone_args *ca, struct act *a)
{
	long r;

	__asm__ volatile("syscall"
			 : "=a"(r)
			 : "a"(SYS_clone3), "D"(ca), "S"(sizeof(*ca))
			 : "rcx", "r11", "memory");
	if (r == 0)
		act(a);
	return r;
}

/* Until nobody can tell that there was another thread. */
static void await_thread(pid_t pid, pid_t tid)
{
	while (syscall(SYS_tgkill, pid, tid, 0) == 0)
		syscall(SYS_sched_yield);
}

int ckpt_act_as(const struct ckpt_actor *as, int (*fn)(void *arg, struct ckpt_err *err), void *arg,
		pid_t *pidp, struct ckpt_err *err)
{
	struct act a = { .as = as, .fn = fn, .arg = arg, .err = err, .code = UNDONE };
	bool thread = as->pid == getpid();
	pid_t pid = as->pid;
	struct clone_args ca = {
		.flags = CLONE_VM | CLONE_VFORK | CLONE_FILES |
			 (thread ? CLONE_THREAD | CLONE_SIGHAND : 0),
		.set_tid = thread || !pid ? 0 : (uintptr_t)&pid,
		.set_tid_size = thread || !pid ? 0 : 1,
	};
	uint64_t all = ~0ull, old;
	int dumpable = prctl(PR_GET_DUMPABLE);
	long r;

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, 8);
	r = clone_and_act(&ca, &a);
	if (r == -EEXIST || r == -EPERM) {
		ca.set_tid = ca.set_tid_size = 0;
		r = clone_and_act(&ca, &a);
	}
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, 8);
	/* Who changes ids changes that of the memory. */
	if (prctl(PR_GET_DUMPABLE) != dumpable)
		prctl(PR_SET_DUMPABLE, dumpable);
	if (r < 0)
		return ckpt_fail(err, r, "cannot start a process");
	if (thread)
		await_thread(pid, r);
	else
		waitpid(r, NULL, __WALL);
	if (pidp)
		*pidp = a.pid;
	return a.code == UNDONE ?
		       ckpt_fail(err, -EIO, "the process that was to do it ended early") :
		       a.code;
}
