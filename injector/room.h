/* SPDX-License-Identifier: Apache-2.0 */
/* Room for the memory of a tree, made while the tree still runs. */
#pragma once
#include "engine/base/arena.h"
#include "engine/base/err.h"

/* Allocates in FD, an empty file, what the tree of PID will need by now, which is not known
 * exactly: whoever writes cuts the file in the end. Nothing but GO_ON can fail. */
int ckpt_room_make(struct ckpt_arena *arena, int fd, pid_t pid,
		   int (*go_on)(void *arg, struct ckpt_err *err), void *arg, struct ckpt_err *err);
