/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the store: an image that was opened. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/model/pages.h"
#include "engine/store/given-up.h"
#include "engine/store/pack.h"

struct ckpt_received;
struct ckpt_slots;
struct ckpt_snapshot;
struct ckpt_unpacker;

struct ckpt_image {
	struct ckpt_arena *arena;
	const char *dir, *image_path, *pages_path; /* for messages */
	int dirfd; /* borrowed, but for OWN_DIRFD; -1: it came as a stream, or is a parent */
	int image_fd;
	struct ckpt_pages_files files; /* none: there are no pages, or they are not unpacked */
	uint64_t image_size, pages_size;
	uint64_t content_id, n_records;
	const uint32_t *crc; /* of each started chunk of the pages */
	size_t n_crc;
	bool own; /* FILES is one of ours, and was compared with CRC */
	/* Packed pages: PACKED_FD holds them, STORED tells where; else NULL. */
	const struct ckpt_stored *stored;
	size_t n_stored;
	int packed_fd;
	uint64_t packed_size;
	struct ckpt_slots *slots; /* of ckpt_image_read(), NULL: none yet */
	uint64_t stream_bytes;
	const char *pages_at;   /* a page server, or NULL */
	bool away;              /* they may be missing here */
	int lender, lent;       /* who lends pages, and if they are; -1: nobody, none */
	const char *parent_dir; /* what it goes on from, NULL: it is complete */
	uint64_t parent_id, base;
	struct ckpt_image *parent; /* the same, opened */
	struct ckpt_given_up given_up;
	bool own_dirfd; /* and IMAGE_FD is open: it is one of a chain that is to be changed */
};

/* Compares every chunk of packed pages and writes it to FD, a file of zeroes. */
int ckpt_image_copy_pages(struct ckpt_image *img, int fd, const bool *which, unsigned int n_threads,
			  struct ckpt_err *err);
/* One chunk, compared, in U->out. */
int ckpt_image_fetch_chunk(const struct ckpt_image *img, struct ckpt_unpacker *u, uint64_t chunk,
			   struct ckpt_err *err);
/* ckpt_image_read_chunk() without the chain. */
int ckpt_image_read_own(const struct ckpt_image *img, uint64_t chunk, void *buf,
			struct ckpt_err *err);
void ckpt_slots_close(struct ckpt_slots *s); /* NULL is fine */

struct ckpt_pages;

/* ---- reader-files.c ---- */
char *ckpt_path_in(struct ckpt_arena *arena, const char *dir, const char *name);
/* A regular file, for reading. */
int ckpt_image_open_file(int dirfd, const char *name, const char *path, uint64_t *sizep,
			 struct ckpt_err *err);
/* Of the size that the records, which have been read, say. */
int ckpt_image_open_pages(struct ckpt_image *img, struct ckpt_err *err);
/* Its pages are in that file; -1: in none. Takes FD. */
void ckpt_image_set_file(struct ckpt_image *img, int fd);
/* For messages: the file that has the byte at OFFSET of them, which becomes one of that file. */
const char *ckpt_image_path_of(const struct ckpt_image *img, uint64_t *offsetp);
/* ---- reader.c ---- */
/* Without what it goes on from. AWAY: its pages may be missing. */
int ckpt_image_open_one(struct ckpt_image **imgp, struct ckpt_arena *arena, int dirfd,
			const char *dir, bool away, struct ckpt_err *err);
/* Of what came as a stream, whose files it takes. DIRFD: of the folder that they are going to be
 * in, borrowed, or -1. NAME is kept. */
int ckpt_image_adopt(struct ckpt_image **imgp, struct ckpt_arena *arena, struct ckpt_received *got,
		     int dirfd, const char *name, struct ckpt_err *err);
/* Pages that are not in DIRFD come into FDS[1]: the other end of FDS[0] is asked for them. Takes
 * those that it needs out of FDS. */
int ckpt_image_open_lent(struct ckpt_image **imgp, struct ckpt_arena *arena, int dirfd,
			 const char *dir, int fds[2], struct ckpt_err *err);
/* ---- chain.c ---- */
int ckpt_image_open_parents(struct ckpt_image *img, int dirfd, bool whole, struct ckpt_err *err);
/* Calls EACH for all runs of pages of a snapshot until it fails. */
int ckpt_snapshot_each_pages(const struct ckpt_snapshot *snap,
			     int (*each)(void *arg, struct ckpt_pages *pages), void *arg);
/* Of a sound snapshot: every page that it refers to is in one of the chain. */
int ckpt_image_check_runs(const struct ckpt_image *img, const struct ckpt_snapshot *snap,
			  struct ckpt_err *err);
