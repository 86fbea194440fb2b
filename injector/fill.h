/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that the coordinator puts into the tasks while it checks the image, by as many threads as
 * there are processors: what is compared with its checksum is in the cache anyway, and a page that
 * comes with its contents is not cleared first, and takes no fault.
 */
#pragma once
#include "engine/store/image.h"
#include "injector/job.h"

/* In a task, before it leaves this program: a userfaultfd of its memory, at its number. */
int ckpt_fill_offer(const struct ckpt_job *job, const struct ckpt_task *task, struct ckpt_err *err);
/* Have all that will be filled mapped their areas? Waits at most MS. */
bool ckpt_fill_await_ms(const struct ckpt_job *job, unsigned int ms);
/* Checks the chunks that WHICH says, or all, and fills in what is to come from here. */
int ckpt_fill(struct ckpt_job *job, const struct ckpt_image *img, const bool *which,
	      struct ckpt_err *err);
