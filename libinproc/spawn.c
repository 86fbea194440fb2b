/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that the program does not see: neither as a child, nor by SIGCHLD or wait(2), nor in
 * its use of resources. A process between, which shares our memory and is waited for here, makes
 * them and ends; they go to whoever takes orphans.
 */
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "libinproc/inproc.h"
#include "libinproc/sys.h"
#include "libinproc/wrap.h"

#ifndef PR_SET_CHILD_SUBREAPER
#define PR_SET_CHILD_SUBREAPER 36
#define PR_GET_CHILD_SUBREAPER 37
#endif
#define STACK 16384

/* Of the processes below: all threads are parked, or one starts the engine. Not in the session,
 * which the copy finds cleared. */
static char stack[STACK] __attribute__((aligned(16)));

struct between {
	int (*make)(void *arg); /* the number of the new process, or -errno */
	void *arg;
	int result;
};

static int between_main(void *arg)
{
	struct between *b = arg;

	b->result = b->make(b->arg);
	ckpt_sys(SYS_exit_group, 0);
	return 0;
}

/* The process between has no number of children: exit signal 0 means that no SIGCHLD is sent and
 * that only wait(2) with __WALL or __WCLONE finds it. It uses the stack that is meant for it. */
static int make_between(struct between *b)
{
	int pid = clone(between_main, stack + STACK, CLONE_VM | CLONE_VFORK, b);
	int status;

	if (pid < 0)
		return -EAGAIN;
	ckpt_sys(SYS_wait4, pid, &status, __WALL, NULL);
	return b->result;
}

/* A subreaper would get the new process as its child. */
static int make_orphan(int (*make)(void *arg), void *arg)
{
	struct between b = { make, arg, -ECHILD };
	struct rusage before = { 0 }, after = { 0 };
	int reaps = 0, saved = errno, r;

	ckpt_sys(SYS_prctl, PR_GET_CHILD_SUBREAPER, &reaps);
	if (reaps)
		ckpt_sys(SYS_prctl, PR_SET_CHILD_SUBREAPER, 0);
	ckpt_sys(SYS_getrusage, RUSAGE_CHILDREN, &before);
	r = make_between(&b);
	ckpt_sys(SYS_getrusage, RUSAGE_CHILDREN, &after);
	ckpt_usage_hide(&before, &after);
	if (reaps)
		ckpt_sys(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1);
	errno = saved; /* a thread with a deadline cannot be copied */
	return r;
}

/* ---- the engine ---- */

struct engine {
	char *argv[5];
	int error; /* of the exec */
};

/* The program's handlers must not run in there: everything stays blocked, and the handlers go with
 * the exec. The engine unblocks what it wants. */
static int engine_main(void *arg)
{
	struct engine *e = arg;

	ckpt_sys(SYS_setsid);
	ckpt_sys(SYS_close_range, 3, ~0u, 0);
	e->error = ckpt_sys(SYS_execve, ckpt_config.engine, e->argv, ckpt_config.engine_env);
	ckpt_sys(SYS_exit_group, 127);
	return 0;
}

/* By the process between; it goes on when the engine has been executed. */
static int make_engine(void *arg)
{
	return clone(engine_main, stack + STACK / 2, CLONE_VM | CLONE_VFORK, arg);
}

pid_t ckpt_spawn_engine(const char *option)
{
	char digits[12];
	struct engine e = { { (char *)"ckpt-signal", (char *)"--answer",
			      ckpt_number(digits + sizeof(digits), ckpt_sys(SYS_getpid)),
			      (char *)option },
			    0 };
	int pid;

	if (!ckpt_config.engine)
		return -ENOENT;
	pid = make_orphan(make_engine, &e);
	return e.error ? e.error : pid;
}

/* ---- a copy ---- */

struct copy {
	int fd;
	const struct ckpt_copier *copier;
};

/* Nothing of it is ever seen among the descriptors of the program, which are being looked at. */
static int make_copy(void *arg)
{
	const struct copy *c = arg;
	int64_t pid, r;
	int ends[2];

	/* The copy is born with what we have, and everybody may go on before it runs. */
	ckpt_sys(SYS_setsid);
	if (c->fd)
		ckpt_sys(SYS_close_range, 0, c->fd - 1, 0);
	ckpt_sys(SYS_close_range, c->fd + 1, ~0u, 0);
	r = ckpt_sys(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
	if (r < 0)
		return r;
	pid = ckpt_sys(SYS_clone, 0, 0, 0, 0, 0);
	if (pid > 0)
		c->copier->made(c->copier->arg, pid, ends[0]);
	if (pid)
		return pid;
	ckpt_sys(SYS_dup2, ends[1], 0);
	ckpt_sys(SYS_close_range, 1, ~0u, 0);
	c->copier->copy(c->copier->arg);
	ckpt_sys(SYS_exit_group, 0);
	return 0;
}

pid_t ckpt_spawn_copy(int fd, const struct ckpt_copier *copier)
{
	struct copy c = { fd, copier };

	return make_orphan(make_copy, &c);
}
