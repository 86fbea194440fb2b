/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image in a folder: "image" (header, records, trailer) and "pages" (raw pages). Written under
 * temporary names and committed by rename, so that it is whole or absent; every byte is covered by
 * a checksum.
 *
 * "image": 16 bytes of header { "CKPTIMG\n", u32 format, u32 CRC32C of the 12 bytes before }, then
 * records: { u32 length, u32 CRC32C of the length and the body, body: message Record }. The last
 * one is the trailer, nothing follows. Format 2 is the same with the pages packed (pack.h): a
 * record "chunks" tells where each of them is. Format 3 has them in several files: "pages-2" goes
 * on where "pages" ends, and so on; the record "checksums" tells where.
 *
 * The same as one stream: stream.h. Where a folder DIRFD is asked for here, a pipe, a socket or a
 * file takes a stream.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/model/snapshot.h"
#include "engine/store/codec.h"

#define CKPT_IMAGE_FORMAT 1
#define CKPT_IMAGE_PACKED 2         /* format */
#define CKPT_IMAGE_SPREAD 3         /* format: pages in several files */
#define CKPT_CHUNK (1u << 20)       /* bytes of the pages file under one checksum */
#define CKPT_CHAIN_MAX 100          /* images that go on from each other */
#define CKPT_PARENT_LINK "parent"   /* a link to the folder of the image before */
#define CKPT_RECORD_MAX (64u << 20) /* bytes of a record */

uint32_t ckpt_crc32c(uint32_t crc, const void *data, size_t len); /* start with 0; SSE4.2 where
								     there is */
/* CRC is that of a whole; of a part of it that BEHIND bytes follow it was OLD and now is NEW. */
uint32_t ckpt_crc32c_replace(uint32_t crc, uint32_t old, uint32_t new, uint32_t behind);

/* ---- writing ---- */
struct ckpt_image_writer;
struct ckpt_pack;

/* Creates temporary files in DIRFD (borrowed). DIR is its name for messages. Refuses a folder that
 * holds an image. Temporary files of a writer that died (no process holds their lock) are removed
 * first. */
int ckpt_image_create(struct ckpt_image_writer **wp, struct ckpt_arena *arena, int dirfd,
		      const char *dir, struct ckpt_err *err);
/* Where pages go while the folder gets the rest (page-server.h). */
struct ckpt_page_server {
	int fd;           /* borrowed: a socket to it; -1: pages stay in memory, for who asks us */
	const char *name; /* kept */
};
struct ckpt_image_how {
	struct ckpt_compression compress;
	/* The tree goes on, and nobody waits for the image: pages go to a file that has no name
	 * first, and are packed by the commit; else as soon as they come. Where memory is short,
	 * the image does not stay in the page cache. */
	bool later;
	const struct ckpt_page_server *server; /* borrowed; NULL: none */
	/* While a reader of a stream is waited for, and between chunks; a failure ends it. By any
	 * thread. May be NULL. */
	int (*go_on)(void *arg, struct ckpt_err *err);
	void *go_on_arg;
	unsigned int patience_s; /* with a reader that takes nothing; 0: no limit */
};
/* The same, packed, or as a stream. */
int ckpt_image_create_as(struct ckpt_image_writer **wp, struct ckpt_arena *arena, int dirfd,
			 const char *dir, const struct ckpt_image_how *how, struct ckpt_err *err);
/* The pages files, to be written with pwrite(2). Borrowed. */
const struct ckpt_pages_files *ckpt_image_writer_files(const struct ckpt_image_writer *w);
/* SIZE bytes of pages are going to be written, by several threads: so there are as many files as
 * that is good for. More, or less, may be written; who has said more than a little has said it for
 * good. */
void ckpt_image_spread(struct ckpt_image_writer *w, uint64_t size);
/* Does nobody read it soon: is it what the image will have, of a tree that goes on? */
bool ckpt_image_writer_is_last(const struct ckpt_image_writer *w);
/* The checksums of the pages as they were set. */
const uint32_t *ckpt_image_writer_checksums(const struct ckpt_image_writer *w, uint64_t *sizep);
/* Where chunks go instead; NULL: to the pages file. */
struct ckpt_pack *ckpt_image_writer_pack(struct ckpt_image_writer *w);
/* Writes LEN bytes of it at OFFSET. */
int ckpt_image_put_pages(struct ckpt_image_writer *w, const void *data, size_t len, uint64_t offset,
			 struct ckpt_err *err);
/* Checksums of the pages file of SIZE bytes: one for each started CKPT_CHUNK. CRC is borrowed until
 * the commit. */
void ckpt_image_set_checksums(struct ckpt_image_writer *w, uint64_t size, const uint32_t *crc,
			      size_t n);
