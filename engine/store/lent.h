/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the store: an image whose pages are lent, chunk by chunk, by another process that has
 * them in a file, or gets them there when it is asked (injector/borrow.h). Between the two is a
 * SOCK_SEQPACKET, so that whoever takes over from one that was killed reads whole answers.
 */
#pragma once
#include <stdint.h>
#include "engine/base/err.h"

/* What a reader who connects gets, with the descriptors of that socket and of the file (which is
 * left out where the pages are in the folder). */
#define CKPT_LENT_MAGIC "CKPTLNT\n"
struct ckpt_lent_hello {
	char magic[8];
	uint64_t content_id;
};
/* PAGES_FD -1: none. */
int ckpt_lent_greet(int control, uint64_t content_id, int socket, int pages_fd,
		    struct ckpt_err *err);

enum ckpt_lent_what {
	CKPT_LENT_GET = 1, /* of the reader: CHUNK is needed */
	CKPT_LENT_HAVE,    /* the answer: it is in the file, and was compared with its checksum */
	CKPT_LENT_FAILED,  /* of either: TEXT says why, nothing follows */
	CKPT_LENT_DONE,    /* of the reader: no more is needed */
};

struct ckpt_lent_note {
	uint32_t what;
	uint32_t number; /* FAILED: of the catalogue */
	uint64_t chunk;
	char text[512];
};
/* WHY: of what FAILED; NULL with others. Negative: nobody is there any more. */
int ckpt_lent_say(int socket, enum ckpt_lent_what what, uint64_t chunk, const struct ckpt_err *why);
