/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far a long operation is. Who moves bytes says so, by any thread; who started it may show
 * that. It hangs on the arena of the operation (arena.h): NULL, which is fine here, where nobody
 * looks.
 */
#pragma once
#include <stdint.h>

struct ckpt_progress {
	const char *doing;    /* in this step; NULL: what the operation is for */
	uint64_t start;       /* of the step; CLOCK_MONOTONIC in ns */
	uint64_t done, total; /* bytes of it, DONE atomic; TOTAL 0: nobody knows */
	/* Called for each piece, by any thread, also while a tree stands still: waits for nobody.
	 */
	void (*show)(struct ckpt_progress *p);
};

/* A new step; by one thread, with no others at work. DOING lives for ever. */
void ckpt_progress_begin(struct ckpt_progress *p, const char *doing, uint64_t total);
/* So much more is done; 0: it is waited for. */
void ckpt_progress_add(struct ckpt_progress *p, uint64_t bytes);
/* So much of what the operation is for is done, in the step that there is. */
void ckpt_progress_at(struct ckpt_progress *p, uint64_t done, uint64_t total);
