/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory policies of areas (mbind(2)), as numa_maps shows them. To print it the kernel walks all
 * pages, so a machine with one memory node, where no policy means anything, is not asked; and it is
 * read by the helper.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/capture/numa.h"
#include "engine/capture/state.h"

#define NODES_MAX 1024 /* the most that x86-64 can have */
#ifndef MPOL_WEIGHTED_INTERLEAVE
#define MPOL_WEIGHTED_INTERLEAVE 6 /* Linux 6.9 */
#endif

struct ckpt_numa_job {
	struct ckpt_job job;
	int fd;
	char *text;
	int code;
	struct ckpt_err err;
};

/* ---- the text ---- */

static const char *skip_word(const char *s, const char *word)
{
	size_t n = strlen(word);

	return strncmp(s, word, n) ? NULL : s + n;
}

static const char *parse_mode(const char *s, uint32_t *modep)
{
	static const struct {
		const char *name;
		uint32_t mode;
	} modes[] = {
		{ "default", MPOL_DEFAULT },
		{ "prefer (many)", MPOL_PREFERRED_MANY },
		{ "prefer", MPOL_PREFERRED },
		{ "bind", MPOL_BIND },
		{ "interleave", MPOL_INTERLEAVE },
		{ "weighted interleave", MPOL_WEIGHTED_INTERLEAVE },
		{ "local", MPOL_LOCAL },
	};

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		const char *end = skip_word(s, modes[i].name);

		*modep = modes[i].mode;
		if (end)
			return end;
	}
	return NULL;
}

/* "=static|balancing". The nodes that are shown are those of the machine: they are no longer
 * relative to anything. */
static const char *parse_flags(const char *s, uint32_t *modep)
{
	const char *end = s;

	if (*s != '=')
		return s;
	do {
		s = end + 1;
		end = skip_word(s, "static");
		if (end)
			*modep |= MPOL_F_STATIC_NODES;
		else if (!(end = skip_word(s, "relative")) && (end = skip_word(s, "balancing")))
			*modep |= MPOL_F_NUMA_BALANCING;
	} while (end && *end == '|');
	return end;
}

/* ":0-1,4" */
static const char *parse_nodes(const char *s, uint8_t *nodes)
{
	if (*s != ':')
		return s;
	do {
		uint64_t from, to;

		s++;
		if (!ckpt_parse_u64(&s, 10, &from))
			return NULL;
		to = from;
		if (*s == '-' && (s++, !ckpt_parse_u64(&s, 10, &to)))
			return NULL;
		if (to >= NODES_MAX)
			return NULL;
		for (uint64_t i = from; i <= to; i++)
			nodes[i / 8] |= 1u << i % 8;
	} while (*s == ',');
	return s;
}

bool ckpt_numa_parse(const char *s, struct ckpt_policy *p)
{
	memset(p, 0, sizeof(*p));
	s = parse_mode(s, &p->mode);
	if (s)
		s = parse_flags(s, &p->mode);
	if (s)
		s = parse_nodes(s, p->nodes);
	return s && (*s == ' ' || *s == '\n' || !*s);
}

/* ---- areas ---- */

/* The line of the area at START, behind the address. FROM goes on from line to line. */
static const char *line_of(const char **from, uint64_t start)
{
	for (const char *s = *from; s && *s; s = *from) {
		const char *p = s;
		uint64_t addr;

		if (!ckpt_parse_u64(&p, 16, &addr) || addr > start)
			return NULL;
		*from = strchr(s, '\n');
		*from += *from != NULL;
		if (addr == start && *p == ' ')
			return p + 1;
	}
	return NULL;
}

static bool same_policy(const struct ckpt_policy *a, const struct ckpt_policy *b)
{
	return a->mode == b->mode && !memcmp(a->nodes, b->nodes, sizeof(a->nodes));
}

