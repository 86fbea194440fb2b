/* SPDX-License-Identifier: Apache-2.0 */
/* A queue of jobs and one thread. Who waits for a job takes the next one from the queue himself. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include "engine/base/clocks.h"
#include "engine/base/err.h"
#include "engine/base/pass.h"
#include "engine/capture/fds-ahead.h"
#include "engine/capture/helper.h"
#include "engine/capture/maps.h"
#include "engine/capture/threads-ahead.h"

#define RESERVE (16ull << 30) /* address space only */
#define SHORTLY_NS 300000

struct ckpt_helper {
	struct ckpt_arena *arena, *own; /* of the caller, of the thread */
	bool started;
	pthread_t thread;
	pthread_mutex_t lock; /* of all that follows, and of the states of the jobs */
	pthread_cond_t changed;
	struct ckpt_job *first, **lastp;
	unsigned int n_running;
	bool closing;
	struct ckpt_maps_before *before;
	struct ckpt_fds_ahead *fds;
	struct ckpt_threads_ahead *threads;
};

/* Called and returns with the lock held. */
static void run_next(struct ckpt_helper *h, struct ckpt_arena *arena)
{
	struct ckpt_job *job = h->first;

	h->first = job->next;
	if (!h->first)
		h->lastp = &h->first;
	job->state = CKPT_JOB_RUNS;
	h->n_running++;
	pthread_mutex_unlock(&h->lock);
	job->run(job, arena);
	pthread_mutex_lock(&h->lock);
	job->state = CKPT_JOB_DONE;
	h->n_running--;
	pthread_cond_broadcast(&h->changed);
}

static void *run(void *arg)
{
	struct ckpt_helper *h = arg;
	struct ckpt_pass pass = { 0 };

	pthread_mutex_lock(&h->lock);
	while (!h->closing) {
		if (!h->first) {
			pthread_cond_wait(&h->changed, &h->lock);
			continue;
		}
		run_next(h, h->own);
		/* Threads of the target wake up to answer, and who asks them waits for that. */
		pthread_mutex_unlock(&h->lock);
		ckpt_pass(&pass);
		pthread_mutex_lock(&h->lock);
	}
	pthread_mutex_unlock(&h->lock);
	return NULL;
}

/* Signals are for the thread that knows what to do with them. */
static bool start(struct ckpt_helper *h)
{
	pthread_attr_t attr;
	sigset_t all;
	bool started;

	sigfillset(&all);
	if (pthread_attr_init(&attr))
		return false;
	started = !pthread_attr_setsigmask_np(&attr, &all) &&
		  !pthread_create(&h->thread, &attr, run, h);
	pthread_attr_destroy(&attr);
	return started;
}

struct ckpt_helper *ckpt_helper_open(struct ckpt_arena *arena)
{
	struct ckpt_helper *h = ckpt_new(arena, struct ckpt_helper);
	struct ckpt_err ignored;

	h->arena = arena;
	h->lastp = &h->first;
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->changed, NULL);
	if (ckpt_arena_open(&h->own, RESERVE, &ignored) < 0)
		return h;
	h->started = start(h);
	return h;
}

void ckpt_helper_start(struct ckpt_helper *h, struct ckpt_job *job)
{
	job->state = CKPT_JOB_WAITS;
	job->next = NULL;
	pthread_mutex_lock(&h->lock);
	*h->lastp = job;
	h->lastp = &job->next;
	pthread_cond_broadcast(&h->changed);
	pthread_mutex_unlock(&h->lock);
}

bool ckpt_helper_has_done(struct ckpt_helper *h, const struct ckpt_job *job)
{
	bool done;

	pthread_mutex_lock(&h->lock);
	done = job->state == CKPT_JOB_DONE;
	pthread_mutex_unlock(&h->lock);
	return done;
}

/* A processor that sleeps takes as long to wake up as most jobs to be done. */
static void await_shortly(struct ckpt_helper *h, const struct ckpt_job *job)
{
	for (uint64_t until = ckpt_now_ns() + SHORTLY_NS;
	     !ckpt_helper_has_done(h, job) && ckpt_now_ns() < until;)
		sched_yield();
}

void ckpt_helper_wait(struct ckpt_helper *h, struct ckpt_job *job)
{
	bool idle = false;

	pthread_mutex_lock(&h->lock);
	while (job->state != CKPT_JOB_DONE) {
		if (h->first) {
			run_next(h, h->arena);
		} else if (!idle) {
			idle = true;
			pthread_mutex_unlock(&h->lock);
			await_shortly(h, job);
			pthread_mutex_lock(&h->lock);
		} else {
			pthread_cond_wait(&h->changed, &h->lock);
		}
	}
	pthread_mutex_unlock(&h->lock);
}

void ckpt_helper_put(struct ckpt_helper *h, struct ckpt_maps_before *before)
{
	if (!before)
		return;
	before->next = h->before;
	h->before = before;
}

struct ckpt_maps_before *ckpt_helper_maps(const struct ckpt_helper *h, pid_t pid)
{
	struct ckpt_maps_before *before = h->before;

	while (before && before->pid != pid)
		before = before->next;
	return before;
}

void ckpt_helper_put_fds(struct ckpt_helper *h, struct ckpt_fds_ahead *ahead)
{
	if (!ahead)
		return;
	ahead->next = h->fds;
	h->fds = ahead;
}

const struct ckpt_fds_ahead *ckpt_helper_fds(const struct ckpt_helper *h, pid_t pid)
{
	const struct ckpt_fds_ahead *ahead = h->fds;

	while (ahead && ahead->pid != pid)
		ahead = ahead->next;
	return ahead;
}

void ckpt_helper_put_threads(struct ckpt_helper *h, struct ckpt_threads_ahead *ahead)
{
	h->threads = ahead;
}

const struct ckpt_threads_ahead *ckpt_helper_threads(const struct ckpt_helper *h)
{
	return h->threads;
}

void ckpt_helper_drain(struct ckpt_helper *h)
{
	pthread_mutex_lock(&h->lock);
	h->first = NULL;
	h->lastp = &h->first;
	while (h->n_running)
		pthread_cond_wait(&h->changed, &h->lock);
	pthread_mutex_unlock(&h->lock);
}

void ckpt_helper_close(struct ckpt_helper *h)
{
	if (!h)
		return;
	ckpt_helper_drain(h);
	pthread_mutex_lock(&h->lock);
	h->closing = true;
	pthread_cond_broadcast(&h->changed);
	pthread_mutex_unlock(&h->lock);
	if (h->started)
		pthread_join(h->thread, NULL);
	for (struct ckpt_maps_before *b = h->before; b; b = b->next)
		b->close(b);
	for (struct ckpt_fds_ahead *f = h->fds; f; f = f->next)
		ckpt_fds_ahead_close(f);
	ckpt_threads_ahead_close(h->threads);
	ckpt_arena_close(h->own);
	pthread_cond_destroy(&h->changed);
	pthread_mutex_destroy(&h->lock);
}
