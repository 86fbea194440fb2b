/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is copied while its program runs, and again where it was written meanwhile, until
 * little is left for the freeze. Every page has its place in the pages file; a newer copy takes the
 * place of the older one.
 */
#pragma once
#include "engine/base/log.h"
#include "engine/capture/source.h"
#include "engine/memory/track.h"
#include "engine/model/pages.h"

struct ckpt_live;

struct ckpt_live_opts {
	const struct ckpt_pages_files *files; /* borrowed */
	uint64_t base; /* of it: pages below are in images before this one; whole chunks */
	struct ckpt_log *log;
	/* Between chunks; a failure ends it. As in struct ckpt_memory_copy. */
	int (*go_on)(void *arg, struct ckpt_err *err);
	void *go_on_arg;
};

struct ckpt_live *ckpt_live_open(struct ckpt_arena *arena, const struct ckpt_live_opts *opts);
/* Closes everything; tracking ends. NULL is fine. */
void ckpt_live_close(struct ckpt_live *live);
/* Others have duplicates of its tracks, and go on with them when it is closed. */
void ckpt_live_hold(struct ckpt_live *live);
/* Its tracks are somebody else's from now on. */
void ckpt_live_let_go(struct ckpt_live *live);
/* Begins to track a task that SRC has frozen. One that cannot be tracked is named in the log. */
int ckpt_live_add(struct ckpt_live *live, struct ckpt_source *src, pid_t pid, struct ckpt_err *err);
/* Why the first that could not be is not, and its number; NULL: all are. */
const char *ckpt_live_untracked(const struct ckpt_live *live, pid_t *pidp);

/* Goes on with what a dump before this one has tracked, and with where PAGES have been since. Takes
 * the descriptors of TRACK. */
void ckpt_live_go_on(struct ckpt_live *live, const struct ckpt_track *track,
		     const struct ckpt_pages *pages);
/* SRC has frozen them: those that are tracked since a dump before this one still have to be what
 * they were. Others are not tracked any more (which is told), and everything of them has changed.
 */
int ckpt_live_confirm(struct ckpt_live *live, struct ckpt_source *src, struct ckpt_err *err);
/* Also while they are frozen: what is written from now on is for the dump after this one. */
int ckpt_live_protect(struct ckpt_live *live, struct ckpt_err *err);
/* The N-th that is tracked, NULL: there are no more. */
const struct ckpt_track *ckpt_live_nth(const struct ckpt_live *live, size_t n);

/* Has new areas tracked, as the next ckpt_live_find() would: whoever reads the areas sees them as
 * they will be. */
int ckpt_live_areas(struct ckpt_live *live, struct ckpt_err *err);
/* What was written since the last time has to be copied; the first time it is everything. */
int ckpt_live_find(struct ckpt_live *live, uint64_t *bytesp, struct ckpt_err *err);
/* What was found and has not been copied yet. */
uint64_t ckpt_live_left(const struct ckpt_live *live);
/* Copies so much, or a little more, of it. */
int ckpt_live_copy(struct ckpt_live *live, uint64_t bytes, struct ckpt_err *err);

/* What was copied is worth nothing, and its room is used again; it all has changed. */
void ckpt_live_forget(struct ckpt_live *live);
/* Bytes that would be found now. */
int ckpt_live_written(struct ckpt_live *live, uint64_t *bytesp, struct ckpt_err *err);

/* What is tracked of a task, NULL if it is not. */
const struct ckpt_track *ckpt_live_track(const struct ckpt_live *live, pid_t pid);
/* Where its pages are; empty for who is not tracked. */
struct ckpt_pages ckpt_live_pages(const struct ckpt_live *live, pid_t pid);
/* Where the pages file begins, and how far it is taken: whole chunks. */
uint64_t ckpt_live_base(const struct ckpt_live *live);
uint64_t ckpt_live_size(const struct ckpt_live *live);
/* From the one to the other. */
uint64_t ckpt_live_own(const struct ckpt_live *live);
/* Writes their checksums, one for each chunk. */
void ckpt_live_checksums(const struct ckpt_live *live, uint32_t *crc);
