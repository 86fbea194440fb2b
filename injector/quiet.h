/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Areas that are read before the freeze. The kernel takes 2.7 us to print one of smaps, for
 * thousands of them the longest part of a freeze. What was read before it is still true if none of
 * the process's threads has executed an instruction since: mostly a program waits.
 */
#pragma once
#include <sys/types.h>
#include "engine/base/arena.h"
#include "engine/capture/maps.h"

/* Reads the areas of PID, if there are enough of them and all its threads wait in system calls.
 * NULL: not so, or it cannot be proved. Closed by (*close)(). */
struct ckpt_maps_before *ckpt_quiet_read(struct ckpt_arena *arena, pid_t pid);
