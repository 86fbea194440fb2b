/* SPDX-License-Identifier: Apache-2.0 */
/* The chunks of a process in the order of its memory, from the second one on: who reads takes
 * longer for the first than it takes to compare one. */
#include <pthread.h>
#include <stdlib.h>
#include "engine/look/views.h"

#define WORTH_IT (8ull << 20) /* bytes */

struct ckpt_look_ahead {
	struct ckpt_look *look;
	const struct ckpt_pages *pages;
	pthread_t thread;
	bool stop;
};

/* What is damaged is reported by who comes to it. */
static void *run(void *arg)
{
	struct ckpt_look_ahead *a = arg;
	const uint64_t first = a->pages->run[0].offset / CKPT_CHUNK;
	struct ckpt_err ignored;

	for (size_t i = 0; i < a->pages->n; i++) {
		const struct ckpt_run *run = &a->pages->run[i];
		uint64_t end = run->offset + run->n_pages * CKPT_PAGE, at = run->offset;

		for (; at < end; at = (at / CKPT_CHUNK + 1) * CKPT_CHUNK) {
			if (__atomic_load_n(&a->stop, __ATOMIC_RELAXED))
				return NULL;
			if (at / CKPT_CHUNK == first)
				continue;
			if (ckpt_look_verify(a->look, at, 1, &ignored) < 0)
				return NULL;
		}
	}
	return NULL;
}

struct ckpt_look_ahead *ckpt_look_ahead(struct ckpt_look *look, const struct ckpt_task *task)
{
	struct ckpt_look_ahead *a = calloc(1, sizeof(*a));
	if (a)
		*a = (struct ckpt_look_ahead){ .look = look, .pages = &task->pages };
	if (a && ckpt_view_stored(&task->pages) >= WORTH_IT &&
	    !pthread_create(&a->thread, NULL, run, a))
		return a;
	free(a);
	return NULL;
}

void ckpt_look_ahead_end(struct ckpt_look_ahead *ahead)
{
	if (!ahead)
		return;
	__atomic_store_n(&ahead->stop, true, __ATOMIC_RELAXED);
	pthread_join(ahead->thread, NULL);
	free(ahead);
}
