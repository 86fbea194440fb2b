/* SPDX-License-Identifier: Apache-2.0 */
/* Process trees that checkpoint themselves: finding them, and the source that asks them. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/capture/source.h"
#include "injector/dump.h"

#define CKPT_INSIDE_SIGNAL 64 /* unless the program was told another one */

/* Can PID be asked? Refuses by name if not: no such process, another user's, no library, stopped,
 * blocks or does not catch the signal. *SIGNALP: 0 (find out) before, the signal after. Nothing is
 * sent. */
int ckpt_inside_check(pid_t pid, int *signalp, struct ckpt_err *err);

/* Tells a program that waits in ckpt_now() WHY there is no checkpoint. */
int ckpt_inside_tell(struct ckpt_arena *arena, pid_t pid, const char *why, struct ckpt_log *log,
		     struct ckpt_err *err);

struct ckpt_source_inside_opts {
	struct ckpt_inside_opts inside;
	struct ckpt_log *log;
};
/* Checks as above; asks nobody yet. */
int ckpt_source_inside_open(struct ckpt_source **srcp, struct ckpt_arena *arena, pid_t pid,
			    const struct ckpt_source_inside_opts *opts, struct ckpt_err *err);
