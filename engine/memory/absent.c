/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include "engine/base/arch/x86-64.h"
#include "engine/memory/absent.h"

static bool reserve(struct ckpt_absent *a, size_t more)
{
	size_t room = a->room ? a->room : 64;
	struct ckpt_run *run;

	while (room < a->n + more)
		room *= 2;
	if (room == a->room)
		return true;
	run = realloc(a->run, room * sizeof(*run));
	if (!run)
		return false;
	a->run = run;
	a->room = room;
	return true;
}

static struct ckpt_run cut(const struct ckpt_run *run, uint64_t start, uint64_t end)
{
	return (struct ckpt_run){ start, (end - start) / CKPT_PAGE,
				  run->offset + (start - run->at) };
}

bool ckpt_absent_add(struct ckpt_absent *a, struct ckpt_run run)
{
	if (!reserve(a, 1))
		return false;
	a->run[a->n++] = run;
	return true;
}

bool ckpt_absent_drop(struct ckpt_absent *a, uint64_t start, uint64_t end)
{
	size_t from = ckpt_run_behind(a->run, a->n, start), to = from, kept = 0;
	struct ckpt_run keep[2];

	if (start >= end || from == a->n || a->run[from].at >= end)
		return true;
	if (!reserve(a, 1))
		return false;
	while (to < a->n && a->run[to].at < end)
		to++;
	if (a->run[from].at < start)
		keep[kept++] = cut(&a->run[from], a->run[from].at, start);
	if (ckpt_run_end(&a->run[to - 1]) > end)
		keep[kept++] = cut(&a->run[to - 1], end, ckpt_run_end(&a->run[to - 1]));
	memmove(a->run + from + kept, a->run + to, (a->n - to) * sizeof(*a->run));
	memcpy(a->run + from, keep, kept * sizeof(*keep));
	a->n = a->n - (to - from) + kept;
	return true;
}

bool ckpt_absent_move(struct ckpt_absent *a, uint64_t from, uint64_t to, uint64_t len)
{
	struct ckpt_absent moved = { 0 };
	bool ok = true;
	size_t at;

	for (size_t i = ckpt_run_behind(a->run, a->n, from);
	     ok && i < a->n && a->run[i].at < from + len; i++) {
		uint64_t start = a->run[i].at > from ? a->run[i].at : from;
		uint64_t end = ckpt_run_end(&a->run[i]) < from + len ? ckpt_run_end(&a->run[i]) :
								       from + len;
		struct ckpt_run run = cut(&a->run[i], start, end);

		run.at = to + (start - from);
		ok = ckpt_absent_add(&moved, run);
	}
	/* Two cuts need a place each, the moved ones theirs: from here on nothing fails. */
	ok = ok && reserve(a, moved.n + 2);
	if (ok) {
		ckpt_absent_drop(a, from, from + len);
		ckpt_absent_drop(a, to, to + len);
		at = ckpt_run_behind(a->run, a->n, to);
		memmove(a->run + at + moved.n, a->run + at, (a->n - at) * sizeof(*a->run));
		if (moved.n)
			memcpy(a->run + at, moved.run, moved.n * sizeof(*a->run));
		a->n += moved.n;
	}
	ckpt_absent_free(&moved);
	return ok;
}

bool ckpt_absent_copy(struct ckpt_absent *to, const struct ckpt_absent *from)
{
	*to = (struct ckpt_absent){ 0 };
	if (!from->n)
		return true;
	if (!reserve(to, from->n))
		return false;
	memcpy(to->run, from->run, from->n * sizeof(*from->run));
	to->n = from->n;
	return true;
}

bool ckpt_absent_find(const struct ckpt_absent *a, uint64_t at, struct ckpt_run *restp)
{
	size_t i = ckpt_run_behind(a->run, a->n, at);

	if (i == a->n || a->run[i].at > at)
		return false;
	*restp = cut(&a->run[i], at, ckpt_run_end(&a->run[i]));
	return true;
}

void ckpt_absent_free(struct ckpt_absent *a)
{
	free(a->run);
	*a = (struct ckpt_absent){ 0 };
}