/* Of a stream whose pages are written LATER: those that are there go out now, the first SIZE bytes,
 * with checksums as above. The commit sends what has changed since. */
int ckpt_image_send_ahead(struct ckpt_image_writer *w, uint64_t size, const uint32_t *crc,
			  struct ckpt_err *err);
/* The image goes on from another one: offsets of pages below BASE are those of that image, the
 * pages file begins at BASE. DIR: its folder as seen from this one; kept. Makes a link to it. */
int ckpt_image_set_parent(struct ckpt_image_writer *w, const char *dir, uint64_t id, uint64_t base,
			  struct ckpt_err *err);
/* Is it a stream of which some is on its way already? */
bool ckpt_image_has_sent(const struct ckpt_image_writer *w);
/* After the commit. */
uint64_t ckpt_image_writer_content_id(const struct ckpt_image_writer *w);
/* Writes the whole snapshot, checksums and trailer, syncs, renames. Fills BYTESP with the size of
 * the image. */
int ckpt_image_commit(struct ckpt_image_writer *w, const struct ckpt_snapshot *snap,
		      uint64_t *bytesp, struct ckpt_err *err);
/* Always: closes; without a commit leaves no trace. After a commit fails likewise. NULL is fine. */
void ckpt_image_writer_close(struct ckpt_image_writer *w);
/* Takes a committed image away again (the dump failed after all). PAGES: it has them here; if they
 * are elsewhere, what is here may be of somebody who is just committing. */
void ckpt_image_remove(int dirfd, bool pages);

/* ---- reading ---- */
struct ckpt_image;

/* Reads and checks header, every record and the trailer. Hostile input: everything is bounded. */
int ckpt_image_open(struct ckpt_image **imgp, struct ckpt_arena *arena, int dirfd, const char *dir,
		    struct ckpt_err *err);
/* The same; the pages of a stream are compared as they pass, and not kept. */
int ckpt_image_open_brief(struct ckpt_image **imgp, struct ckpt_arena *arena, int dirfd,
			  const char *dir, struct ckpt_err *err);
/* Only what the records say: the pages may be at a page server, and are not read. */
int ckpt_image_open_records(struct ckpt_image **imgp, struct ckpt_arena *arena, int dirfd,
			    const char *dir, struct ckpt_err *err);
/* The same; images of the chain can be loaded, too, and their folders written to. */
int ckpt_image_open_whole(struct ckpt_image **imgp, struct ckpt_arena *arena, int dirfd,
			  const char *dir, struct ckpt_err *err);
void ckpt_image_close(struct ckpt_image *img);
/* Pages that are not in DIRFD are lent (lent.h), chunk by chunk, by whoever CONTROL, borrowed,
 * leads to. Those of the images that it goes on from are not. */
int ckpt_image_open_from(struct ckpt_image **imgp, struct ckpt_arena *arena, int dirfd,
			 const char *dir, int control, struct ckpt_err *err);
bool ckpt_image_is_lent(const struct ckpt_image *img);
int ckpt_image_lender(const struct ckpt_image *img); /* borrowed; -1: none */
/* Where they are lent: brings in a chunk, or all that WHICH says, by number; elsewhere nothing. */
int ckpt_image_fetch(const struct ckpt_image *img, uint64_t chunk, struct ckpt_err *err);
int ckpt_image_fetch_all(const struct ckpt_image *img, const bool *which, struct ckpt_err *err);
/* Tells the lender that no more is needed, WHY not: or that it failed. */
void ckpt_image_give_back(const struct ckpt_image *img, const struct ckpt_err *why);
/* The snapshot; every reference in it has been checked (snapshot_check). Messages live in the
 * arena. */
int ckpt_image_load(struct ckpt_image *img, struct ckpt_snapshot **snapp, struct ckpt_err *err);
/* The same for those of a pre-dump, too, which has nothing but pages of tasks. */
int ckpt_image_load_any(struct ckpt_image *img, struct ckpt_snapshot **snapp, struct ckpt_err *err);
/* Makes one file of packed pages, compared with their checksums; others have it already. Only of
 * chunks that WHICH says, if it is not NULL; chunks are numbered through all of the chain. */
int ckpt_image_unpack(struct ckpt_image *img, const bool *which, unsigned int n_threads,
		      struct ckpt_err *err);
/* A stream that something else follows, which is left alone: FD (borrowed) is not read to its end.
 */
int ckpt_image_open_handed(struct ckpt_image **imgp, struct ckpt_arena *arena, int fd,
			   const char *name, struct ckpt_err *err);
