/* SPDX-License-Identifier: Apache-2.0 */
/* The list comes from elsewhere: every number is checked, a line that is none is named. */
#include "engine/plan/file-list.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/plan/owner.h"

#define FIELDS 6
#define PACKAGE "#package\t"

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "-": nothing. False: it is no hexadecimal number of at most MAX bytes. */
static bool take_hex(const char *s, uint8_t *to, size_t max, size_t *lenp)
{
	size_t n = strlen(s);

	*lenp = 0;
	if (!strcmp(s, "-"))
		return true;
	if (n % 2 || n / 2 > max)
		return false;
	for (size_t i = 0; i < n; i += 2) {
		int high = digit(s[i]), low = digit(s[i + 1]);

		if (high < 0 || low < 0)
			return false;
		to[(*lenp)++] = high << 4 | low;
	}
	return *lenp > 0;
}

/* A newline, a backslash and the like in a path are written as "\012", "\134". */
static bool unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (*s == '\\' && strspn(s + 1, "01234567") < 3)
			return false;
		if (*s == '\\') {
			*to++ = (s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0');
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
	return true;
}

static bool take_line(char *line, struct ckpt_file_entry *e)
{
	char *field[FIELDS];
	const char *at;
	uint64_t mode, size, nsec;
	int64_t sec;
	size_t len;

	for (int i = 0; i < FIELDS; i++) {
		field[i] = i + 1 < FIELDS ? strsep(&line, "\t") : line;
		if (!field[i])
			return false;
	}
	at = field[0];
	if (!ckpt_parse_u64(&at, 8, &mode) || *at || mode > UINT32_MAX)
		return false;
	at = field[1];
	if (!ckpt_parse_u64(&at, 10, &size) || *at || size > INT64_MAX)
		return false;
	at = field[2];
	if (!ckpt_parse_i64(&at, 10, &sec) || *at++ != '.' || !ckpt_parse_u64(&at, 10, &nsec) ||
	    *at || nsec > 999999999)
		return false;
	e->st.st_mode = mode;
	e->st.st_size = size;
	e->st.st_rdev = S_ISCHR(mode) || S_ISBLK(mode) ? size : 0;
	e->st.st_mtim = (struct timespec){ sec, nsec };
	e->path = field[5];
	if (!take_hex(field[3], e->build_id, sizeof(e->build_id), &e->build_id_len) ||
	    !take_hex(field[4], e->sha256, sizeof(e->sha256), &len) || (len && len != CKPT_SHA256))
		return false;
	e->has_sha256 = len;
	return field[5][0] == '/' && unescape(field[5]);
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct ckpt_file_entry *)a)->path,
		      ((const struct ckpt_file_entry *)b)->path);
}

int ckpt_file_list_read(struct ckpt_file_list **listp, struct ckpt_arena *arena, int fd,
			const char *name, struct ckpt_err *err)
{
	struct ckpt_file_list *list = ckpt_new(arena, struct ckpt_file_list);
	size_t room = 0, n = 0;
	char *text, *line, *package = NULL;
	int r = ckpt_read_all(arena, fd, &text, NULL, err);

	if (r < 0)
		return ckpt_in(err, r, "%s", name);
	for (char *rest = text; (line = strsep(&rest, "\n"));) {
		n++;
		if (!strncmp(line, PACKAGE, strlen(PACKAGE)) &&
		    ckpt_owner_sane(line + strlen(PACKAGE)))
			package = line + strlen(PACKAGE);
		if (!*line || *line == '#')
			continue;
		list->v = ckpt_grow(arena, list->v, list->n, &room, 64, sizeof(*list->v));
		memset(&list->v[list->n], 0, sizeof(*list->v));
		if (!take_line(line, &list->v[list->n]))
			return ckpt_refuse(err, CKPT_E_CONFIG, -EINVAL,
					   "%s: line %zu: is none of `ckpt show --file-list`", name,
					   n);
		list->v[list->n++].package = package;
		package = NULL;
	}
	if (list->n)
		qsort(list->v, list->n, sizeof(*list->v), by_path);
	*listp = list;
	return 0;
}

const struct ckpt_file_entry *ckpt_file_list_find(const struct ckpt_file_list *list,
						  const char *path)
{
	const struct ckpt_file_entry key = { .path = path };

	return list->n ? bsearch(&key, list->v, list->n, sizeof(*list->v), by_path) : NULL;
}

static const char *hex_or_dash(char *buf, const uint8_t *bytes, size_t len)
{
	return len ? ckpt_hex(buf, bytes, len) : "-";
}

/* A terminal obeys control characters, those of UTF-8 too: U+0080 to U+009F. */
static bool is_plain(const char *s)
{
	unsigned char c = s[0], next = s[1];

	return c >= ' ' && c != '\\' && c != 0x7f && !(c == 0xc2 && next >= 0x80 && next < 0xa0);
}

static char *escape(struct ckpt_arena *arena, const char *path)
{
	char *copy = ckpt_alloc(arena, 4 * strlen(path) + 1), *to = copy;

	for (; *path; path++)
		if (is_plain(path))
			*to++ = *path;
		else
			to += sprintf(to, "\\%03o", (unsigned char)*path);
	return copy;
}

const char *ckpt_file_list_line(struct ckpt_arena *arena, const char *path, bool hash)
{
	char id_text[2 * CKPT_BUILD_ID_MAX + 1], hash_text[2 * CKPT_BUILD_ID_MAX + 1];
	struct ckpt_err ignored = CKPT_ERR_INIT;
	uint8_t id[CKPT_BUILD_ID_MAX], sha[CKPT_SHA256];
	size_t id_len = 0, sha_len = 0, size = 4 * strlen(path) + 512;
	char *line = ckpt_alloc(arena, size);
	struct stat st;

	if (lstat(path, &st) < 0)
		memset(&st, 0, sizeof(st));
	CKPT_FD fd = S_ISREG(st.st_mode) ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (fd >= 0)
		id_len = ckpt_build_id(fd, id);
	if (fd >= 0 && hash && ckpt_sha256(fd, st.st_size, sha, &ignored) >= 0)
		sha_len = CKPT_SHA256;
	snprintf(line, size, "%o\t%llu\t%lld.%09ld\t%s\t%s\t%s", st.st_mode,
		 (unsigned long long)(S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode) ?
					      st.st_rdev :
					      (dev_t)st.st_size),
		 (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, hex_or_dash(id_text, id, id_len),
		 hex_or_dash(hash_text, sha, sha_len), escape(arena, path));
	return line;
}
