/* SPDX-License-Identifier: Apache-2.0 */
/* File names and process names may hold anything, and a terminal obeys what it is sent: nothing
 * goes there raw. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "engine/model/escape.h"

#define PRINT_MAX 4096

void ckpt_text_init(struct ckpt_text *t, char *buf, size_t size)
{
	t->buf = buf;
	t->size = size;
	t->n = 0;
	if (size)
		buf[0] = '\0';
}

void ckpt_text_printf(struct ckpt_text *t, const char *fmt, ...)
{
	size_t room = t->size - t->n;
	va_list ap;
	int r;

	if (room < 2)
		return;
	va_start(ap, fmt);
	r = vsnprintf(t->buf + t->n, room, fmt, ap);
	va_end(ap);
	if (r > 0)
		t->n += (size_t)r < room ? (size_t)r : room - 1;
}

/* The length of the UTF-8 sequence at S and its character; 0 if it is none. */
static size_t decode(const unsigned char *s, size_t len, uint32_t *cp)
{
	static const uint32_t lowest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = s[0] < 0x80 ? 1 :
		   s[0] < 0xc0 ? 0 :
		   s[0] < 0xe0 ? 2 :
		   s[0] < 0xf0 ? 3 :
		   s[0] < 0xf8 ? 4 :
				 0;
	uint32_t c = n == 1 ? s[0] : s[0] & (0x7fu >> n);

	if (!n || n > len)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < lowest[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	*cp = c;
	return n;
}

static bool harmless(uint32_t c)
{
	if (c < 0x20 || (c >= 0x7f && c < 0xa0))
		return false;
	/* Marks and overrides of direction, line and paragraph separators, byte order mark. */
	return !(c >= 0x200b && c <= 0x200f) && !(c >= 0x2028 && c <= 0x202e) &&
	       !(c >= 0x2066 && c <= 0x2069) && c != 0xfeff;
}

static void escape_byte(struct ckpt_text *t, unsigned char c)
{
	if (c == '\n')
		ckpt_text_printf(t, "\\n");
	else if (c == '\t')
		ckpt_text_printf(t, "\\t");
	else
		ckpt_text_printf(t, "\\x%02x", c);
}

void ckpt_text_escaped(struct ckpt_text *t, const char *s, size_t len, int quotes)
{
	const unsigned char *p = (const unsigned char *)s, *end = p + len;

	while (p < end && t->size - t->n >= 2) {
		uint32_t c = 0;
		size_t n = decode(p, end - p, &c);

		if (n && harmless(c)) {
			if (quotes && (c == '"' || c == '\\'))
				ckpt_text_printf(t, "\\");
			/* A character is not cut in half at the end. */
			if (t->size - t->n <= n)
				return;
			ckpt_text_printf(t, "%.*s", (int)n, (const char *)p);
			p += n;
			continue;
		}
		for (n = n ? n : 1; n; n--)
			escape_byte(t, *p++);
	}
}

void ckpt_text_hex(struct ckpt_text *t, const unsigned char *data, size_t len, size_t max)
{
	for (size_t i = 0; i < len && i < max; i++)
		ckpt_text_printf(t, "%02x", data[i]);
	if (len > max)
		ckpt_text_printf(t, "... (%zu bytes)", len);
}

void ckpt_print_escaped(FILE *out, const char *s)
{
	char buf[PRINT_MAX];
	struct ckpt_text t;

	ckpt_text_init(&t, buf, sizeof(buf));
	ckpt_text_escaped(&t, s, strlen(s), 0);
	fputs(buf, out);
}
