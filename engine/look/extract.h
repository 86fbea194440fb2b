/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes out of an image: memory as hexadecimal lines, memory and what descriptors held as files. */
#pragma once
#include <stdio.h>
#include "engine/look/look.h"
#include "engine/look/output.h"

#define CKPT_HEX_MAX (1ull << 28) /* bytes that are printed */

/* LEN bytes at ADDR of TASK, 16 a line, with their text; lines that are like the one before are one
 * "*". What cannot be read is a failure, and nothing behind it is printed. */
int ckpt_hex_print(struct ckpt_look *look, const struct ckpt_task *task, uint64_t addr,
		   uint64_t len, FILE *out, struct ckpt_err *err);

/* Where extracted bytes go: OUT with holes for what is zero, or a stream. One of them is NULL. */
struct ckpt_sink {
	const struct ckpt_output *out;
	FILE *stream;
	uint64_t at; /* bytes so far */
};
int ckpt_extract_memory(struct ckpt_look *look, const struct ckpt_task *task, uint64_t addr,
			uint64_t len, struct ckpt_sink *sink, struct ckpt_err *err);
/* What the object held: content of a file without a name, or unread data. CKPT_E_NO_CONTENT where
 * the image has nothing of the sort. */
int ckpt_extract_object(struct ckpt_look *look, const struct ckpt_object *obj,
			struct ckpt_sink *sink, struct ckpt_err *err);
/* Does it hold anything that ckpt_extract_object() could write? Its size goes to *BYTESP. */
bool ckpt_object_holds(const struct ckpt_look *look, const struct ckpt_object *obj,
		       uint64_t *bytesp);
