/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of which the kernel remembers for good who made them. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "engine/base/err.h"

struct ckpt_actor {
	pid_t pid; /* 0: any */
	uid_t uid; /* effective; -1: ours */
	gid_t gid;
	const uint32_t *groups; /* supplementary, ascending */
	size_t n_groups;
};

/* Are they those of the calling process? */
bool ckpt_actor_is_us(const struct ckpt_actor *as);
/* Calls FN(ARG) as that process: it may not exist, or is ours. It shares our memory and descriptors
 * but has folders of its own, and we stand still meanwhile. What of it cannot be had is ours: the
 * plan has called it a loss. Returns what FN does, and the number that it had. */
int ckpt_act_as(const struct ckpt_actor *as, int (*fn)(void *arg, struct ckpt_err *err), void *arg,
		pid_t *pidp, struct ckpt_err *err);
