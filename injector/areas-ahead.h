/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Areas that are read before the freeze. What the kernel tells of them besides where they are takes
 * it 18 ms for each GiB of small pages, for it counts them; where they are it tells at once.
 * So it is the helper who reads, both times, while others work.
 */
#pragma once
#include <stdbool.h>
#include <sys/types.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"

struct ckpt_areas_ahead;
struct ckpt_helper;

/* Begins to read those of ROOT and below, but for processes of so little that it would not pay.
 * GOES_ON: there is time to read once more; otherwise they are only used if that need not be. */
struct ckpt_areas_ahead *ckpt_areas_ahead_start(struct ckpt_helper *helper,
						struct ckpt_arena *arena, pid_t root, bool goes_on);
/* Begins once more if it is done: of processes that are new, or where it has taken place too long
 * ago. */
void ckpt_areas_ahead_renew(struct ckpt_areas_ahead *a);
/* Waits until it is done, and gives them to the helper; once more where areas have changed. NULL is
 * fine, here and below. */
void ckpt_areas_ahead_read(struct ckpt_areas_ahead *a);
/* Begins to read once more what has to be, as soon as the tree stands still; whoever wants other
 * areas waits for it. */
void ckpt_areas_ahead_check(struct ckpt_areas_ahead *a);
/* To be asked when the tree goes on again. -ESTALE: of an area that was dumped, something was
 * changed at about the time of the freeze, and nobody knows which of the two was true then. */
int ckpt_areas_ahead_held(struct ckpt_areas_ahead *a, struct ckpt_err *err);
/* Has that been the answer? */
bool ckpt_areas_ahead_failed(const struct ckpt_areas_ahead *a);
/* When the helper is closed. */
void ckpt_areas_ahead_close(struct ckpt_areas_ahead *a);
