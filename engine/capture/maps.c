/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scanner for /proc/PID/smaps: about 700 bytes for each area, of which four lines matter. By
 * hand, because the target stands still meanwhile: the kernel takes 2.7 us to print an area, this
 * 0.2 us to read it.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "engine/capture/maps.h"

#define BUFFER (64u << 10) /* longer than any line: a path has at most 4 KiB, escaped 16 */
/* The kernel prints into a page, and an area that does not fit any more once again for the next
 * read, which takes as long as to walk its page tables. Who wants less than a page gets less. */
#define AT_ONCE 3072

struct scanner {
	struct ckpt_arena *arena;
	struct ckpt_map *v;
	size_t n, room;
};

static struct ckpt_map *add(struct scanner *s)
{
	s->v = ckpt_grow(s->arena, s->v, s->n, &s->room, 64, sizeof(*s->v));
	return &s->v[s->n++];
}

static bool hex(const char **sp, char end, uint64_t *valuep)
{
	const char *s = *sp;
	uint64_t value = 0;

	for (;; s++) {
		unsigned int digit = (unsigned char)*s - '0';

		if (digit > 9) {
			digit = (unsigned char)*s - 'a';
			if (digit > 5)
				break;
			digit += 10;
		}
		value = value << 4 | digit;
	}
	if (s == *sp || *s != end)
		return false;
	*sp = s + 1;
	*valuep = value;
	return true;
}

static bool decimal(const char **sp, const char *end, uint64_t *valuep)
{
	const char *s = *sp;
	uint64_t value = 0;

	while (s < end && (unsigned char)(*s - '0') <= 9)
		value = 10 * value + (*s++ - '0');
	if (s == *sp)
		return false;
	*sp = s;
	*valuep = value;
	return true;
}

/* Areas of one file follow each other: most names are the one before. */
static const char *keep_name(struct scanner *s, const char *name, size_t len)
{
	char *copy;

	if (!len)
		return "";
	for (size_t back = 2; back <= 3 && back <= s->n; back++) {
		const char *before = s->v[s->n - back].name;

		if (!strncmp(before, name, len) && !before[len])
			return before;
	}
	copy = ckpt_alloc(s->arena, len + 1);
	return memcpy(copy, name, len);
}

/* "start-end rwxp offset major:minor inode   name" */
static bool scan_head(struct scanner *s, const char *line, const char *end)
{
	struct ckpt_map *m = add(s);
	uint64_t major, minor;
	const char *p = line;

	if (!hex(&p, '-', &m->start) || !hex(&p, ' ', &m->end) || end - p < 5 || p[4] != ' ')
		return false;
	m->prot = (p[0] == 'r' ? PROT_READ : 0) | (p[1] == 'w' ? PROT_WRITE : 0) |
		  (p[2] == 'x' ? PROT_EXEC : 0);
	m->shared = p[3] == 's';
	p += 5;
	if (!hex(&p, ' ', &m->offset) || !hex(&p, ':', &major) || !hex(&p, ' ', &minor))
		return false;
	if (!decimal(&p, end, &m->ino))
		return false;
	m->major = major;
	m->minor = minor;
	while (p < end && *p == ' ')
		p++;
	m->name = keep_name(s, p, end - p);
	return true;
}

static int flag_of(char a, char b)
{
	switch ((unsigned char)a << 8 | (unsigned char)b) {
#define X(name, first, second)    \
	case first << 8 | second: \
		return CKPT_MAP_BIT_##name;
		CKPT_MAP_FLAGS(X)
#undef X
	}
	return -1;
}

/* "Shared_Clean:        148 kB" and "Shared_Dirty:" */
static void scan_shared(struct ckpt_map *m, const char *p, const char *end)
{
	uint64_t kb;

	for (p += 13; p < end && *p == ' '; p++)
		;
	if (decimal(&p, end, &kb))
		m->shared_kb += kb;
}

/* "ProtectionKey:         3", "KernelPageSize:     2048 kB"; KEY_LEN with the colon. */
static uint64_t scan_value(const char *p, const char *end, size_t key_len)
{
	uint64_t value;

	for (p += key_len; p < end && *p == ' '; p++)
		;
	return decimal(&p, end, &value) ? value : 0;
}

/* "VmFlags: rd wr mr mw me ac " */
static void scan_flags(struct ckpt_map *m, const char *p, const char *end)
{
	for (p += 8; end - p >= 2; p++) {
		int bit;

		if (*p == ' ')
			continue;
		m->n_flags++;
		bit = flag_of(p[0], p[1]);
		if (bit >= 0)
			m->flags |= 1ull << bit;
		else if (p[0] != '?') /* "??": a bit that has no name in that kernel either */
			memcpy(m->unknown, p, 2);
		p++;
	}
}

static bool scan_line(struct scanner *s, const char *line, const char *end)
{
	/* Lines of the fields start with a capital letter, addresses never do. */
	if (*line < 'A' || *line > 'Z')
		return scan_head(s, line, end);
	if (!s->n)
		return false;
	if (*line == 'V' && end - line > 8 && !memcmp(line, "VmFlags:", 8))
		scan_flags(&s->v[s->n - 1], line, end);
	else if (*line == 'S' && end - line > 13 &&
		 (!memcmp(line, "Shared_Clean:", 13) || !memcmp(line, "Shared_Dirty:", 13)))
		scan_shared(&s->v[s->n - 1], line, end);
	else if (*line == 'P' && end - line > 14 && !memcmp(line, "ProtectionKey:", 14))
		s->v[s->n - 1].pkey = scan_value(line, end, 14);
	else if (*line == 'K' && end - line > 15 && !memcmp(line, "KernelPageSize:", 15))
		s->v[s->n - 1].page_kb = scan_value(line, end, 15);
	return true;
}

/* Scans the whole lines in BUF; returns how many bytes that was, or -1. */
static ssize_t scan_lines(struct scanner *s, const char *buf, size_t len)
{
	const char *line = buf, *stop = buf + len, *end;

	while ((end = memchr(line, '\n', stop - line))) {
		if (!scan_line(s, line, end))
			return -1;
		line = end + 1;
	}
	return line - buf;
}

int ckpt_maps_read(struct ckpt_arena *arena, int fd, struct ckpt_map **mapp, size_t *np,
		   struct ckpt_err *err)
{
	struct scanner s = { .arena = arena };
	char buf[BUFFER];
	size_t used = 0;

	for (;;) {
		size_t room = sizeof(buf) - used;
		ssize_t n = read(fd, buf + used, room < AT_ONCE ? room : AT_ONCE), done;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ckpt_fail(err, -errno, "smaps: cannot read");
		if (!n)
			break;
		used += n;
		done = scan_lines(&s, buf, used);
		if (done < 0 || (!done && used == sizeof(buf)))
			return ckpt_fail(err, -EBADMSG, "smaps: a line that cannot be understood");
		used -= done;
		memmove(buf, buf + done, used);
	}
	if (used)
		return ckpt_fail(err, -EBADMSG, "smaps: ends within a line");
	*mapp = s.v;
	*np = s.n;
	return 0;
}