/* It came as a stream. */
bool ckpt_image_is_stream(const struct ckpt_image *img);
/* There are pages, but not in one file. */
bool ckpt_image_is_packed(const struct ckpt_image *img);
/* Of these: bytes at OFFSET of the pages, compared with their checksum; LEN at most. */
ssize_t ckpt_image_read(struct ckpt_image *img, void *buf, size_t len, uint64_t offset,
			struct ckpt_err *err);
/* Borrowed; none if there are no pages, or packed ones. */
const struct ckpt_pages_files *ckpt_image_files(const struct ckpt_image *img);
uint64_t ckpt_image_pages_size(const struct ckpt_image *img);
uint64_t ckpt_image_content_id(const struct ckpt_image *img);
uint64_t ckpt_image_bytes(const struct ckpt_image *img);     /* all files */
uint64_t ckpt_image_n_records(const struct ckpt_image *img); /* without the trailer */

/* Pages that are given up (dedup.h): bytes of its own that are. *HEIRP: the folder of the image for
 * which they were the last time, if it is known; may be NULL. */
uint64_t ckpt_image_given_up(const struct ckpt_image *img, const char **heirp);
/* Refuses (CKPT_E_GIVEN_UP) a snapshot of which there are some; ckpt_image_load() does. */
int ckpt_image_check_kept(const struct ckpt_image *img, const struct ckpt_snapshot *snap,
			  struct ckpt_err *err);

/* Images that go on from each other (chain.c). Offsets of pages are those of the whole chain. */
uint64_t ckpt_image_base(const struct ckpt_image *img); /* of its own pages file; 0: complete */
uint64_t ckpt_image_end(const struct ckpt_image *img);
uint64_t ckpt_image_next_base(const struct ckpt_image *img); /* of one that goes on from it */
const struct ckpt_image *ckpt_image_parent(const struct ckpt_image *img); /* NULL: none */
unsigned int ckpt_image_depth(const struct ckpt_image *img); /* how many it goes on from */
const char *ckpt_image_folder(const struct ckpt_image *img); /* for messages */
/* Which image of the chain has the page at OFFSET: in its pages file at OFFSET less its base. */
const struct ckpt_image *ckpt_image_of(const struct ckpt_image *img, uint64_t offset);
/* Every pages file of the chain, the oldest first, *NP of them, in the arena of IMG. Their
 * descriptors are borrowed; of an image that has no pages, or packed ones, there is one, -1. */
struct ckpt_pages_part *ckpt_image_parts(const struct ckpt_image *img, size_t *np);
/* Its images have been unpacked since SNAP was loaded: its parts have descriptors. */
void ckpt_image_know_parts(const struct ckpt_image *img, const struct ckpt_snapshot *snap);

/* Compares every chunk of the pages files of the chain with its checksum, with up to N_THREADS
 * threads. Names file and chunk. */
int ckpt_image_verify_pages(const struct ckpt_image *img, unsigned int n_threads,
			    struct ckpt_err *err);
/* Only those that WHICH says, by number. Chunks are numbered through all of the chain. */
int ckpt_image_verify_chunks(const struct ckpt_image *img, const bool *which,
			     unsigned int n_threads, struct ckpt_err *err);
/* The same, and PUT gets what has been read, in pieces and by several threads at once: LEN bytes at
 * OFFSET. They are checked by the time that this returns, not before. */
typedef int ckpt_pages_put(void *arg, uint64_t offset, const void *data, size_t len);
int ckpt_image_put_chunks(const struct ckpt_image *img, const bool *which, unsigned int n_threads,
			  ckpt_pages_put *put, void *arg, struct ckpt_err *err);
/* Compares every chunk, as long as LOOK, which is asked between pieces, returns no failure. */
int ckpt_image_verify_while(const struct ckpt_image *img, unsigned int n_threads,
			    ckpt_pages_put *look, void *arg, struct ckpt_err *err);
size_t ckpt_image_n_chunks(const struct ckpt_image *img);
/* Reads a chunk into BUF, of CKPT_CHUNK bytes, and checks what was read. */
int ckpt_image_read_chunk(const struct ckpt_image *img, uint64_t chunk, void *buf,
			  struct ckpt_err *err);
/* The same for one chunk: what is read of it afterwards is what was written. */
int ckpt_image_verify_chunk(const struct ckpt_image *img, uint64_t chunk, struct ckpt_err *err);

/* Checks that all references of a snapshot resolve, numbers are in range, runs lie in the pages
 * file (of PAGES_SIZE bytes) and in their areas, areas are sorted and do not overlap, fds are
 * sorted. */
int ckpt_snapshot_check(const struct ckpt_snapshot *snap, uint64_t pages_size,
			struct ckpt_err *err);
