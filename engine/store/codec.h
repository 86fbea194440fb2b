/* SPDX-License-Identifier: Apache-2.0 */
/* Compressing and decompressing one chunk: lz4, zstd, or as it is. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "proto/image.pb-c.h"

struct ckpt_compression {
	Ckpt__Chunks__Method method; /* ZERO: none is asked for */
	int level;                   /* of zstd; acceleration of lz4; 0: as they like */
};

/* What a thread needs for it; all of it is made at the first use. */
struct ckpt_codec {
	void *compressor, *decompressor; /* of zstd */
};
void ckpt_codec_close(struct ckpt_codec *c);

bool ckpt_all_zero(const void *data, size_t len);
/* "lz4", "lz4:4", "zstd", "zstd:19", "none". False: it is none of these. */
bool ckpt_compression_parse(const char *text, struct ckpt_compression *how);
/* Returns how many bytes of OUT, which has LEN, it takes; 0: it does not get smaller, or there is
 * no memory for it. */
size_t ckpt_compress(struct ckpt_codec *c, const struct ckpt_compression *how, const void *in,
		     size_t len, void *out);
/* Hostile input. True: it was LEN bytes, which are in OUT now. */
bool ckpt_decompress(struct ckpt_codec *c, Ckpt__Chunks__Method method, const void *in,
		     size_t in_len, void *out, size_t len);
