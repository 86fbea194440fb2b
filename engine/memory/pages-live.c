/* SPDX-License-Identifier: Apache-2.0 */
/* What need not be copied again: three lists that are sorted, walked together. */
#include "engine/memory/pages-work.h"

struct ckpt_pages ckpt_pages_below(const struct ckpt_pages *pages, struct ckpt_arena *arena,
				   uint64_t base)
{
	struct ckpt_run_list list = { .arena = arena };

	for (size_t i = 0; i < pages->n; i++)
		if (pages->run[i].offset < base)
			ckpt_run_add(&list, pages->run[i].at, pages->run[i].n_pages,
				     pages->run[i].offset, 0);
	return (struct ckpt_pages){ list.v, list.n };
}

/* The run of PAGES, from the *ITH on, that holds AT or is the next one behind it. */
static const struct ckpt_run *seek(const struct ckpt_pages *pages, size_t *i, uint64_t at)
{
	while (*i < pages->n && pages->run[*i].at + pages->run[*i].n_pages * CKPT_PAGE <= at)
		++*i;
	return *i < pages->n ? &pages->run[*i] : NULL;
}

/* How far it is the same as at AT: all in the run, or all outside of it. */
static uint64_t until(const struct ckpt_run *run, uint64_t at, uint64_t end)
{
	uint64_t edge = !run ? end : run->at > at ? run->at : run->at + run->n_pages * CKPT_PAGE;

	return edge < end ? edge : end;
}

static bool holds(const struct ckpt_run *run, uint64_t at)
{
	return run && run->at <= at;
}

void ckpt_pages_keep(struct ckpt_pages *found, struct ckpt_arena *arena,
		     const struct ckpt_pages *unchanged, const struct ckpt_pages *before)
{
	struct ckpt_run_list list = { .arena = arena };
	size_t u = 0, b = 0;

	for (size_t i = 0; i < found->n; i++) {
		const struct ckpt_run *run = &found->run[i];
		uint64_t at = run->at, end = at + run->n_pages * CKPT_PAGE;

		while (at < end) {
			const struct ckpt_run *same = seek(unchanged, &u, at),
					      *old = seek(before, &b, at);
			uint64_t stop = until(same, at, until(old, at, end)), offset = run->offset;

			if (offset != CKPT_UNASSIGNED)
				offset += at - run->at;
			else if (holds(same, at) && holds(old, at))
				offset = old->offset + (at - old->at);
			/* Runs end where they did before: at the end of an area. */
			ckpt_run_add(&list, at, (stop - at) / CKPT_PAGE, offset, run->at);
			at = stop;
		}
	}
	*found = (struct ckpt_pages){ list.v, list.n };
}