/* An area that has none shows the thread's, as the vDSO does, to which nobody gives one. */
static bool policy_of_thread(const char *text, const Ckpt__Mm *mm, struct ckpt_policy *p)
{
	for (size_t i = 0; i < mm->n_areas; i++) {
		const char *from = text, *line;

		if (!(mm->areas[i]->flags & CKPT__AREA__FLAG__VDSO))
			continue;
		line = line_of(&from, mm->areas[i]->start);
		if (line && ckpt_numa_parse(line, p))
			return true;
	}
	memset(p, 0, sizeof(*p));
	return false;
}

static void keep(struct ckpt_capture *c, Ckpt__Area *area, const struct ckpt_policy *p)
{
	size_t len = sizeof(p->nodes);

	while (len && !p->nodes[len - 1])
		len--;
	area->has_mempolicy = area->has_nodes = true;
	area->mempolicy = p->mode;
	area->nodes.len = len;
	area->nodes.data = memcpy(ckpt_alloc(c->arena, len + 1), p->nodes, len);
}

static void fill(struct ckpt_capture *c, const struct ckpt_capture_task *t, const char *text)
{
	const Ckpt__Mm *mm = t->task->mm;
	struct ckpt_policy thread, p;
	const char *from = text;

	policy_of_thread(text, mm, &thread);
	for (size_t i = 0; i < mm->n_areas; i++) {
		Ckpt__Area *area = mm->areas[i];
		const char *line = line_of(&from, area->start);

		if (!line || area->flags & CKPT__AREA__FLAG__VDSO)
			continue;
		if (!ckpt_numa_parse(line, &p))
			ckpt_capture_lost(c,
					  "%s: area %llx-%llx: its memory policy \"%.*s\" is not "
					  "known",
					  t->who, (unsigned long long)area->start,
					  (unsigned long long)area->end, (int)strcspn(line, " \n"),
					  line);
		else if ((p.mode & 0xff) != MPOL_DEFAULT && !same_policy(&p, &thread))
			keep(c, area, &p);
	}
}

/* ---- when ---- */

/* "0", or "0-1,3" */
bool ckpt_numa_many_nodes(struct ckpt_capture *c)
{
	char text[64] = "";

	if (c->nodes)
		return c->nodes > 1;
	CKPT_FD fd = open("/sys/devices/system/node/online", O_RDONLY | O_CLOEXEC);
	c->nodes = fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && strpbrk(text, "-,") ? 2 : 1;
	return c->nodes > 1;
}

static void run(struct ckpt_job *base, struct ckpt_arena *arena)
{
	struct ckpt_numa_job *job = (struct ckpt_numa_job *)base;

	job->code = ckpt_read_all(arena, job->fd, &job->text, NULL, &job->err);
}

void ckpt_numa_start(struct ckpt_capture *c, struct ckpt_capture_task *t)
{
	struct ckpt_numa_job *job;

	if (!ckpt_numa_many_nodes(c))
		return;
	job = t->numa = ckpt_new(c->arena, struct ckpt_numa_job);
	job->job.run = run;
	job->fd = job->code =
		c->src->ops->open_proc(c->src, t->frozen->pid, "numa_maps", &job->err);
	if (job->fd >= 0)
		ckpt_helper_start(c->helper, &job->job);
}

int ckpt_numa_take(struct ckpt_capture *c, struct ckpt_capture_task *t, struct ckpt_err *err)
{
	struct ckpt_numa_job *job = t->numa;

	if (!job)
		return 0;
	if (job->fd >= 0)
		ckpt_helper_wait(c->helper, &job->job);
	ckpt_numa_end(t);
	if (job->code == -ENOENT) /* a kernel without */
		return 0;
	if (job->code < 0) {
		*err = job->err;
		return ckpt_in(err, job->code, "numa_maps");
	}
	fill(c, t, job->text);
	return 0;
}

void ckpt_numa_end(struct ckpt_capture_task *t)
{
	if (t->numa)
		ckpt_close_fd(&t->numa->fd);
}
