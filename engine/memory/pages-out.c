/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages that are read out of a copy of their process (a fork of it), so that the process need not
 * stand still until they are written. A copy of huge pages may lose one when the process writes to
 * it and the machine has no other.
 */
#include "engine/base/cleanup.h"
#include "engine/memory/pages-work.h"

static bool is_left_out(const Ckpt__Area *a)
{
	return a->flags & (CKPT__AREA__FLAG__DONT_FORK | CKPT__AREA__FLAG__WIPE_ON_FORK) ||
	       a->huge_shift;
}

bool ckpt_part_has_copy(const struct ckpt_memory_part *p, uint64_t address)
{
	return p->copied && !ckpt_span_has(p->standing, p->n_standing, address);
}

static void list_standing(struct ckpt_memory_part *p, struct ckpt_arena *arena)
{
	struct ckpt_span *span = ckpt_alloc(arena, p->mm->n_areas * sizeof(*span));

	p->n_standing = 0;
	for (size_t i = 0; i < p->mm->n_areas; i++)
		if (is_left_out(p->mm->areas[i]))
			span[p->n_standing++] =
				(struct ckpt_span){ p->mm->areas[i]->start, p->mm->areas[i]->end };
	p->standing = span;
}

void ckpt_memory_take_copy(struct ckpt_memory_work *w, pid_t pid, int fd)
{
	for (size_t i = 0; i < w->n; i++) {
		struct ckpt_memory_part *p = &w->part[i];

		if (p->sort != CKPT_PART_TASK || p->pid != pid)
			continue;
		list_standing(p, w->arena);
		p->copied = true;
		p->copy_fd = fd;
		return;
	}
	ckpt_close_fd(&fd);
}

/* An area never has a part of a run: they are cut at its ends. */
static uint64_t sum(const struct ckpt_memory_part *p,
		    bool (*wanted)(const struct ckpt_memory_part *, uint64_t address))
{
	uint64_t n_pages = 0;

	for (size_t i = 0; i < p->n; i++)
		if (p->run[i].offset >= p->base && wanted(p, p->run[i].at))
			n_pages += p->run[i].n_pages;
	return n_pages * CKPT_PAGE;
}

static bool would_have(const struct ckpt_memory_part *p, uint64_t address)
{
	for (size_t low = 0, high = p->mm->n_areas; low < high;) {
		size_t mid = (low + high) / 2;
		const Ckpt__Area *a = p->mm->areas[mid];

		if (address >= a->start && address < a->end)
			return !is_left_out(a);
		if (address < a->start)
			high = mid;
		else
			low = mid + 1;
	}
	return false;
}

static bool has_none(const struct ckpt_memory_part *p, uint64_t address)
{
	return !ckpt_part_has_copy(p, address);
}

uint64_t ckpt_memory_in_copy(const struct ckpt_memory_work *w, pid_t pid)
{
	uint64_t all = 0;

	for (size_t i = 0; i < w->n; i++) {
		const struct ckpt_memory_part *p = &w->part[i];

		if (!pid)
			all += sum(p, has_none);
		else if (p->sort == CKPT_PART_TASK && p->pid == pid)
			all += sum(p, would_have);
	}
	return all;
}
