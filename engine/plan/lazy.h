/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that comes after the program runs: which areas and runs of pages that is. The rest is
 * read, and checked, before. The same areas are those that can be filled by others before it runs
 * (CKPT_LAZY_FILL). Pure.
 */
#pragma once
#include <stdbool.h>
#include "engine/plan/planner.h"

/* What the user asked for, or CKPT_LAZY_FILL. */
enum ckpt_lazy ckpt_lazy_choose(const struct ckpt_planner *p);
/* Decides it for all tasks, with what it costs, and the reasons why it cannot be. */
void ckpt_plan_lazy(struct ckpt_planner *p);
/* Do pages of area I of TASK come later? */
bool ckpt_lazy_area(const struct ckpt_plan *plan, const struct ckpt_task *task, size_t i);
/* And this run of such an area? Short ones are not worth a mapping of their own. */
bool ckpt_lazy_run(const struct ckpt_plan *plan, const struct ckpt_task *task,
		   const struct ckpt_run *run);
/* Does any of its memory come later? */
bool ckpt_lazy_task(const struct ckpt_plan *plan, const struct ckpt_task *task);
/* Calls SEE for every run that comes later. */
void ckpt_lazy_each(const struct ckpt_plan *plan, const struct ckpt_task *task,
		    void (*see)(void *arg, const struct ckpt_run *run), void *arg);
/* By number of the chunk of the pages file (N of them): it is read before the program runs. FILLED:
 * also if nobody does but who fills. */
bool *ckpt_lazy_needed_chunks(const struct ckpt_plan *plan, struct ckpt_arena *arena, size_t n,
			      size_t chunk, bool filled);
