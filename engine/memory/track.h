/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages of a running process have been written since the last look: they are write-protected,
 * and the kernel takes the protection away at the first write without telling anybody (userfaultfd
 * with UFFD_FEATURE_WP_ASYNC, PAGEMAP_SCAN; Linux 6.7; no privilege). The program pays one to two
 * microseconds for the first write to a page and sees nothing: the descriptor is ours alone, and
 * when it is closed, by our death too, nothing is left.
 *
 * New areas, and those that moved, are not tracked: what is not known to be unchanged has changed.
 * Not seen is what devices write to memory that was handed to them before (O_DIRECT, io_uring).
 */
#pragma once
#include <stdbool.h>
#include "engine/capture/source.h"
#include "engine/model/pages.h"

struct ckpt_run_list;

struct ckpt_tracked {
	struct ckpt_span span;
	bool anonymous;
};

struct ckpt_track {
	pid_t pid;
	int uffd; /* -1: it is not tracked */
	int pagemap, mem, maps;
	struct ckpt_tracked *area; /* of the last call of ckpt_track_areas(), by address */
	size_t n, room;
};

/* Begins to track a process, which SRC has frozen. Without ERR: 1 if it cannot be tracked, for
 * which *WHYP says the reason. */
int ckpt_track_open(struct ckpt_track *t, struct ckpt_source *src, pid_t pid, const char **whyp,
		    struct ckpt_err *err);
/* The tracking ends with the last duplicate of its descriptor: this one may not be it. */
void ckpt_track_close(struct ckpt_track *t);
/* It ends now, in steps that threads of the program do not have to wait for. */
void ckpt_track_end(struct ckpt_track *t);
/* Has new private areas tracked, too. The process may run. */
int ckpt_track_areas(struct ckpt_track *t, struct ckpt_arena *arena, struct ckpt_err *err);
/* Pages of its own that were written since the last call; all that there are at the first one.
 * LOOK: the next call will say so again. */
int ckpt_track_take(const struct ckpt_track *t, bool look, struct ckpt_run_list *list,
		    struct ckpt_err *err);
