/* SPDX-License-Identifier: Apache-2.0 */
/* Looks for text, bytes or an expression in the memory of a process. */
#pragma once
#include "engine/look/look.h"

#define CKPT_MATCH_MAX 65536 /* bytes of a match: longer ones are not found */

struct ckpt_hit {
	const struct ckpt_task *task;
	uint64_t addr;
	size_t len;                 /* of the match */
	const unsigned char *bytes; /* from ADDR on, N of them */
	size_t n;
};

struct ckpt_search; /* what to look for */

int ckpt_search_bytes(struct ckpt_search **searchp, struct ckpt_arena *arena, const void *bytes,
		      size_t len, struct ckpt_err *err);
/* Pairs of hexadecimal digits, with or without blanks between them. */
int ckpt_search_hex(struct ckpt_search **searchp, struct ckpt_arena *arena, const char *digits,
		    struct ckpt_err *err);
/* Perl-compatible, of bytes; its time for a match is bounded. */
int ckpt_search_regex(struct ckpt_search **searchp, struct ckpt_arena *arena, const char *regex,
		      struct ckpt_err *err);
void ckpt_search_close(struct ckpt_search *search);

/* Calls HIT for each match in TASK, by address, until it returns false. AREA: only areas of that
 * name, path or file name; NULL: all. Memory that was never touched is passed over, and so is what
 * cannot be known. Returns 0, 1 if HIT ended it, or an error. */
int ckpt_search_run(struct ckpt_look *look, const struct ckpt_search *search,
		    const struct ckpt_task *task, const char *area,
		    bool (*hit)(void *arg, const struct ckpt_hit *hit), void *arg,
		    struct ckpt_err *err);
