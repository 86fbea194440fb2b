/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and lines out of /proc. Own parsing of numbers: strtoull(3) takes "-1" and knows locales.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/text.h"

#define FIRST_READ (16u << 10)
#define TEXT_MAX (256u << 20)

/* Fills BUF from USED on; stops at the end of the file or when it is full. */
static int fill(int fd, char *buf, size_t size, size_t *usedp, bool *endp, struct ckpt_err *err)
{
	while (*usedp < size) {
		ssize_t n = read(fd, buf + *usedp, size - *usedp);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ckpt_fail(err, -errno, "cannot read");
		if (!n) {
			*endp = true;
			return 0;
		}
		*usedp += n;
	}
	return 0;
}

int ckpt_read_all(struct ckpt_arena *arena, int fd, char **textp, size_t *lenp,
		  struct ckpt_err *err)
{
	char first[FIRST_READ], *buf = first;
	size_t size = sizeof(first), used = 0;
	bool end = false;
	int r;

	/* Files of /proc do not tell their size. Most are small: those take no more than they need.
	 */
	for (;;) {
		char *bigger;

		r = fill(fd, buf, size, &used, &end, err);
		if (r < 0)
			return r;
		if (end)
			break;
		if (size >= TEXT_MAX || ckpt_arena_left(arena) < 4 * size)
			return ckpt_fail(err, -EFBIG, "cannot read");
		bigger = ckpt_alloc(arena, 4 * size);
		memcpy(bigger, buf, used);
		buf = bigger;
		size *= 4;
	}
	if (buf == first)
		buf = memcpy(ckpt_alloc(arena, used + 1), first, used);
	buf[used] = '\0';
	*textp = buf;
	if (lenp)
		*lenp = used;
	return 0;
}

static const char *skip_blanks(const char *s)
{
	while (*s == ' ' || *s == '\t')
		s++;
	return s;
}

const char *ckpt_line_after(const char *text, const char *key)
{
	size_t n = strlen(key);

	/* Not line by line: a file of fifty is looked through often. */
	for (const char *s = text; s && (s = strstr(s, key)); s++)
		if ((s == text || s[-1] == '\n') && s[n] == ':')
			return skip_blanks(s + n + 1);
	return NULL;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'Z')
		return c - 'A' + 10;
	return 99;
}

static const char *skip_prefix(const char *s, int *basep)
{
	bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X') && digit(s[2]) < 16;

	if ((*basep == 16 || *basep == 0) && hex) {
		*basep = 16;
		return s + 2;
	}
	if (*basep == 0)
		*basep = *s == '0' ? 8 : 10;
	return s;
}

/* S is moved behind the digits even if they overflow. */
static bool parse_digits(const char **sp, int base, uint64_t *valuep)
{
	const char *s = skip_prefix(*sp, &base);
	uint64_t value = 0;
	bool fits = true;

	if (digit(*s) >= base)
		return false;
	for (; digit(*s) < base; s++) {
		fits &= !__builtin_mul_overflow(value, (uint64_t)base, &value);
		fits &= !__builtin_add_overflow(value, (uint64_t)digit(*s), &value);
	}
	*sp = s;
	*valuep = value;
	return fits;
}

size_t ckpt_count_text(const char *text, const char *what)
{
	size_t n = 0;

	for (; (text = strstr(text, what)); text++)
		n++;
	return n;
}

bool ckpt_parse_u64(const char **sp, int base, uint64_t *valuep)
{
	const char *s = skip_blanks(*sp);
	uint64_t value;

	if (!parse_digits(&s, base, &value))
		return false;
	*sp = s;
	*valuep = value;
	return true;
}

bool ckpt_parse_i64(const char **sp, int base, int64_t *valuep)
{
	const char *s = skip_blanks(*sp);
	bool negative = *s == '-';
	uint64_t value;

	s += negative;
	if (!parse_digits(&s, base, &value))
		return false;
	if (value > (uint64_t)INT64_MAX + negative)
		return false;
	*sp = s;
	*valuep = (int64_t)(negative ? -value : value);
	return true;
}

bool ckpt_word_is(const char *s, const char *w)
{
	size_t n = strlen(w);

	return !strncmp(s, w, n) && (!s[n] || s[n] == ' ' || s[n] == '\t' || s[n] == '\n');
}

const char *ckpt_size_text(uint64_t bytes, char buf[24])
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double n = bytes;
	unsigned int u = 0;

	for (; n >= 1024 && u < 6; u++)
		n /= 1024;
	snprintf(buf, 24, u && n < 100 ? "%.1f %s" : "%.0f %s", n, unit[u]);
	return buf;
}
