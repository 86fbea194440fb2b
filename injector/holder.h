/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tracks memory between two dumps: a process of its own, "ckpt-track", that has nothing but
 * the descriptors by which writes are seen. It ends with the next dump, which gets them from it,
 * with the last of the processes, or when nobody comes for too long; if it is killed, tracking has
 * ended and the next dump is a complete one. Its abstract Unix socket has the names of the root and
 * of the image; only processes of the same user are talked to.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/memory/live.h"

struct ckpt_held {
	pid_t root;
	uint64_t image;         /* content id of it */
	unsigned int timeout_s; /* 0: it waits for ever */
};

/* Starts one that has nothing yet: early, while this process is small and has one thread. Returns
 * the descriptor that keeps it; with that closed it ends. */
int ckpt_holder_start(struct ckpt_err *err);
/* Gives it all that LIVE tracks; from then on it goes on by itself. */
int ckpt_holder_give(int holder, const struct ckpt_held *what, const struct ckpt_live *live,
		     struct ckpt_err *err);
/* Takes everything from the one of that image, which ends when *HOLDERP is closed: if nobody has it
 * by then, it is the one who ends the tracking. Returns how many processes it tracked, 0: there is
 * none. */
int ckpt_holder_take(pid_t root, uint64_t image, struct ckpt_arena *arena,
		     struct ckpt_track **trackp, int *holderp, struct ckpt_err *err);
/* Is there one, for any image of that tree? */
bool ckpt_holder_has(pid_t root);
/* Ends them, and with them the tracking. False: there is one of another user, which stays. */
bool ckpt_holder_end(pid_t root);
