/* SPDX-License-Identifier: Apache-2.0 */
/* The rounds, and where each page has its place. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/progress.h"
#include "engine/memory/live-work.h"
#include "engine/store/image.h"

struct ckpt_live *ckpt_live_open(struct ckpt_arena *arena, const struct ckpt_live_opts *opts)
{
	struct ckpt_live *live = ckpt_new(arena, struct ckpt_live);

	live->arena = arena;
	live->opts = *opts;
	live->size = opts->base;
	return live;
}

void ckpt_live_close(struct ckpt_live *live)
{
	for (size_t i = 0; live && i < live->n; i++) {
		struct ckpt_live_task *t = &live->task[i];

		/* Who held what went on ends it. */
		if (live->held || t->went_on)
			ckpt_track_close(&t->track);
		else
			ckpt_track_end(&t->track);
	}
}

void ckpt_live_hold(struct ckpt_live *live)
{
	live->held = true;
}

int ckpt_live_add(struct ckpt_live *live, struct ckpt_source *src, pid_t pid, struct ckpt_err *err)
{
	struct ckpt_live_task task = { 0 };
	const char *why = NULL;
	int r = ckpt_track_open(&task.track, src, pid, &why, err);

	if (r > 0)
		ckpt_logf(live->opts.log, 1,
			  "process %d: its memory is copied while it stands still: %s", pid, why);
	if (r > 0 && !live->untracked) {
		live->untracked = why;
		live->untracked_pid = pid;
	}
	if (r)
		return r < 0 ? r : 0;
	live->task =
		ckpt_grow(live->arena, live->task, live->n, &live->room, 16, sizeof(*live->task));
	live->task[live->n++] = task;
	return 0;
}

const char *ckpt_live_untracked(const struct ckpt_live *live, pid_t *pidp)
{
	*pidp = live->untracked_pid;
	return live->untracked;
}

static struct ckpt_live_task *find(const struct ckpt_live *live, pid_t pid)
{
	for (size_t i = 0; live && i < live->n; i++)
		if (live->task[i].track.pid == pid)
			return &live->task[i];
	return NULL;
}

const struct ckpt_track *ckpt_live_track(const struct ckpt_live *live, pid_t pid)
{
	const struct ckpt_live_task *t = find(live, pid);

	return t ? &t->track : NULL;
}

struct ckpt_pages ckpt_live_pages(const struct ckpt_live *live, pid_t pid)
{
	const struct ckpt_live_task *t = find(live, pid);

	return t ? t->pages : (struct ckpt_pages){ NULL, 0 };
}

uint64_t ckpt_live_size(const struct ckpt_live *live)
{
	return live ? (live->size + CKPT_CHUNK - 1) / CKPT_CHUNK * CKPT_CHUNK : 0;
}

uint64_t ckpt_live_base(const struct ckpt_live *live)
{
	return live ? live->opts.base : 0;
}

uint64_t ckpt_live_own(const struct ckpt_live *live)
{
	return ckpt_live_size(live) - ckpt_live_base(live);
}

const struct ckpt_track *ckpt_live_nth(const struct ckpt_live *live, size_t n)
{
	return n < live->n ? &live->task[n].track : NULL;
}

/* ---- a place for every page ---- */

static void add_item(struct ckpt_live *live, struct ckpt_live_task *t, uint64_t at, uint64_t n,
		     uint64_t offset)
{
	live->item = ckpt_grow(live->arena, live->item, live->n_items, &live->items_room, 256,
			       sizeof(*live->item));
	live->item[live->n_items++] =
		(struct ckpt_live_item){ t, at, n * CKPT_PAGE, offset - live->opts.base };
}

/* N pages that have no place here get the next one. */
static void place_new(struct ckpt_live *live, struct ckpt_live_task *t, struct ckpt_run_list *all,
		      uint64_t at, uint64_t n)
{
	add_item(live, t, at, n, live->size);
	ckpt_run_add(all, at, n, live->size, 0);
	live->size += n * CKPT_PAGE;
}

/* What is left of RUN from AT on. */
static void cut_before(struct ckpt_run *run, uint64_t at)
{
	uint64_t gone = at - run->at;

	run->at = at;
	run->offset += gone;
	run->n_pages -= gone / CKPT_PAGE;
}

static void add_old(struct ckpt_run_list *all, const struct ckpt_run *old)
{
	ckpt_run_add(all, old->at, old->n_pages, old->offset, 0);
}

/* What was written: pages that have a place in this image keep it, others get the next one. Both
 * lists are sorted, and so is what becomes of them. */
