/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of engine/memory/live*.c: what is to be copied in one round. */
#pragma once
#include "engine/memory/live.h"
#include "engine/memory/pages-work.h"

struct ckpt_live_task {
	struct ckpt_track track;
	struct ckpt_pages pages; /* by address: where each of them is */
	bool went_on;            /* it is tracked since a dump before this one */
};

struct ckpt_live_item {
	struct ckpt_live_task *task;
	uint64_t at, len; /* addresses */
	uint64_t offset;  /* in the pages files */
};

/* What comes next of one pages file. */
struct ckpt_live_cursor {
	size_t item;   /* to be copied, */
	uint64_t done; /* and bytes of it that have been */
	uint64_t end;  /* offset at which the next file begins */
};

struct ckpt_live_lost {
	struct ckpt_live_task *task;
	struct ckpt_span span;
};

struct ckpt_live {
	struct ckpt_arena *arena;
	struct ckpt_live_opts opts;
	struct ckpt_live_task *task;
	size_t n, room;
	bool areas_known;            /* by ckpt_live_areas(), to the next round */
	bool held;                   /* others go on with the tracks */
	pid_t untracked_pid;         /* the first that cannot be, */
	const char *untracked;       /* and why; or NULL */
	uint64_t size;               /* the end of the pages file so far */
	struct ckpt_live_item *item; /* of this round, by offset */
	size_t n_items, items_room;
	struct ckpt_live_cursor cursor[CKPT_PAGES_FILES];
	size_t n_cursors;            /* 0: nothing of this round has been copied yet */
	struct ckpt_live_lost *lost; /* could not be read */
	size_t n_lost, lost_room;
	uint32_t *crc;   /* of each chunk, as it is in the pages file now, */
	size_t n_chunks; /* which has so many */
};

/* ---- live-copy.c ---- */
int ckpt_live_copy_items(struct ckpt_live *live, uint64_t bytes, struct ckpt_err *err);
