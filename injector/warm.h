/* SPDX-License-Identifier: Apache-2.0 */
/* What is done before the tree stands still: threads and descriptors are looked up, and areas of
 * who waits may be read by then. */
#pragma once
#include <sys/types.h>
#include "engine/capture/helper.h"

/* So many bytes from a page on. */
void ckpt_touch(void *at, size_t size);

struct ckpt_warm {
	struct ckpt_job job;
	struct ckpt_helper *helper;
	pid_t pid;
	size_t n_threads; /* seen by then */
};

/* Begins to look at the threads and descriptors of PID and all below, and at the areas of who has
 * many (quiet.h). Nothing can fail. W is borrowed until it has been waited for. */
void ckpt_warm_start(struct ckpt_warm *w, struct ckpt_helper *helper, pid_t pid);
/* Waits until that has been done, and touches memory that is going to be used. */
void ckpt_warm_end(struct ckpt_warm *w, struct ckpt_arena *arena);
