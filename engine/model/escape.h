/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the model: text for a terminal, of bytes that anybody may have chosen. */
#pragma once
#include <stddef.h>
#include <stdio.h>

/* A buffer that takes what fits and forgets the rest. */
struct ckpt_text {
	char *buf;
	size_t size, n; /* N < SIZE: there is always room for the NUL */
};

void ckpt_text_init(struct ckpt_text *t, char *buf, size_t size);
void ckpt_text_printf(struct ckpt_text *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Control characters, what is not UTF-8, and what turns the direction of writing become \n, \x1b
 * and the like. QUOTES: also " and \ get a \ in front. */
void ckpt_text_escaped(struct ckpt_text *t, const char *s, size_t len, int quotes);
/* S, escaped, at most 4 KiB of it. */
void ckpt_print_escaped(FILE *out, const char *s);
/* "0a0b", at most MAX bytes, then "... (216 bytes)". */
void ckpt_text_hex(struct ckpt_text *t, const unsigned char *data, size_t len, size_t max);
