/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks of pages on their way into an image, by several threads: those of zeroes are not stored,
 * those that are the same are stored once, the others compressed if that makes them smaller.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "engine/base/err.h"
#include "engine/model/pages.h"
#include "engine/store/codec.h"

struct ckpt_progress;
struct ckpt_stream_out;

/* Where a chunk is in a pages file. */
struct ckpt_stored {
	uint64_t offset;
	uint32_t length, crc; /* CRC32C of what is stored */
	uint8_t method;       /* Ckpt__Chunks__Method */
};

struct ckpt_pack_opts {
	struct ckpt_compression how;
	int fd; /* the pages file, borrowed; -1: STREAM */
	const char *dir;
	struct ckpt_stream_out *stream;
	/* Between chunks; a failure ends it. By any thread. May be NULL. */
	int (*go_on)(void *arg, struct ckpt_err *err);
	void *go_on_arg;
	struct ckpt_progress *progress; /* of ckpt_pack_files() */
};

struct ckpt_pack;

struct ckpt_pack *ckpt_pack_open(const struct ckpt_pack_opts *opts, struct ckpt_err *err);
/* NULL is fine. */
void ckpt_pack_close(struct ckpt_pack *p);
/* Stores chunk number CHUNK, whose checksum is CRC; may be called by any thread. Again for the same
 * chunk: the last one counts. */
int ckpt_pack_put(struct ckpt_pack *p, uint64_t chunk, const void *data, size_t len, uint32_t crc,
		  struct ckpt_err *err);
/* The same for that chunk of FILES (SIZE bytes; what is missing of them is zeroes). BUF:
 * CKPT_CHUNK.
 */
int ckpt_pack_put_from(struct ckpt_pack *p, uint64_t chunk, const struct ckpt_pages_files *files,
		       uint64_t size, uint32_t crc, unsigned char *buf, struct ckpt_err *err);
/* The same for all chunks of FILES (SIZE bytes) whose checksum is not that of what was put, with
 * several threads. */
int ckpt_pack_files(struct ckpt_pack *p, const struct ckpt_pages_files *files, uint64_t size,
		    const uint32_t *crc, struct ckpt_err *err);
uint64_t ckpt_pack_size(const struct ckpt_pack *p);
/* Where chunk number CHUNK is; one that was never put is of zeroes. */
struct ckpt_stored ckpt_pack_stored(const struct ckpt_pack *p, uint64_t chunk);
/* How many threads are of use here. */
unsigned int ckpt_pack_threads(uint64_t n_chunks);
