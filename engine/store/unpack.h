/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the store: chunks of a pages file that holds them packed. */
#pragma once
#include "engine/store/image-inside.h"
#include "engine/store/record.h"

/* What one thread works with. */
struct ckpt_unpacker {
	struct ckpt_codec codec;
	unsigned char *in, *out; /* CKPT_CHUNK each */
};
int ckpt_unpacker_open(struct ckpt_unpacker *u); /* 0 or -ENOMEM */
void ckpt_unpacker_close(struct ckpt_unpacker *u);
/* Chunk number CHUNK, LEN bytes, in U->out; not compared with its checksum. 0 or a negative errno,
 * -EBADMSG if it is damaged. */
int ckpt_unpack_chunk(struct ckpt_unpacker *u, const struct ckpt_image *img, uint64_t chunk,
		      size_t len);
/* Takes the record "chunks"; checked against the checksums when all records are read. */
int ckpt_unpack_take(struct ckpt_image *img, const struct ckpt_record_in *in, struct ckpt_err *err);
