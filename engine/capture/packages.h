/* SPDX-License-Identifier: Apache-2.0 */
/* The packages of programs and libraries: told where a restore finds another build. */
#pragma once
#include "engine/base/arena.h"
#include "engine/base/log.h"
#include "engine/model/snapshot.h"

/* Where the file is that OBJ is, if it is one that is mapped and has a name; else NULL. */
const char *ckpt_packaged_path(const struct ckpt_object *obj);
/* Puts them into the snapshot. Takes its time: not while the tree has to go on. */
void ckpt_capture_packages(struct ckpt_snapshot *snap, struct ckpt_arena *arena,
			   struct ckpt_log *log);
