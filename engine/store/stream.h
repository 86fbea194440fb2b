/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the store: an image as one stream of frames. After 16 bytes like those of "image" (with
 * another magic) come frames { header of 32 bytes, content }: chunks of the pages, in any order,
 * the last one of a number counts, one that does not come is of zeroes; then the bytes of "image";
 * then the end. Whoever reads it waits for the end of the file too: only then is the writer done.
 */
#pragma once
#include <stdint.h>
#include "engine/base/err.h"
#include "engine/store/image-inside.h"
#include "engine/store/pack.h"

struct ckpt_progress;
struct ckpt_temp;

#define CKPT_STREAM_MAGIC "CKPTSTR\n"
#define CKPT_STREAM_FORMAT 1

enum ckpt_frame_type {
	CKPT_FRAME_CHUNK = 1, /* AT: its number */
	CKPT_FRAME_IMAGE,     /* AT: byte of "image", they come in order */
	CKPT_FRAME_END,       /* AT: how many frames came before; SUM: over their checks */
	CKPT_FRAME_GO,        /* between chunks that are asked for: the tree may run there */
};

struct ckpt_frame {
	uint32_t check; /* CRC32C of the other fields and of what follows */
	uint32_t type;
	uint64_t at;
	uint32_t length; /* of what follows */
	uint32_t raw;    /* of what that becomes, CKPT_CHUNK at most */
	uint32_t sum;    /* CRC32C of the latter */
	uint32_t method; /* Ckpt__Chunks__Method */
};
uint32_t ckpt_frame_check(const struct ckpt_frame *f, const void *data);

/* ---- writing; by any thread ---- */
struct ckpt_stream_opts {
	int fd; /* borrowed */
	const char *name;
	/* While it waits for the reader; a failure ends it. By any thread. May be NULL. */
	int (*go_on)(void *arg, struct ckpt_err *err);
	void *go_on_arg;
	struct ckpt_progress *progress; /* that waits likewise */
	unsigned int patience_s;        /* with a reader that takes nothing; 0: no limit */
};

int ckpt_stream_open(struct ckpt_stream_out **op, const struct ckpt_stream_opts *opts,
		     struct ckpt_err *err);
/* NULL is fine. */
void ckpt_stream_close(struct ckpt_stream_out *o);
/* DATA: what is stored, AT says how, of RAW bytes with the checksum SUM. */
int ckpt_stream_put_chunk(struct ckpt_stream_out *o, uint64_t chunk, const struct ckpt_stored *at,
			  const void *data, size_t raw, uint32_t sum, struct ckpt_err *err);
int ckpt_stream_put_go(struct ckpt_stream_out *o, struct ckpt_err *err);
/* All of the file FD, as "image". */
int ckpt_stream_put_image(struct ckpt_stream_out *o, int fd, struct ckpt_err *err);
/* The end; of a pipe, waits until it is empty: who dies with the rest unread has not got it. */
int ckpt_stream_end(struct ckpt_stream_out *o, struct ckpt_err *err);
uint64_t ckpt_stream_written(const struct ckpt_stream_out *o);

/* ---- reading ---- */
struct ckpt_received {
	int image_fd, pages_fd; /* in memory of our own; PAGES_FD -1: they were only checked */
	uint64_t image_size;
	uint64_t bytes;   /* of the stream */
	uint32_t *crc;    /* malloc: of each chunk */
	bool *there;      /* malloc: it came */
	uint64_t n, room; /* of both */
};
struct ckpt_receive_opts {
	bool keep; /* the pages too */
	bool away; /* of a folder: they may be at a page server, */
	bool near; /* but those of the images that it goes on from may not */
	bool more; /* something else follows the image, and is left alone; else FD is read to its
		      end */
	/* Of chunks that are asked for: was that one, and has it that checksum? NULL: all may come.
	 */
	bool (*wanted)(void *arg, uint64_t chunk, uint32_t sum);
	void *wanted_arg;
	const struct ckpt_temp *into; /* files for both; NULL: in memory */
	/* While nothing comes; a failure ends it. May be NULL. */
	int (*go_on)(void *arg, struct ckpt_err *err);
	void *go_on_arg;
	struct ckpt_progress *progress;
};
/* Reads all of FD (borrowed). */
int ckpt_stream_receive(struct ckpt_received *got, int fd, const char *name,
			const struct ckpt_receive_opts *opts, struct ckpt_err *err);
/* Of the files too, unless they were taken. */
void ckpt_received_close(struct ckpt_received *got);
/* The checksums of the image are those of the chunks that came; SIZE bytes of pages. */
int ckpt_received_compare(struct ckpt_received *got, const char *name, uint64_t size,
			  const uint32_t *crc, struct ckpt_err *err);

/* Chunks that are asked for, into GOT->pages_fd; all of that is borrowed, and OPTS too. */
struct ckpt_stream_in;
struct ckpt_stream_in *ckpt_stream_in_open(struct ckpt_received *got, int fd, const char *name,
					   const struct ckpt_receive_opts *opts,
					   struct ckpt_err *err);
/* The next one, *CHUNKP; 1: it may run. Waits for it. */
int ckpt_stream_in_next(struct ckpt_stream_in *in, uint64_t *chunkp, struct ckpt_err *err);
/* NULL is fine. */
void ckpt_stream_in_close(struct ckpt_stream_in *in);
