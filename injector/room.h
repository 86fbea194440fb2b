/* SPDX-License-Identifier: Apache-2.0 */
/* Room for the memory of a tree, made while the tree still runs. */
#pragma once
#include "engine/base/arena.h"
#include "engine/base/err.h"

struct ckpt_room {
	char *hold; /* in our memory, for that of a small tree; NULL: there is none, and the file
		       has room */
	size_t hold_len;
};

/* For what the tree of PID needs by now, which is not known exactly: in our memory, or in FD, an
 * empty file, which whoever writes cuts in the end. Nothing but GO_ON can fail. */
int ckpt_room_make(struct ckpt_room *room, struct ckpt_arena *arena, int fd, pid_t pid,
		   int (*go_on)(void *arg, struct ckpt_err *err), void *arg, struct ckpt_err *err);
