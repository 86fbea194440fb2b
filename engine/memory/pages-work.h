/* SPDX-License-Identifier: Apache-2.0 */
/* The list of what is to be copied. For the files engine/memory/pages*.c only. */
#pragma once
#include <sys/stat.h>
#include "engine/memory/pages.h"
#include "engine/store/image.h"

#define CKPT_UNASSIGNED UINT64_MAX /* ckpt_run.offset: not yet in the pages file */

/* Pages that have one reader. Those of its runs with an offset below BASE are stored by another
 * part. */
struct ckpt_memory_part {
	enum { CKPT_PART_TASK, CKPT_PART_FILE, CKPT_PART_MAPPED } sort;
	pid_t pid; /* CKPT_PART_TASK */
	int fd; /* CKPT_PART_FILE: the file; CKPT_PART_TASK: its "mem" if there are SHARED; else -1
		 */
	uint64_t size, changed_ns;      /* CKPT_PART_FILE: what fstat(2) said when it was listed */
	const struct ckpt_span *shared; /* CKPT_PART_TASK: by address */
	size_t n_shared;
	const Ckpt__Mm *mm; /* CKPT_PART_TASK */
	bool copied;        /* CKPT_PART_TASK: COPY_FD has it, but for STANDING */
	int copy_fd;
	const struct ckpt_span *standing; /* by address */
	size_t n_standing;
	const struct ckpt_piece *piece; /* CKPT_PART_MAPPED: by offset, not overlapping */
	size_t n_pieces;
	const struct ckpt_run *run;
	size_t n;
	uint64_t base;
	uint64_t *cloned; /* of each run: how many pages are in the pages file already; or NULL */
};

/* Of the content or of anything else of the inode. */
static inline uint64_t ckpt_changed_ns(const struct stat *st)
{
	return st->st_ctim.tv_sec * 1000000000ull + st->st_ctim.tv_nsec;
}

/* Neighbours that were written at different times are in different chunks of a chain. */
#define CKPT_HELD_CHUNKS 16
struct ckpt_held_chunk {
	uint64_t number, last_used;
	char *buf; /* CKPT_CHUNK; NULL: not needed so far */
};

struct ckpt_memory_work {
	struct ckpt_source *src;
	struct ckpt_arena *arena;
	struct ckpt_memory_part *part;
	size_t n, room;
	uint64_t base;                   /* of the pages file: below are images before this one */
	uint64_t size;                   /* where it ends so far */
	uint64_t kept;                   /* how far it is there already: whole chunks */
	const struct ckpt_live *live;    /* what has been copied before, may be NULL */
	const struct ckpt_image *before; /* what the image goes on from, NULL: nothing */
	const struct ckpt_snapshot *before_snap;
	struct ckpt_held_chunk held[CKPT_HELD_CHUNKS]; /* of it */
	uint64_t n_read, n_looked_up; /* how many of its chunks, for how many pages */
	char *now;                    /* CKPT_CHUNK; NULL: not needed so far */
};

/* Runs as they are found: neighbours become one. */
struct ckpt_run_list {
	struct ckpt_arena *arena;
	struct ckpt_run *v;
	size_t n, room;
};
/* BARRIER: a run that ends there is not made longer (areas keep runs of their own). */
void ckpt_run_add(struct ckpt_run_list *list, uint64_t at, uint64_t n_pages, uint64_t offset,
		  uint64_t barrier);

/* Is ADDRESS in one of the spans, which are sorted? */
bool ckpt_span_has(const struct ckpt_span *span, size_t n, uint64_t address);

/* ---- pages-copy.c ---- */
/* CODE, of a write to a pages file, as an error. */
int ckpt_pages_failed(int code, struct ckpt_err *err);
/* All of it, at OFFSET of the pages files; in one of them. */
int ckpt_pages_write(const struct ckpt_pages_files *files, const char *buf, size_t len,
		     uint64_t offset, bool uncached, struct ckpt_err *err);

/* ---- pages-read.c ---- */
/* A part of a chunk that is in one place. */
struct ckpt_range {
	const struct ckpt_memory_part *part;
	uint64_t at, len;
	int stored_in;   /* the pages file, where it is there already; -1: it is not, */
	uint64_t stored; /* there */
};
#define CKPT_MAX_RANGES (CKPT_CHUNK / CKPT_PAGE)
/* One after the other, to BUF; N is at most CKPT_MAX_RANGES. */
int ckpt_ranges_read(struct ckpt_memory_work *w, const struct ckpt_range *all, size_t n, char *buf,
		     struct ckpt_err *err);
/* LEN bytes at AT of a part that is the content of something. */
int ckpt_pages_read(struct ckpt_memory_work *w, const struct ckpt_memory_part *part, uint64_t at,
		    size_t len, char *buf, struct ckpt_err *err);

/* ---- pages.c ---- */
/* Whoever shares a file with the tree goes on: a content that changed meanwhile is none. */
int ckpt_pages_check_files(const struct ckpt_memory_work *w, struct ckpt_err *err);

/* ---- pages-clone.c ---- */
/* Puts into the pages files what can be without being copied. They have their size. */
void ckpt_pages_clone(struct ckpt_memory_work *w, const struct ckpt_pages_files *files);

/* ---- pages-before.c ---- */
/* PAGES of PART, the content of OBJ, that the image before has get the place that they have there.
 */
int ckpt_pages_find_before(struct ckpt_memory_work *w, const struct ckpt_object *obj,
			   const struct ckpt_memory_part *part, struct ckpt_pages *pages,
			   struct ckpt_err *err);

/* ---- pages-scan.c ---- */
/* What was found, cut at the areas; only private ones have pages. Finds it now if that was not
 * possible before. */
int ckpt_pages_cut(struct ckpt_run_list *list, struct ckpt_scan *found, int pagemap_fd,
		   const Ckpt__Mm *mm, struct ckpt_err *err);

/* ---- pages-live.c ---- */
/* Pages of FOUND that have no place yet, have been copied before and are unchanged get the place
 * that they have. */
void ckpt_pages_keep(struct ckpt_pages *found, struct ckpt_arena *arena,
		     const struct ckpt_pages *unchanged, const struct ckpt_pages *before);

/* ---- pages-out.c ---- */
/* Is the page at ADDRESS read from a copy? */
bool ckpt_part_has_copy(const struct ckpt_memory_part *p, uint64_t address);

/* ---- pages-share.c ---- */
/* Makes task->pages of FOUND: pages that the task still shares with its parent get the parent's
 * place. MEM: the memory of the task, -1 if it shares nothing. */
int ckpt_pages_share(struct ckpt_memory_work *w, const struct ckpt_memory_task *add,
		     const struct ckpt_pages *found, int mem, struct ckpt_err *err);

/* ---- pages-mapped.c ---- */
/* The pages of an object of SIZE bytes that PIECEs reach. *PIECEP: where each of them is to be
 * read, by offset. */
int ckpt_pages_mapped(struct ckpt_run_list *list, struct ckpt_source *src,
		      const struct ckpt_piece *piece, size_t n, uint64_t size, bool sparse,
		      struct ckpt_piece **piecep, size_t *n_piecesp, struct ckpt_err *err);
