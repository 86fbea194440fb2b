/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the restorer lives while a task's own memory comes back: one region that is free in this
 * process and in every task of the snapshot, the same for all of them. Pure.
 */
#pragma once
#include <stdint.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/model/snapshot.h"

struct ckpt_host;

/*
 * Memory that several tasks share is made before the fork and moved home by each of them: shared
 * anonymous memory (OBJECT) is made by the builder; private pages that a task still shares
 * copy-on-write with a child by the task. So are contexts of io_setup(2).
 */
struct ckpt_stage {
	uint64_t at; /* where it is staged */
	uint64_t len;
	uint32_t object; /* shared anonymous memory, else 0 */
};

struct ckpt_staged_area {
	uint32_t area;  /* index in mm->areas */
	uint32_t stage; /* index in layout->stages */
	bool inherited; /* the parent's pages are already there */
};

struct ckpt_layout {
	uint64_t base, end; /* the whole region */
	uint64_t gates; /* struct ckpt_gates, then one struct ckpt_sv_status for each task: shared
			   by all */
	uint64_t gates_len;
	uint64_t blob; /* one page of code */
	uint64_t vdso; /* where this process' vDSO and its data are parked, contiguous as they are
			  now */
	uint64_t vdso_from, vdso_len;
	uint64_t home; /* vectors and data of a task, up to END */
	struct ckpt_stage *stages;
	size_t n_stages;
	struct ckpt_staged_area **staged; /* by task id - 1, sorted by area */
	size_t *n_staged;
};

/* Finds the region and lays out all but the homes. Fails with CKPT_E_NO_ROOM where there is none.
 */
int ckpt_layout_make(struct ckpt_layout **layoutp, struct ckpt_arena *arena,
		     const struct ckpt_snapshot *snap, const struct ckpt_host *host,
		     struct ckpt_err *err);
/* How AREA (index) of TASK is staged, NULL if it is not. */
const struct ckpt_staged_area *ckpt_layout_staged(const struct ckpt_layout *l,
						  const struct ckpt_task *task, uint32_t area);
static inline uint64_t ckpt_layout_status(const struct ckpt_layout *l, uint32_t task)
{
	return l->gates + 64 + (task - 1) * 16ull;
}
/* The runs of PAGES from START to END: a slice. */
struct ckpt_pages ckpt_pages_between(const struct ckpt_pages *pages, uint64_t start, uint64_t end);
