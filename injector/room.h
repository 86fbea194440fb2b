/* SPDX-License-Identifier: Apache-2.0 */
/* Room for the memory of a tree, made while the tree still runs. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/capture/helper.h"
#include "engine/model/pages.h"

struct ckpt_room {
	struct ckpt_job job; /* of the helper: room in FD for what is held */
	char *hold;          /* in our memory, for that of a small tree; NULL: there is none, and
				the file has room */
	size_t hold_len;
	struct ckpt_helper *helper; /* by the caller; NULL: it has no time for that */
	/* What is made by a thread, or by the helper: */
	bool started;
	pthread_t thread;
	atomic_bool ends;
	int fd;
	uint64_t most;
};

/* What the memory of the tree of PID takes by now, which is not known exactly. */
uint64_t ckpt_room_size(struct ckpt_arena *arena, pid_t pid);
/* What it takes of shared memory, the most that one of its processes uses. */
uint64_t ckpt_room_shared_size(struct ckpt_arena *arena, pid_t pid);
/* For SIZE bytes: in our memory, or in FILES behind FROM, where there is nothing yet, and which
 * whoever writes cuts in the end. Nothing but GO_ON can fail. */
int ckpt_room_make(struct ckpt_room *room, struct ckpt_arena *arena,
		   const struct ckpt_pages_files *files, uint64_t from, uint64_t size,
		   int (*go_on)(void *arg, struct ckpt_err *err), void *arg, struct ckpt_err *err);
/* The same beside other things, as much as there is time for: until whoever fills FD, a file of a
 * tmpfs, gives it its size, or until the end. Elsewhere it would not pay, and nothing is done. */
void ckpt_room_begin(struct ckpt_room *room, int fd, pid_t pid);
/* The tree stands still: the helper has better things to do. */
void ckpt_room_rest(struct ckpt_room *room);
/* Before FD is cut, or closed; of one that was not begun, too. */
void ckpt_room_end(struct ckpt_room *room);
