/* SPDX-License-Identifier: Apache-2.0 */
/* One walk through the tree, by the helper while others are at work. */
#include <stdint.h>
#include <sys/mman.h>
#include "engine/base/arch/x86-64.h"
#include "engine/capture/capture.h"
#include "engine/capture/fds-ahead.h"
#include "engine/capture/threads-ahead.h"
#include "injector/freeze.h"
#include "injector/quiet.h"
#include "injector/warm.h"

/* What is going to be used while the tree stands still is touched for the first time before. */
#define PREFAULT (160ul << 10) /* a small process needs no more */
#define STATE 8192             /* more for each thread, by who captures */
#define LOOK 2048              /* the same, by the helper */
#define MOST 2048              /* threads */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

struct seen {
	struct ckpt_arena *arena;
	struct ckpt_helper *helper;
	struct ckpt_threads_ahead *threads;
	size_t fds_left; /* that may still be opened */
};

static void warm_thread(void *arg, pid_t pid, pid_t tid)
{
	struct seen *s = arg;

	ckpt_threads_ahead_add(s->threads, s->arena, pid, tid);
}

static void warm_process(void *arg, pid_t pid)
{
	struct seen *s = arg;
	struct ckpt_fds_ahead *fds = ckpt_fds_ahead_open(s->arena, pid, s->fds_left);

	if (fds)
		s->fds_left -= fds->n;
	ckpt_helper_put_fds(s->helper, fds);
	ckpt_helper_put(s->helper, ckpt_quiet_read(s->arena, pid));
}

static size_t some(size_t n_threads)
{
	return n_threads < MOST ? n_threads : MOST;
}

void ckpt_touch(void *at, size_t size)
{
	madvise(at, size, MADV_POPULATE_WRITE);
}

static void touch(struct ckpt_arena *arena, size_t size)
{
	uintptr_t next = (uintptr_t)ckpt_alloc(arena, 1) & ~(CKPT_PAGE - 1);

	if (ckpt_arena_left(arena) > 2 * size)
		ckpt_touch((void *)next, size);
}

static void warm(struct ckpt_job *job, struct ckpt_arena *arena)
{
	struct ckpt_warm *w = (struct ckpt_warm *)job;
	struct seen s = { arena, w->helper, ckpt_threads_ahead_open(arena), ckpt_fds_ahead_most() };
	const struct ckpt_each each = { warm_thread, warm_process, &s };

	ckpt_each_below(arena, w->pid, &each);
	ckpt_threads_ahead_sort(s.threads);
	ckpt_helper_put_threads(w->helper, s.threads);
	w->n_threads = s.threads->n_seen;
	touch(arena, some(w->n_threads) * LOOK);
}

void ckpt_warm_start(struct ckpt_warm *w, struct ckpt_helper *helper, pid_t pid)
{
	w->job.run = warm;
	w->helper = helper;
	w->pid = pid;
	ckpt_helper_start(helper, &w->job);
}

void ckpt_warm_end(struct ckpt_warm *w, struct ckpt_arena *arena)
{
	ckpt_helper_wait(w->helper, &w->job);
	touch(arena, PREFAULT + some(w->n_threads) * STATE);
}
