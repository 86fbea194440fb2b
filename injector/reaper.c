/* SPDX-License-Identifier: Apache-2.0 */
/* A thread of ours that takes note of the death of tracees while another one is stuck in
 * PTRACE_SEIZE. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>
#include "injector/reaper.h"

#define PERIOD_NS 10000000 /* a freeze is mostly over before the first look */

struct tid {
	pid_t tid;
	struct tid *next;
};

struct ckpt_reaper {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool end;
	_Atomic(struct tid *) first;
};

/* Deaths only: stops are for the tracer, but the kernel shows those of tracees whether they are
 * asked for or not. */
static void look(const struct tid *t)
{
	for (; t; t = t->next) {
		siginfo_t info = { .si_pid = 0 };

		if (waitid(P_PID, t->tid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) ||
		    !info.si_pid)
			continue;
		if (info.si_code == CLD_EXITED || info.si_code == CLD_KILLED ||
		    info.si_code == CLD_DUMPED)
			waitid(P_PID, t->tid, &info, WEXITED | WNOHANG | __WALL);
	}
}

static void *reap(void *arg)
{
	struct ckpt_reaper *r = arg;
	struct timespec until;

	pthread_mutex_lock(&r->lock);
	while (!r->end) {
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += PERIOD_NS;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&r->changed, &r->lock, &until);
		if (!r->end)
			look(atomic_load(&r->first));
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

struct ckpt_reaper *ckpt_reaper_start(struct ckpt_arena *arena)
{
	struct ckpt_reaper *r = ckpt_new(arena, struct ckpt_reaper);
	sigset_t all, before;
	int failed;

	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->changed, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	failed = pthread_create(&r->thread, NULL, reap, r);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return failed ? NULL : r;
}

void ckpt_reaper_add(struct ckpt_reaper *r, struct ckpt_arena *arena, pid_t tid)
{
	struct tid *t;

	if (!r)
		return;
	t = ckpt_new(arena, struct tid);
	t->tid = tid;
	t->next = atomic_load(&r->first);
	atomic_store(&r->first, t);
}

void ckpt_reaper_stop(struct ckpt_reaper *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->end = true;
	pthread_cond_signal(&r->changed);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
}
