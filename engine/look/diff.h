/* SPDX-License-Identifier: Apache-2.0 */
/* What changed between two images of a tree. */
#pragma once
#include "engine/look/look.h"
#include "engine/look/table.h"

/* Rows of: change (added, gone, changed), what (process, thread, descriptor, area, memory), pid,
 * id, pages, before, after. Processes are matched by number, areas by where they begin. */
int ckpt_diff(struct ckpt_look *a, struct ckpt_look *b, struct ckpt_table *t, struct ckpt_err *err);

/* ---- diff-memory.c ---- */
/* Pages from START to END whose bytes differ; UNKNOWNP: that could not be compared. */
int ckpt_diff_pages(struct ckpt_look *a, const struct ckpt_task *x, struct ckpt_look *b,
		    const struct ckpt_task *y, uint64_t start, uint64_t end, uint64_t *pagesp,
		    uint64_t *unknownp, struct ckpt_err *err);
