/* SPDX-License-Identifier: Apache-2.0 */
/* A dump that goes on from the one before it, and leaves the tracking to the one after it. */
#pragma once
#include "engine/memory/live.h"
#include "engine/store/image.h"
#include "injector/dump.h"
#include "injector/precopy.h"

/* What an attempt that came to nothing knew, for the next one. */
struct ckpt_known {
	struct ckpt_track *track;
	struct ckpt_pages *pages; /* of each: where those are that still are what they were */
	size_t n;
};

#define CKPT_TRACKED_BY_OTHERS "another user tracks its memory, for an image of theirs"

struct ckpt_increment {
	const struct ckpt_dump_opts *opts;
	struct ckpt_arena *arena;
	struct ckpt_image *before;    /* NULL: it is complete in itself */
	struct ckpt_snapshot *memory; /* of BEFORE */
	struct ckpt_known known;      /* what was taken over, until it is LIVE's */
	int holder;                   /* of what is tracked for the next one, -1: none is wanted */
	int holder_before;            /* of what was tracked since BEFORE; it ends with us; or -1 */
	bool theirs;                  /* another user tracks the memory */
	const char *note;             /* what the user is to be told, NULL: nothing */
};

/* Refuses what can be of no chain: offsets are those of files, which a stream has not. */
int ckpt_increment_check(const struct ckpt_dump_opts *opts, struct ckpt_err *err);
/* Takes over what was tracked since the dump in opts->prev_dir; without that the image is a
 * complete one, which is noted. KNOWN, if there is anything in it, is taken instead. Early: it
 * forks. */
int ckpt_increment_open(struct ckpt_increment *inc, const struct ckpt_dump_opts *opts,
			struct ckpt_known *known, struct ckpt_image_writer *writer,
			struct ckpt_arena *arena, struct ckpt_err *err);
/* What copies the memory to WRITER while the tree runs; it has what was taken over. *OPTSP: how.
 * MAY_GO_ON(ARG) is called between chunks. */
struct ckpt_live *ckpt_increment_begin(struct ckpt_increment *inc, struct ckpt_image_writer *writer,
				       int (*may_go_on)(void *arg, struct ckpt_err *err), void *arg,
				       struct ckpt_precopy_opts *optsp);
/* There is a new image: what LIVE tracks is held for the one after it. What fails is noted: then
 * the next image will be a complete one. */
void ckpt_increment_leave(struct ckpt_increment *inc, struct ckpt_live *live, uint64_t image);
/* The same, for WHY nobody can go on from the new image. */
void ckpt_increment_give_up(struct ckpt_increment *inc, const char *why);
void ckpt_increment_close(struct ckpt_increment *inc);
/* SNAP has been captured, and there will be no image of it: *KNOWN is what LIVE tracks, which LIVE
 * has no more. */
void ckpt_increment_keep(const struct ckpt_increment *inc, struct ckpt_live *live,
			 const struct ckpt_snapshot *snap, struct ckpt_known *known);
void ckpt_known_close(struct ckpt_known *known);
/* While SRC has frozen them. The pages that are known now, and are going to be copied, are those
 * that the next image goes on from: whatever is written after this is seen by it. */
int ckpt_increment_track(const struct ckpt_increment *inc, struct ckpt_live *live,
			 const struct ckpt_snapshot *snap, struct ckpt_source *src,
			 struct ckpt_err *err);
