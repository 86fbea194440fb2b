/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the store: the numbers of all threads and zombies of a snapshot, sorted. */
#pragma once
#include <stddef.h>
#include "engine/base/err.h"
#include "engine/model/snapshot.h"

struct ckpt_tid {
	pid_t tid;
	uint32_t task;
	struct ckpt_thread *thread; /* NULL: a zombie */
};

struct ckpt_tids {
	struct ckpt_tid *v; /* malloc */
	size_t n;
};

int ckpt_tids_open(struct ckpt_tids *tids, const struct ckpt_snapshot *snap, struct ckpt_err *err);
void ckpt_tids_close(struct ckpt_tids *tids);
/* NULL if TASK has no thread of that number. */
struct ckpt_thread *ckpt_tids_find(const struct ckpt_tids *tids, const struct ckpt_snapshot *snap,
				   uint32_t task, pid_t tid);
