/* SPDX-License-Identifier: Apache-2.0 */
/* The address space of a target, as little of it as remote calls need. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "injector/areas.h"

#define TEXT (16u << 10) /* longer than any line: paths end at 4096, with escapes */
#define STACK_MAX (1ull << 30)

static uint8_t what_is(const struct ckpt_vm_area *a, const char *name)
{
	if (*name == '[') {
		if (!strncmp(name, "[stack]", 7))
			return CKPT_AREA_STACK;
		if (!strncmp(name, "[vdso]", 6))
			return CKPT_AREA_VDSO;
		return !strncmp(name, "[heap]", 6) || !strncmp(name, "[anon:", 6) ? CKPT_AREA_ANON :
										    CKPT_AREA_OTHER;
	}
	return a->ino ? CKPT_AREA_FILE : CKPT_AREA_ANON;
}

/* "7f41-7f42 r-xp 00027000 fe:00 332383    /path" */
static bool parse_line(const char *p, struct ckpt_vm_area *a)
{
	uint64_t major, minor;

	if (!ckpt_parse_u64(&p, 16, &a->start) || *p++ != '-' || !ckpt_parse_u64(&p, 16, &a->end) ||
	    *p++ != ' ')
		return false;
	a->prot = (p[0] == 'r' ? PROT_READ : 0) | (p[1] == 'w' ? PROT_WRITE : 0) |
		  (p[2] == 'x' ? PROT_EXEC : 0);
	a->shared = p[3] == 's';
	p += 4;
	if (!ckpt_parse_u64(&p, 16, &a->offset) || !ckpt_parse_u64(&p, 16, &major) || *p++ != ':' ||
	    !ckpt_parse_u64(&p, 16, &minor) || !ckpt_parse_u64(&p, 10, &a->ino))
		return false;
	a->major = major;
	a->minor = minor;
	while (*p == ' ')
		p++;
	a->what = what_is(a, p);
	a->nameless = a->ino && strstr(p, " (deleted)");
	return true;
}

static void add(struct ckpt_arena *arena, struct ckpt_vm_areas *areas, size_t *roomp,
		const struct ckpt_vm_area *a)
{
	if (areas->n == *roomp) {
		struct ckpt_vm_area *v = ckpt_alloc(arena, (*roomp ? 2 * *roomp : 64) * sizeof(*v));

		if (areas->n)
			memcpy(v, areas->v, areas->n * sizeof(*v));
		areas->v = v;
		*roomp = *roomp ? 2 * *roomp : 64;
	}
	areas->v[areas->n++] = *a;
}

/* Takes whole lines off the front of TEXT; returns how much of it is left. */
static size_t take_lines(struct ckpt_arena *arena, struct ckpt_vm_areas *areas, size_t *roomp,
			 char *text, size_t used)
{
	char *p = text, *end;

	while ((end = memchr(p, '\n', text + used - p)) != NULL) {
		struct ckpt_vm_area a;

		*end = '\0';
		if (parse_line(p, &a))
			add(arena, areas, roomp, &a);
		p = end + 1;
	}
	used = text + used - p;
	memmove(text, p, used);
	return used;
}

int ckpt_vm_areas_read(struct ckpt_arena *arena, pid_t pid, struct ckpt_vm_areas *areas,
		       struct ckpt_err *err)
{
	char path[32], text[TEXT];
	size_t room = 0, used = 0;

	areas->v = NULL;
	areas->n = 0;
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	CKPT_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return ckpt_fail(err, -errno, "process %d: cannot open its memory map", pid);
	for (;;) {
		ssize_t n = read(fd, text + used, sizeof(text) - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ckpt_fail(err, -errno, "process %d: cannot read its memory map",
					 pid);
		if (!n)
			return 0;
		used = take_lines(arena, areas, &room, text, used + n);
		if (used == sizeof(text))
			return ckpt_fail(err, -EBADMSG,
					 "process %d: cannot understand its memory map", pid);
	}
}

const struct ckpt_vm_area *ckpt_vm_area_at(const struct ckpt_vm_areas *areas, uint64_t addr)
{
	size_t lo = 0, hi = areas->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (areas->v[mid].end <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < areas->n && areas->v[lo].start <= addr ? &areas->v[lo] : NULL;
}

bool ckpt_vm_area_is_plain(const struct ckpt_vm_area *a)
{
	return !a->shared && (a->prot & (PROT_READ | PROT_WRITE)) == (PROT_READ | PROT_WRITE) &&
	       (a->what == CKPT_AREA_ANON || a->what == CKPT_AREA_STACK);
}

bool ckpt_vm_area_is_stack(const struct ckpt_vm_areas *areas, const struct ckpt_vm_area *a)
{
	const struct ckpt_vm_area *below = a - 1;

	if (!ckpt_vm_area_is_plain(a))
		return false;
	if (a->what == CKPT_AREA_STACK)
		return true;
	return a > areas->v && below->end == a->start && !below->prot &&
	       a->end - a->start <= STACK_MAX;
}
