/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Areas that are read right before the freeze. What the kernel tells of them besides where they are
 * takes it 18 ms for each GiB of small pages, for it counts them; where they are it tells at once.
 */
#pragma once
#include <stdbool.h>
#include "engine/capture/maps.h"

/* For ckpt_helper_put(); NULL if they cannot be read. */
struct ckpt_maps_before *ckpt_areas_ahead(struct ckpt_arena *arena, pid_t pid);
/* To be asked when the tree goes on again. False: of an area that was dumped, something was changed
 * at about the time of the freeze, and nobody knows which of the two was true then. */
bool ckpt_areas_ahead_held(const struct ckpt_maps_before *before);
