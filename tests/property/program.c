/* SPDX-License-Identifier: Apache-2.0 */
/* Makes, prints, reads and runs random programs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tests/lib/proc.h"
#include "tests/property/program.h"

static unsigned long next(unsigned long *state)
{
	*state += 0x9e3779b97f4a7c15ul;
	unsigned long z = *state;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ul;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebul;
	return z ^ (z >> 31);
}

/* NULL: no more. */
static const struct operation *nth(size_t i)
{
	if (i < file_operations.n)
		return &file_operations.v[i];
	i -= file_operations.n;
	if (i < task_operations.n)
		return &task_operations.v[i];
	i -= task_operations.n;
	return i < more_operations.n ? &more_operations.v[i] : NULL;
}

static const struct operation *choose(unsigned long *state)
{
	int all = 0, at;

	for (size_t i = 0; nth(i); i++)
		all += nth(i)->weight;
	at = next(state) % all;
	for (size_t i = 0;; i++) {
		at -= nth(i)->weight;
		if (at < 0)
			return nth(i);
	}
}

void program_make(struct program *p, unsigned long seed)
{
	unsigned long state = seed;
	size_t before = 8 + next(&state) % 24, behind = 8 + next(&state) % 16;

	p->n = 0;
	for (size_t i = 0; i < before + behind; i++) {
		struct program_line *line = &p->v[p->n++];

		if (i == before) {
			*line = (struct program_line){ 0 };
			line = &p->v[p->n++];
		}
		line->op = choose(&state);
		line->process = next(&state) % 2 ? 0 : next(&state) % PROGRAM_PROCESSES;
		for (int k = 0; k < 3; k++)
			line->arg[k] = line->op->most[k] ? next(&state) % line->op->most[k] : 0;
	}
}

static void print_line(const struct program_line *line, char *text, size_t size)
{
	int at = snprintf(text, size, "%d %s", line->process, line->op->name);

	for (int k = 0; k < 3 && line->op->most[k]; k++)
		at += snprintf(text + at, size - at, " %d", line->arg[k]);
}

void program_print(const struct program *p, FILE *f)
{
	char text[100];

	for (size_t i = 0; i < p->n; i++) {
		if (!p->v[i].op) {
			fprintf(f, "---\n");
			continue;
		}
		print_line(&p->v[i], text, sizeof(text));
		fprintf(f, "%s\n", text);
	}
}

static bool read_line(struct program_line *line, const char *text)
{
	char name[40];

	*line = (struct program_line){ 0 };
	if (!strncmp(text, "---", 3))
		return true;
	if (sscanf(text, "%d %39s %d %d %d", &line->process, name, &line->arg[0], &line->arg[1],
		   &line->arg[2]) < 2)
		return false;
	for (size_t i = 0; nth(i); i++)
		if (!strcmp(nth(i)->name, name))
			line->op = nth(i);
	return line->op;
}

bool program_read(struct program *p, const char *path)
{
	char text[200];
	FILE *f = fopen(path, "re");
	bool ok = f;

	p->n = 0;
	while (ok && p->n < PROGRAM_MOST && fgets(text, sizeof(text), f))
		if (text[0] != '#' && text[0] != '\n')
			ok = read_line(&p->v[p->n++], text);
	if (f)
		fclose(f);
	return ok;
}

void program_run(const struct program *p, int process, bool behind, char *log, size_t log_room)
{
	bool here = !behind;

	for (size_t i = 0; i < p->n; i++) {
		const struct program_line *line = &p->v[i];
		size_t used = strlen(log);
		char text[100];
		long r;

		if (!line->op) {
			here = behind;
			continue;
		}
		if (!here || line->process != process)
			continue;
		errno = 0;
		r = line->op->run(line->arg);
		print_line(line, text, sizeof(text));
		snprintf(log + used, log_room - used, "%s: %ld%s%s\n", text, r, r < 0 ? " " : "",
			 r < 0 ? strerrorname_np(errno) : "");
	}
}
