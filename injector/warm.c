/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of all that can be seen of the tree; descriptors of the root only. */
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
#define PREFAULT (512ul << 10) /* a small process needs no more */
#define STATE 8192             /* more for each thread, by who captures */
#define LOOK 2048              /* the same, by the helper */
#define MOST 2048              /* threads */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

struct threads {
	struct ckpt_arena *arena;
	struct ckpt_threads_ahead *ahead;
};

static void warm_thread(void *arg, pid_t pid, pid_t tid)
{
	struct threads *t = arg;

	ckpt_threads_ahead_add(t->ahead, t->arena, pid, tid);
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
	struct threads t = { arena, ckpt_threads_ahead_open(arena) };
	const struct ckpt_each each = { warm_thread, NULL, &t };

	ckpt_each_below(arena, w->pid, &each);
	ckpt_threads_ahead_sort(t.ahead);
	ckpt_helper_put_threads(w->helper, t.ahead);
	ckpt_helper_put_fds(w->helper, ckpt_fds_ahead_open(arena, w->pid));
	ckpt_helper_put(w->helper, ckpt_quiet_read(arena, w->pid));
	w->n_threads = t.ahead->n_seen;
	touch(arena, some(w->n_threads) * LOOK);
}

void ckpt_warm_start(struct ckpt_warm *w, struct ckpt_helper *helper, pid_t pid)
{
	w->job.run = warm;
	w->helper = helper;
	w->pid = pid;
	ckpt_helper_start(helper, &w->job);
}

void ckpt_warm_arena(const struct ckpt_warm *w, struct ckpt_arena *arena)
{
	touch(arena, PREFAULT + some(w->n_threads) * STATE);
}
