/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of all that can be seen of the tree; descriptors of the root only. */
#include <stdint.h>
#include <sys/mman.h>
#include "engine/base/arch/x86-64.h"
#include "engine/capture/capture.h"
#include "engine/capture/fds-ahead.h"
#include "injector/freeze.h"
#include "injector/quiet.h"
#include "injector/warm.h"

#define PREFAULT (512ul << 10) /* a small process needs no more */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

static void warm_thread(void *arg, pid_t pid, pid_t tid)
{
	(void)arg;
	ckpt_scope_warm(pid, tid);
}

static void warm(struct ckpt_job *job, struct ckpt_arena *arena)
{
	const struct ckpt_warm *w = (struct ckpt_warm *)job;
	const struct ckpt_each each = { warm_thread, NULL, NULL };

	ckpt_each_below(arena, w->pid, &each);
	ckpt_helper_put_fds(w->helper, ckpt_fds_ahead_open(arena, w->pid));
	ckpt_helper_put(w->helper, ckpt_quiet_read(arena, w->pid));
}

void ckpt_warm_start(struct ckpt_warm *w, struct ckpt_helper *helper, pid_t pid)
{
	w->job.run = warm;
	w->helper = helper;
	w->pid = pid;
	ckpt_helper_start(helper, &w->job);
}

/* Memory that is going to be used while the tree stands still: touched for the first time before
 * that. */
void ckpt_warm_arena(struct ckpt_arena *arena)
{
	uintptr_t next = (uintptr_t)ckpt_alloc(arena, 1) & ~(CKPT_PAGE - 1);

	if (ckpt_arena_left(arena) > 2 * PREFAULT)
		madvise((void *)next, PREFAULT, MADV_POPULATE_WRITE);
}
