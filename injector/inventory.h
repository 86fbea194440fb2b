/* SPDX-License-Identifier: Apache-2.0 */
/* What an image says of itself: when, where, of what. */
#pragma once
#include <stdbool.h>
#include "engine/capture/source.h"
#include "engine/model/snapshot.h"
#include "injector/dump.h"

/* Fills snap->inventory; SRC still has the tree. */
int ckpt_fill_inventory(struct ckpt_snapshot *snap, struct ckpt_source *src, bool shell_job,
			struct ckpt_arena *arena, struct ckpt_err *err);
/* What is told of a dump: how many, and what is lost. */
void ckpt_fill_stats(const struct ckpt_snapshot *snap, struct ckpt_dump_stats *stats);
