/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Areas that are read before the freeze. What the kernel tells of them besides where they are takes
 * it 18 ms for each GiB of small pages, for it counts them; where they are it tells at once.
 * So it is the helper who reads, both times, while others work.
 */
#pragma once
#include <stdbool.h>
#include "engine/capture/maps.h"

struct ckpt_helper;

/* Begins to read. NULL: of so little it would not pay. */
struct ckpt_maps_before *ckpt_areas_ahead_start(struct ckpt_helper *helper,
						struct ckpt_arena *arena, pid_t pid);
/* Begins once more if it is done and has taken place too long ago. */
void ckpt_areas_ahead_renew(struct ckpt_maps_before *before);
/* Waits until it is done, and gives it to the helper; once more if areas have changed. NULL: they
 * cannot be read, or others have done so. Then there is nothing to check. */
struct ckpt_maps_before *ckpt_areas_ahead_read(struct ckpt_maps_before *before);
/* Begins to read once more, as soon as the tree stands still; whoever wants another area waits for
 * it. */
void ckpt_areas_ahead_check(struct ckpt_maps_before *before);
/* To be asked when the tree goes on again. -ESTALE: of an area that was dumped, something was
 * changed at about the time of the freeze, and nobody knows which of the two was true then. */
int ckpt_areas_ahead_held(struct ckpt_maps_before *before, struct ckpt_err *err);
/* When the helper is closed. NULL is fine. */
void ckpt_areas_ahead_close(struct ckpt_maps_before *before);
