/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second thread for what is slow to read and asks nobody else: the kernel takes 3 us to print an
 * area of smaps and 9 to show a descriptor, and the target stands still meanwhile. Started before
 * the freeze. Everything works without it.
 */
#pragma once
#include <stdbool.h>
#include <sys/types.h>
#include "engine/base/arena.h"

struct ckpt_helper;

/* One piece of work. It uses the arena that it is given (not the same in every thread) and nothing
 * that others use. */
struct ckpt_job {
	void (*run)(struct ckpt_job *job, struct ckpt_arena *arena);
	struct ckpt_job *next;
	enum { CKPT_JOB_WAITS, CKPT_JOB_RUNS, CKPT_JOB_DONE } state;
};

/* Never fails: without a thread, jobs are run by who waits for them. ARENA: for jobs that the
 * caller runs. */
struct ckpt_helper *ckpt_helper_open(struct ckpt_arena *arena);
/* Hands JOB over. It is borrowed until it has been waited for. */
void ckpt_helper_start(struct ckpt_helper *h, struct ckpt_job *job);
bool ckpt_helper_has_done(struct ckpt_helper *h, const struct ckpt_job *job);
/* Returns when JOB is done; runs it, or others that still wait, in the meantime. */
void ckpt_helper_wait(struct ckpt_helper *h, struct ckpt_job *job);
/* What a job found out before the freeze and the capture may use: NULL, or closed with the helper.
 * Put by the job, asked for when that is done. Areas and descriptors of as many processes as one
 * likes. */
struct ckpt_maps_before;
void ckpt_helper_put(struct ckpt_helper *h, struct ckpt_maps_before *before);
struct ckpt_maps_before *ckpt_helper_maps(const struct ckpt_helper *h, pid_t pid);
struct ckpt_fds_ahead;
void ckpt_helper_put_fds(struct ckpt_helper *h, struct ckpt_fds_ahead *ahead);
const struct ckpt_fds_ahead *ckpt_helper_fds(const struct ckpt_helper *h, pid_t pid);
struct ckpt_threads_ahead;
void ckpt_helper_put_threads(struct ckpt_helper *h, struct ckpt_threads_ahead *ahead);
const struct ckpt_threads_ahead *ckpt_helper_threads(const struct ckpt_helper *h);
/* Drops jobs that nobody runs yet and waits for the one that is being run. */
void ckpt_helper_drain(struct ckpt_helper *h);
/* Drains, ends the thread, frees what the jobs that it ran have allocated. NULL is fine. */
void ckpt_helper_close(struct ckpt_helper *h);