static void place(struct ckpt_live *live, struct ckpt_live_task *t,
		  const struct ckpt_pages *written)
{
	struct ckpt_run_list all = { .arena = live->arena };
	size_t k = 0;

	for (size_t i = 0; i < written->n; i++) {
		uint64_t at = written->run[i].at, end = at + written->run[i].n_pages * CKPT_PAGE;

		while (at < end) {
			struct ckpt_run *old = k < t->pages.n ? &t->pages.run[k] : NULL;
			uint64_t old_end = old ? old->at + old->n_pages * CKPT_PAGE : 0, stop = end;

			if (old && old_end <= at) {
				add_old(&all, old);
				k++;
				continue;
			}
			if (!old || old->at > at) {
				stop = old && old->at < stop ? old->at : stop;
				place_new(live, t, &all, at, (stop - at) / CKPT_PAGE);
				at = stop;
				continue;
			}
			stop = stop < old_end ? stop : old_end;
			if (old->at < at) {
				const struct ckpt_run first = { old->at, (at - old->at) / CKPT_PAGE,
								old->offset };

				add_old(&all, &first);
				cut_before(old, at);
			}
			if (old->offset < live->opts.base) {
				place_new(live, t, &all, at, (stop - at) / CKPT_PAGE);
			} else {
				add_item(live, t, at, (stop - at) / CKPT_PAGE, old->offset);
				ckpt_run_add(&all, at, (stop - at) / CKPT_PAGE, old->offset, 0);
			}
			cut_before(old, stop);
			k += !old->n_pages;
			at = stop;
		}
	}
	for (; k < t->pages.n; k++)
		add_old(&all, &t->pages.run[k]);
	t->pages = (struct ckpt_pages){ all.v, all.n };
}

/* Pages that could not be read, for they were given back meanwhile, have no place. They are few. */
static void forget(struct ckpt_live_task *t, struct ckpt_arena *arena, const struct ckpt_span *lost)
{
	struct ckpt_run_list rest = { .arena = arena };

	for (size_t i = 0; i < t->pages.n; i++) {
		const struct ckpt_run *run = &t->pages.run[i];
		uint64_t end = run->at + run->n_pages * CKPT_PAGE,
			 before = lost->start < end ? lost->start : end,
			 after = lost->end > run->at ? lost->end : run->at;

		if (run->at < before)
			ckpt_run_add(&rest, run->at, (before - run->at) / CKPT_PAGE, run->offset,
				     0);
		if (after < end)
			ckpt_run_add(&rest, after > run->at ? after : run->at,
				     (end - after) / CKPT_PAGE, run->offset + (after - run->at), 0);
	}
	t->pages = (struct ckpt_pages){ rest.v, rest.n };
}

/* 0 as well of one that has ended. */
static int ended_is_fine(int r, struct ckpt_err *err)
{
	if (r == -ESRCH)
		*err = (struct ckpt_err)CKPT_ERR_INIT;
	return r == -ESRCH ? 0 : r;
}

int ckpt_live_areas(struct ckpt_live *live, struct ckpt_err *err)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < live->n; i++)
		r = ended_is_fine(ckpt_track_areas(&live->task[i].track, live->arena, err), err);
	live->areas_known = true;
	return r;
}

static int find_written(struct ckpt_live *live, struct ckpt_live_task *t, bool look,
			struct ckpt_pages *pages, struct ckpt_err *err)
{
	struct ckpt_run_list written = { .arena = live->arena };
	int r = live->areas_known ? 0 : ckpt_track_areas(&t->track, live->arena, err);

	if (r >= 0)
		r = ckpt_track_take(&t->track, look, &written, err);
	*pages = (struct ckpt_pages){ written.v, written.n };
	return ended_is_fine(r, err);
}

void ckpt_live_forget(struct ckpt_live *live)
{
	live->size = live->opts.base;
	for (size_t i = 0; i < live->n; i++)
		live->task[i].pages = (struct ckpt_pages){ NULL, 0 };
}

int ckpt_live_written(struct ckpt_live *live, uint64_t *bytesp, struct ckpt_err *err)
{
	struct ckpt_pages pages;
	int r = 0;

	*bytesp = 0;
	for (size_t i = 0; r >= 0 && i < live->n; i++) {
		r = find_written(live, &live->task[i], true, &pages, err);
		for (size_t k = 0; r >= 0 && k < pages.n; k++)
			*bytesp += pages.run[k].n_pages * CKPT_PAGE;
	}
	return r;
}

static int by_offset(const void *a, const void *b)
{
	const struct ckpt_live_item *x = a, *y = b;

	return (x->offset > y->offset) - (x->offset < y->offset);
}

int ckpt_live_find(struct ckpt_live *live, uint64_t *bytesp, struct ckpt_err *err)
{
	int r = 0;

	live->n_items = live->n_cursors = 0;
	for (size_t i = 0; r >= 0 && i < live->n; i++) {
		struct ckpt_pages written;

		r = find_written(live, &live->task[i], false, &written, err);
		if (r >= 0)
			place(live, &live->task[i], &written);
	}
	live->areas_known = false;
	*bytesp = 0;
	for (size_t i = 0; i < live->n_items; i++)
		*bytesp += live->item[i].len;
	if (live->n_items)
		qsort(live->item, live->n_items, sizeof(*live->item), by_offset);
	ckpt_progress_begin(ckpt_arena_progress(live->arena), NULL, *bytesp);
	return r;
}

int ckpt_live_copy(struct ckpt_live *live, uint64_t bytes, struct ckpt_err *err)
{
	int r = ckpt_live_copy_items(live, bytes, err);

	for (size_t i = 0; i < live->n_lost; i++)
		forget(live->lost[i].task, live->arena, &live->lost[i].span);
	live->n_lost = 0;
	return r;
}
