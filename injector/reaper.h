/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread of ours that takes note of the death of tracees while another one is stuck in
 * PTRACE_SEIZE. That request waits for a mutex that a thread which executes a program holds until
 * all other threads of its process are gone; those that we trace are gone only when we have waited
 * for them. Without help both would wait for ever.
 */
#pragma once
#include <sys/types.h>
#include "engine/base/arena.h"

struct ckpt_reaper;

/* NULL if there cannot be one: then it goes without. */
struct ckpt_reaper *ckpt_reaper_start(struct ckpt_arena *arena);
/* From now on the death of TID is taken note of: waiting for it then says ECHILD. NULL is fine. */
void ckpt_reaper_add(struct ckpt_reaper *reaper, struct ckpt_arena *arena, pid_t tid);
/* Ends it. NULL is fine. */
void ckpt_reaper_stop(struct ckpt_reaper *reaper);
