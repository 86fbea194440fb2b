/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages that a child still shares with its parent since fork(2). The page map says which pages have
 * one user only; of the others the privileged see the frame number, everybody else compares the
 * bytes.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/memory/pages-work.h"

#define WINDOW 256 /* pages: 1 MiB */
#define PM_PFN ((1ull << 55) - 1)
#define PM_EXCLUSIVE (1ull << 56)
#define PM_PRESENT (1ull << 63)

struct share {
	struct ckpt_memory_work *w;
	int child_map, parent_map;
	int mem[2]; /* of the child, of the parent */
	const struct ckpt_pages *of_parent;
	size_t at; /* in them: the first run that ends behind what was seen so far */
	struct ckpt_run_list list;
	char *buf[2]; /* WINDOW pages each; NULL until bytes have to be compared */
};

/* The parent's area that was copied, if it still is the same. */
static bool has_twin(const Ckpt__Mm *parent, const Ckpt__Area *a)
{
	size_t low = 0, high = parent->n_areas;

	while (low < high) {
		size_t mid = (low + high) / 2;
		const Ckpt__Area *b = parent->areas[mid];

		if (b->start == a->start)
			return b->end == a->end && !b->shared && b->file == a->file &&
			       b->offset == a->offset;
		if (b->start < a->start)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

static int read_words(int fd, uint64_t address, uint64_t n, uint64_t *word, struct ckpt_err *err)
{
	if (pread(fd, word, n * 8, address / CKPT_PAGE * 8) != (ssize_t)(n * 8))
		return ckpt_fail(err, -errno, "pagemap: cannot read");
	return 0;
}

/* Compares the bytes of N pages that may be one. */
static int compare_bytes(struct share *s, uint64_t address, uint64_t n, bool *same,
			 struct ckpt_err *err)
{
	for (int i = 0; i < 2; i++) {
		ssize_t got;

		if (!s->buf[i])
			s->buf[i] = ckpt_alloc(s->w->arena, WINDOW * CKPT_PAGE);
		got = pread(s->mem[i], s->buf[i], n * CKPT_PAGE, address);
		if (got != (ssize_t)(n * CKPT_PAGE))
			return ckpt_fail(err, got < 0 ? -errno : -EFAULT,
					 "memory at %llx: cannot read",
					 (unsigned long long)address);
	}
	for (uint64_t i = 0; i < n; i++)
		same[i] = !memcmp(s->buf[0] + i * CKPT_PAGE, s->buf[1] + i * CKPT_PAGE, CKPT_PAGE);
	return 0;
}

/* Fills SAME for N pages that both have. */
static int find_same(struct share *s, uint64_t address, uint64_t n, bool *same,
		     struct ckpt_err *err)
{
	uint64_t child[WINDOW], parent[WINDOW], i = 0, from;
	bool to_read[WINDOW];
	int r = read_words(s->child_map, address, n, child, err);

	if (r >= 0)
		r = read_words(s->parent_map, address, n, parent, err);
	if (r < 0)
		return r;
	for (i = 0; i < n; i++) {
		bool maybe = child[i] & parent[i] & PM_PRESENT &&
			     !((child[i] | parent[i]) & PM_EXCLUSIVE);

		same[i] = maybe && child[i] & PM_PFN && !((child[i] ^ parent[i]) & PM_PFN);
		to_read[i] = maybe && !(child[i] & PM_PFN);
	}
	for (i = 0; r >= 0 && i < n; i++) {
		for (from = i; i < n && to_read[i]; i++)
			;
		if (i > from)
			r = compare_bytes(s, address + from * CKPT_PAGE, i - from, same + from,
					  err);
	}
	return r;
}

/* N pages of the child that are in a run of the parent, whose page AT ADDRESS is stored at OFFSET.
 */
static int add_common(struct share *s, uint64_t address, uint64_t n, uint64_t offset,
		      uint64_t barrier, struct ckpt_err *err)
{
	while (n) {
		uint64_t now = n < WINDOW ? n : WINDOW;
		bool same[WINDOW];
		int r = find_same(s, address, now, same, err);

		if (r < 0)
			return r;
		for (uint64_t i = 0; i < now; i++)
			ckpt_run_add(&s->list, address + i * CKPT_PAGE, 1,
				     same[i] ? offset + i * CKPT_PAGE : CKPT_UNASSIGNED, barrier);
		address += now * CKPT_PAGE;
		offset += now * CKPT_PAGE;
		n -= now;
	}
	return 0;
}

/* A run of the child, in pieces: what the parent has too, and what not. */
static int add_run(struct share *s, uint64_t at, uint64_t end, uint64_t barrier,
		   struct ckpt_err *err)
{
	const struct ckpt_pages *p = s->of_parent;

	while (at < end) {
		const struct ckpt_run *run;
		uint64_t to = end;
		int r;

		while (s->at < p->n && p->run[s->at].at + p->run[s->at].n_pages * CKPT_PAGE <= at)
			s->at++;
		run = s->at < p->n && p->run[s->at].at < end ? &p->run[s->at] : NULL;
		if (!run || run->at > at) {
			to = run ? run->at : end;
			ckpt_run_add(&s->list, at, (to - at) / CKPT_PAGE, CKPT_UNASSIGNED, barrier);
		} else {
			if (run->at + run->n_pages * CKPT_PAGE < to)
				to = run->at + run->n_pages * CKPT_PAGE;
			r = add_common(s, at, (to - at) / CKPT_PAGE, run->offset + (at - run->at),
				       barrier, err);
			if (r < 0)
				return r;
		}
		at = to;
	}
	return 0;
}

static int add_all(struct share *s, const struct ckpt_memory_task *add,
		   const struct ckpt_pages *found, struct ckpt_err *err)
{
	const Ckpt__Mm *mm = add->task->mm;
	size_t area = 0;

	for (size_t i = 0; i < found->n; i++) {
		const struct ckpt_run *run = &found->run[i];
		const Ckpt__Area *a;
		int r;

		while (mm->areas[area]->end <= run->at)
			area++;
		a = mm->areas[area];
		if (!ckpt_span_has(add->shared, add->n_shared, a->start) ||
		    !has_twin(add->parent->mm, a)) {
			ckpt_run_add(&s->list, run->at, run->n_pages, CKPT_UNASSIGNED, a->start);
			continue;
		}
		r = add_run(s, run->at, run->at + run->n_pages * CKPT_PAGE, a->start, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int ckpt_pages_share(struct ckpt_memory_work *w, const struct ckpt_memory_task *add,
		     const struct ckpt_pages *found, int mem, struct ckpt_err *err)
{
	struct share s = { .w = w,
			   .child_map = add->pagemap_fd,
			   .of_parent = &add->parent->pages,
			   .list = { .arena = w->arena } };
	int r;

	CKPT_FD parent_map = w->src->ops->open_proc(w->src, add->parent->pid, "pagemap", err);
	if (parent_map < 0)
		return parent_map;
	CKPT_FD parent_mem = w->src->ops->open_proc(w->src, add->parent->pid, "mem", err);
	if (parent_mem < 0)
		return parent_mem;
	s.parent_map = parent_map;
	s.mem[0] = mem;
	s.mem[1] = parent_mem;
	r = add_all(&s, add, found, err);
	if (r < 0)
		return r;
	add->task->pages = (struct ckpt_pages){ s.list.v, s.list.n };
	return 0;
}
