/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and lines out of /proc. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"

/* Reads FD to its end into the arena, NUL-terminated. Takes nothing: FD stays the caller's. */
int ckpt_read_all(struct ckpt_arena *arena, int fd, char **textp, size_t *lenp,
		  struct ckpt_err *err);
/* The text after "KEY:" and blanks at the start of a line; NULL if there is none. Ends at '\n', not
 * NUL-terminated. */
const char *ckpt_line_after(const char *text, const char *key);
/* How often WHAT stands in TEXT: room for all lines that begin with it. */
size_t ckpt_count_text(const char *text, const char *what);
/* Parses a number behind blanks and moves *SP behind it; false, with *SP as it was, if there is
 * none or it overflows. BASE 16 takes "0x" too; 0 tells the base by the prefix. */
bool ckpt_parse_u64(const char **sp, int base, uint64_t *valuep);
bool ckpt_parse_i64(const char **sp, int base, int64_t *valuep);
/* Does the word (ending at blank, NUL or newline) W stand at S? */
bool ckpt_word_is(const char *s, const char *w);

/* "1.5 GiB", for people. Fills BUF and returns it. */
const char *ckpt_size_text(uint64_t bytes, char buf[24]);
