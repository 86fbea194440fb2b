/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The areas of an address space for the oracle. Neighbours that differ in nothing are one: whether
 * the kernel merges them depends on history.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/fidelity/oracle.h"
#include "tests/lib/proc.h"

/* "sd" and "ac": dirty since a counter was cleared, and charged against the commit limit, which an
 * area may have got or kept through protections that it had once; "gu": there may be guard regions
 * in it, or have been. None of them changes what a program can do. */
static void set_flags(struct oracle_area *a, char *text)
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

static bool parse(struct oracle_area *a, const char *line)
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
static bool has_offset(const struct oracle_area *a)
{
	return a->name[0] == '/' && !(a->perms[3] == 'p' && !strncmp(a->name, "/anon_huge", 10));
}

static bool joins(const struct oracle_area *a, const struct oracle_area *b)
{
	bool file = has_offset(a);

	return a->end == b->start && !strcmp(a->perms, b->perms) && !strcmp(a->name, b->name) &&
	       !strcmp(a->flags, b->flags) &&
	       (!file || a->offset + (a->end - a->start) == b->offset);
}

void oracle_each_area(pid_t pid, void (*see)(void *to, const struct oracle_area *a), void *to)
{
	char path[64], *line = NULL;
	struct oracle_area last = { 0 }, now = { 0 };
	size_t room = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	f = fopen(path, "re");
	while (f && getline(&line, &room, f) > 0) {
		if (!strncmp(line, "VmFlags:", 8)) {
			set_flags(&now, line + 8);
			if (last.end && joins(&last, &now)) {
				last.end = now.end;
			} else {
				if (last.end)
					see(to, &last);
				last = now;
			}
		} else if (!strchr(line, ':') || strchr(line, ':') - line > 20) {
			parse(&now, line);
		}
	}
	if (last.end)
		see(to, &last);
	free(line);
	if (f)
		fclose(f);
}

struct adding {
	struct oracle *o;
	pid_t name;
};

static void add_area(void *to, const struct oracle_area *a)
{
	const struct adding *add = to;
	char value[900], name[sizeof(a->name)];

	snprintf(name, sizeof(name), "%s", a->name);
	oracle_plain_link(add->o, name);
	snprintf(value, sizeof(value), "-%lx %s %lx %s, flags%s", a->end, a->perms,
		 has_offset(a) ? a->offset : 0, name, a->flags);
	oracle_add(add->o, value, "%d/map/%lx", add->name, a->start);
}

void oracle_add_maps(struct oracle *o, pid_t pid, pid_t name)
{
	struct adding add = { o, name };

	oracle_each_area(pid, add_area, &add);
}
