/* SPDX-License-Identifier: Apache-2.0 */
/*
 * posix_spawn(3), popen(3), system(3). libc's child takes the mask of the calling thread, or the
 * one that the attributes say; so the reserved signal is blocked in both. system() is written anew:
 * libc gives its child the mask of the moment of the call, and then waits with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "libinproc/wrap.h"

static int go_spawn(const struct ckpt_launch *l, char *const envp[])
{
	int (*spawn)(pid_t *, const char *, const posix_spawn_file_actions_t *,
		     const posix_spawnattr_t *, char *const[],
		     char *const[]) = l->search ? REAL(posix_spawnp) : REAL(posix_spawn);
	posix_spawnattr_t attr;
	sigset_t mask;
	short flags = 0;

	if (l->attr)
		posix_spawnattr_getflags(l->attr, &flags);
	if (!(flags & POSIX_SPAWN_SETSIGMASK) || !ckpt_signal_is_blocked())
		return spawn(l->pidp, l->path, l->actions, l->attr, l->argv, envp);
	attr = *(const posix_spawnattr_t *)l->attr;
	posix_spawnattr_getsigmask(&attr, &mask);
	*(uint64_t *)&mask |= ckpt_reserved_bit();
	posix_spawnattr_setsigmask(&attr, &mask);
	return spawn(l->pidp, l->path, l->actions, &attr, l->argv, envp);
}

static int start(struct ckpt_launch *l, char *const argv[], char *const envp[])
{
	int saved = errno, ret;

	l->go = go_spawn;
	l->dirfd = AT_FDCWD;
	l->argv = argv;
	ret = ckpt_launch(l, envp);
	errno = saved;
	return ret;
}

CKPT_EXPORT int posix_spawn(pid_t *pidp, const char *path,
			    const posix_spawn_file_actions_t *actions,
			    const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	struct ckpt_launch l = { .path = path, .pidp = pidp, .actions = actions, .attr = attr };

	return start(&l, argv, envp);
}

CKPT_EXPORT int posix_spawnp(pid_t *pidp, const char *file,
			     const posix_spawn_file_actions_t *actions,
			     const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	struct ckpt_launch l = { .path = file,
				 .search = true,
				 .pidp = pidp,
				 .actions = actions,
				 .attr = attr };

	return start(&l, argv, envp);
}

/* The shell gets the environment as it is: libc passes it on by itself. */
CKPT_EXPORT FILE *popen(const char *command, const char *mode)
{
	struct ckpt_env_plan plan;
	FILE *ret;
	bool was;

	ckpt_env_plan(&plan, environ);
	if (!plan.carries || plan.slots)
		return REAL(popen)(command, mode);
	was = ckpt_signal_block();
	ret = REAL(popen)(command, mode);
	if (!was)
		ckpt_signal_unblock();
	return ret;
}

/* ---- system ---- */

/* While anybody is in system(), SIGINT and SIGQUIT are ignored; the first one keeps what was. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned int n_users;
static struct sigaction old_int, old_quit;

struct run {
	sigset_t mask; /* of the calling thread */
	pid_t pid;
};

static void enter(struct run *run, sigset_t *defaults)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t chld;

	pthread_mutex_lock(&mutex);
	if (n_users++ == 0) {
		REAL(sigaction)(SIGINT, &ignore, &old_int);
		REAL(sigaction)(SIGQUIT, &ignore, &old_quit);
	}
	sigemptyset(defaults);
	if (old_int.sa_handler != SIG_IGN)
		sigaddset(defaults, SIGINT);
	if (old_quit.sa_handler != SIG_IGN)
		sigaddset(defaults, SIGQUIT);
	pthread_mutex_unlock(&mutex);
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &chld, &run->mask);
}

static void leave(struct run *run)
{
	pthread_mutex_lock(&mutex);
	if (--n_users == 0) {
		REAL(sigaction)(SIGINT, &old_int, NULL);
		REAL(sigaction)(SIGQUIT, &old_quit, NULL);
	}
	pthread_mutex_unlock(&mutex);
	pthread_sigmask(SIG_SETMASK, &run->mask, NULL);
}

/* pthread_cancel(3): the command must not go on alone. */
static void cancelled(void *arg)
{
	struct run *run = arg;
	int state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	kill(run->pid, SIGKILL);
	while (waitpid(run->pid, NULL, 0) < 0 && errno == EINTR)
		;
	leave(run);
	pthread_setcancelstate(state, NULL);
}

static int start_shell(struct run *run, const char *command, const sigset_t *defaults)
{
	const char *argv[] = { "sh", "-c", command, NULL };
	posix_spawnattr_t attr;
	int ret;

	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &run->mask);
	posix_spawnattr_setsigdefault(&attr, defaults);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	ret = posix_spawn(&run->pid, "/bin/sh", NULL, &attr, (char *const *)argv, environ);
	posix_spawnattr_destroy(&attr);
	return ret;
}

static int wait_for(struct run *run)
{
	volatile int status = -1;
	pid_t pid;
	int st;

	pthread_cleanup_push(cancelled, run);
	do {
		pid = waitpid(run->pid, &st, 0);
	} while (pid < 0 && errno == EINTR);
	status = pid == run->pid ? st : -1;
	pthread_cleanup_pop(0);
	return status;
}

static int run_shell(const char *command)
{
	struct run run;
	sigset_t defaults;
	int status, r;

	enter(&run, &defaults);
	r = start_shell(&run, command, &defaults);
	status = r ? W_EXITCODE(127, 0) : wait_for(&run);
	leave(&run);
	if (r)
		errno = r;
	return status;
}

CKPT_EXPORT int system(const char *command)
{
	if (!ckpt_config.on)
		return REAL(system)(command);
	return command ? run_shell(command) : run_shell("exit 0") == 0;
}
