/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The areas of an address space for the oracle. Neighbours that differ in nothing are one: whether
 * the kernel merges them depends on history. Areas that cannot be written are hashed.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/fidelity/oracle.h"
#include "tests/lib/proc.h"

#define HASHED_MOST (8ul << 20)

struct area {
	unsigned long start, end, offset;
	char perms[8], name[512], flags[160];
};

/* "sd" and "ac": dirty since a counter was cleared, and charged against the commit limit, which an
 * area may have got or kept through protections that it had once; "gu": there may be guard regions
 * in it, or have been. None of them changes what a program can do. */
static void set_flags(struct area *a, char *text)
{
	char *save, *word;

	a->flags[0] = 0;
	for (word = strtok_r(text, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
		if (!strcmp(word, "sd") || !strcmp(word, "ac") || !strcmp(word, "gu"))
			continue;
		strncat(a->flags, " ", sizeof(a->flags) - strlen(a->flags) - 1);
		strncat(a->flags, word, sizeof(a->flags) - strlen(a->flags) - 1);
	}
}

static bool parse(struct area *a, const char *line)
{
	int at = 0;

	memset(a, 0, sizeof(*a));
	if (sscanf(line, "%lx-%lx %7s %lx %*s %*s %n", &a->start, &a->end, a->perms, &a->offset,
		   &at) < 4 ||
	    !at)
		return false;
	snprintf(a->name, sizeof(a->name), "%s", line + at);
	a->name[strcspn(a->name, "\n")] = 0;
	return true;
}

/* An offset means something in a file; private huge pages only look as if they were of one. */
static bool has_offset(const struct area *a)
{
	return a->name[0] == '/' && !(a->perms[3] == 'p' && !strncmp(a->name, "/anon_huge", 10));
}

static bool joins(const struct area *a, const struct area *b)
{
	bool file = has_offset(a);

	return a->end == b->start && !strcmp(a->perms, b->perms) && !strcmp(a->name, b->name) &&
	       !strcmp(a->flags, b->flags) &&
	       (!file || a->offset + (a->end - a->start) == b->offset);
}

static unsigned long hash_area(int mem, const struct area *a)
{
	unsigned long h = a->end - a->start, block[512];

	for (unsigned long at = a->start; at < a->end; at += sizeof(block)) {
		if (pread(mem, block, sizeof(block), at) != sizeof(block))
			return 0;
		for (size_t i = 0; i < ARRAY_SIZE(block); i++)
			h = (h ^ block[i]) * 1099511628211ul + (h >> 47);
	}
	return h;
}

static void add_area(struct oracle *o, int mem, pid_t name, const struct area *a)
{
	char value[900];
	unsigned long h = 0;
	bool kernels = !strncmp(a->name, "[v", 2);

	if (!a->start)
		return;
	if (mem >= 0 && a->perms[1] != 'w' && a->end - a->start <= HASHED_MOST && !kernels)
		h = hash_area(mem, a);
	snprintf(value, sizeof(value), "-%lx %s %lx %s, flags%s, hash %lx", a->end, a->perms,
		 has_offset(a) ? a->offset : 0, a->name, a->flags, h);
	oracle_add(o, value, "%d/map/%lx", name, a->start);
}

void oracle_add_maps(struct oracle *o, pid_t pid, pid_t name)
{
	char path[64], *line = NULL;
	struct area last = { 0 }, now = { 0 };
	size_t room = 0;
	FILE *f;
	int mem;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	f = fopen(path, "re");
	while (f && getline(&line, &room, f) > 0) {
		if (!strncmp(line, "VmFlags:", 8)) {
			set_flags(&now, line + 8);
			if (last.start && joins(&last, &now)) {
				last.end = now.end;
			} else {
				add_area(o, mem, name, &last);
				last = now;
			}
		} else if (!strchr(line, ':') || strchr(line, ':') - line > 20) {
			parse(&now, line);
		}
	}
	add_area(o, mem, name, &last);
	free(line);
	if (f)
		fclose(f);
	if (mem >= 0)
		close(mem);
}
