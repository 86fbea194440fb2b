/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private pages that a task still shares with its children: mapped and read before the fork, so
 * that they are shared again. A child that inherits them puts its own differences on top before it
 * forks in turn.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>
#include "injector/job.h"

ssize_t ckpt_read_pages(const struct ckpt_job *job, void *buf, size_t len, uint64_t offset)
{
	uint64_t end;
	const struct ckpt_pages_part *part =
		ckpt_pages_part_of(job->plan->pages, job->plan->n_pages, offset, &end);

	return pread(part->fd, buf, len < end - offset ? len : end - offset, offset - part->base);
}

int ckpt_read_runs(const struct ckpt_job *job, struct ckpt_pages runs, uint64_t from, uint64_t to,
		   struct ckpt_err *err)
{
	for (size_t i = 0; i < runs.n; i++) {
		const struct ckpt_run *c = &runs.run[i];
		uint64_t len = c->n_pages * CKPT_PAGE;

		for (uint64_t at = 0; at < len;) {
			ssize_t n = ckpt_read_pages(job,
						    (char *)(uintptr_t)(to + (c->at - from) + at),
						    len - at, c->offset + at);

			if (n <= 0)
				return ckpt_fail(err, n ? -errno : -EIO,
						 "pages: cannot read %llu bytes at %llu",
						 (unsigned long long)(len - at),
						 (unsigned long long)(c->offset + at));
			at += n;
		}
	}
	return 0;
}

static int map_stage(struct ckpt_job *job, const Ckpt__Area *a, const struct ckpt_stage *s,
		     struct ckpt_err *err)
{
	int flags = MAP_PRIVATE | MAP_FIXED_NOREPLACE;

	if (!a->file)
		flags |= MAP_ANONYMOUS;
	if (a->flags & CKPT__AREA__FLAG__GROWS_DOWN)
		flags |= MAP_GROWSDOWN;
	if (a->flags & CKPT__AREA__FLAG__NO_RESERVE)
		flags |= MAP_NORESERVE;
	if (mmap((void *)(uintptr_t)s->at, s->len, PROT_READ | PROT_WRITE, flags,
		 a->file ? job->plan->bank[a->file] : -1, a->offset) == MAP_FAILED)
		return ckpt_fail(err, -errno, "area %#llx: cannot map",
				 (unsigned long long)a->start);
	return 0;
}

/* The page of the parent at the same address and the same place of the pages file is already here.
 */
static bool same_page(const struct ckpt_pages *parent, size_t *i, uint64_t at, uint64_t offset)
{
	while (*i < parent->n && parent->run[*i].at + parent->run[*i].n_pages * CKPT_PAGE <= at)
		(*i)++;
	return *i < parent->n && parent->run[*i].at <= at &&
	       at - parent->run[*i].at == offset - parent->run[*i].offset;
}

static int put_differences(struct ckpt_job *job, struct ckpt_pages own, struct ckpt_pages parent,
			   uint64_t start, uint64_t stage, struct ckpt_err *err)
{
	size_t p = 0;

	for (size_t i = 0; i < own.n; i++)
		for (uint64_t k = 0; k < own.run[i].n_pages; k++) {
			struct ckpt_run page = { own.run[i].at + k * CKPT_PAGE, 1,
						 own.run[i].offset + k * CKPT_PAGE };
			struct ckpt_pages one = { &page, 1 };
			int r;

			if (same_page(&parent, &p, page.at, page.offset))
				continue;
			r = ckpt_read_runs(job, one, start, stage, err);
			if (r < 0)
				return r;
		}
	return 0;
}

/* Pages that the parent has and the child has not (any more). */
static int drop_missing(struct ckpt_pages own, struct ckpt_pages parent, uint64_t start,
			uint64_t stage, struct ckpt_err *err)
{
	size_t o = 0;

	for (size_t i = 0; i < parent.n; i++)
		for (uint64_t k = 0; k < parent.run[i].n_pages; k++) {
			uint64_t at = parent.run[i].at + k * CKPT_PAGE;

			while (o < own.n && own.run[o].at + own.run[o].n_pages * CKPT_PAGE <= at)
				o++;
			if (o < own.n && own.run[o].at <= at)
				continue;
			if (madvise((void *)(uintptr_t)(stage + (at - start)), CKPT_PAGE,
				    MADV_DONTNEED) < 0)
				return ckpt_fail(err, -errno, "page %#llx: cannot drop",
						 (unsigned long long)at);
		}
	return 0;
}

int ckpt_stage_task(struct ckpt_job *job, const struct ckpt_task *task, struct ckpt_err *err)
{
	const struct ckpt_layout *l = job->plan->layout;
	const struct ckpt_task *parent = task->parent ? job->plan->snap->tasks[task->parent - 1] :
							NULL;
	int r = ckpt_rings_make(l, task, err);

	for (size_t i = 0; r >= 0 && i < l->n_staged[task->id - 1]; i++) {
		const struct ckpt_staged_area *s = &l->staged[task->id - 1][i];
		const struct ckpt_stage *stage = &l->stages[s->stage];
		const Ckpt__Area *a = task->mm->areas[s->area];
		struct ckpt_pages own = ckpt_pages_between(&task->pages, a->start, a->end);

		if (a->has_ring)
			continue;
		if (s->inherited) {
			struct ckpt_pages theirs =
				ckpt_pages_between(&parent->pages, a->start, a->end);

			r = put_differences(job, own, theirs, a->start, stage->at, err);
			if (r >= 0)
				r = drop_missing(own, theirs, a->start, stage->at, err);
		} else {
			r = map_stage(job, a, stage, err);
			if (r >= 0)
				r = ckpt_read_runs(job, own, a->start, stage->at, err);
		}
	}
	return r;
}
