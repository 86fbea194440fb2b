/* SPDX-License-Identifier: Apache-2.0 */
/* Terminals in which something was unread when the tree stood still: what is in them cannot be
 * dumped. Their readers run again, and the best moment to stop them is right after they have read.
 */
#pragma once
#include "engine/model/snapshot.h"

#define CKPT_DRAIN_MAX 16

struct ckpt_drain {
	int fd[CKPT_DRAIN_MAX]; /* duplicates */
	size_t n;
};

/* Those of SNAP, as many as there is room for. */
void ckpt_drain_open(struct ckpt_drain *d, const struct ckpt_snapshot *snap);
void ckpt_drain_close(struct ckpt_drain *d);
/* Until nothing is in any of them, but not for long. NULL is fine. */
void ckpt_drain_await(const struct ckpt_drain *d);
