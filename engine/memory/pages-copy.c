/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies what was listed into the pages files, chunk by chunk: read, checksum, write. Several
 * threads, because one of them can read while another writes, and each file can be written to by
 * one; they take the chunks of a file in order, from a cursor over the runs.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/pass.h"
#include "engine/base/processors.h"
#include "engine/base/progress.h"
#include "engine/memory/pages-work.h"
#include "engine/store/cache.h"
#include "engine/store/image.h"
#include "engine/store/pack.h"
#include "engine/store/pages-files.h"

#define MAX_THREADS 4

/* What one chunk is made of. */
struct job {
	size_t chunk, n;
	size_t len;
	bool stands; /* not all of it is in copies */
	bool stored; /* all of it is in the pages file */
	char *held;  /* its bytes, which have been read; NULL: they have not */
	struct ckpt_range range[CKPT_MAX_RANGES];
};

/* What comes next of one pages file. */
struct cursor {
	size_t part, run, chunk;
	uint64_t page; /* pages of that run that are done with */
	size_t end;    /* this chunk is of the next file */
};

struct copy {
	struct ckpt_memory_work *w;
	const struct ckpt_memory_copy *opts;
	bool uncached;
	uint32_t *crc;
	pthread_mutex_t lock; /* of all that follows */
	struct cursor cursor[CKPT_PAGES_FILES];
	size_t n_cursors;
	const struct job *held; /* what comes next, of N_HELD; NULL: nothing is held */
	size_t n_held;
	bool failed;
	struct ckpt_err err; /* the first one */
};

struct worker {
	struct copy *copy;
	char *buf; /* CKPT_CHUNK */
	struct job job;
	struct ckpt_pass pass;
	pthread_t thread;
	size_t first; /* the cursor that it prefers */
};

/* Steps over what is stored by another part and over what is empty; false at the end. */
static bool find_run(const struct copy *c, struct cursor *at)
{
	for (; at->part < c->w->n; at->part++, at->run = 0) {
		const struct ckpt_memory_part *p = &c->w->part[at->part];

		for (; at->run < p->n; at->run++) {
			if (p->run[at->run].offset >= p->base)
				return true;
		}
	}
	return false;
}

/* As much of the run that comes next as is in one place; ROOM pages at most. */
static struct ckpt_range next_range(const struct copy *c, const struct cursor *at, uint64_t room)
{
	const struct ckpt_memory_part *p = &c->w->part[at->part];
	const struct ckpt_run *run = &p->run[at->run];
	uint64_t n = run->n_pages - at->page, cloned = p->cloned ? p->cloned[at->run] : 0;
	struct ckpt_range range = { .part = p,
				    .at = run->at + at->page * CKPT_PAGE,
				    .stored_in = -1 };

	if (at->page < cloned) {
		n = cloned - at->page;
		range.stored = run->offset - c->w->base + at->page * CKPT_PAGE;
		range.stored_in = ckpt_pages_at(c->opts->files, &range.stored);
	}
	range.len = (n < room ? n : room) * CKPT_PAGE;
	return range;
}

static void step(const struct copy *c, struct cursor *at, uint64_t n_pages)
{
	at->page += n_pages;
	if (at->page == c->w->part[at->part].run[at->run].n_pages) {
		at->page = 0;
		at->run++;
	}
}

/* The next chunk, by the holder of the lock. */
static void take(struct copy *c, struct cursor *at, struct job *job)
{
	uint64_t room = CKPT_MAX_RANGES;

	job->n = job->len = 0;
	job->held = NULL;
	job->stands = false;
	job->stored = true;
	while (!c->failed && room && at->chunk < at->end && find_run(c, at)) {
		const struct ckpt_memory_part *p = &c->w->part[at->part];
		const struct ckpt_range range = job->range[job->n++] = next_range(c, at, room);

		job->len += range.len;
		job->stands |= !ckpt_part_has_copy(p, p->run[at->run].at);
		job->stored &= range.stored_in >= 0;
		room -= range.len / CKPT_PAGE;
		step(c, at, range.len / CKPT_PAGE);
	}
	job->chunk = at->chunk++;
}

/* Of the file of the cursor that is preferred, or else of any. */
static void take_any(struct copy *c, size_t first, struct job *job)
{
	job->len = 0;
	for (size_t i = 0; !job->len && i < c->n_cursors; i++)
		take(c, &c->cursor[(first + i) % c->n_cursors], job);
}

/* A cursor for each file, at what is to be copied of it. */
static void make_cursors(struct copy *c, size_t chunk, size_t n_chunks)
{
	const struct ckpt_pages_files *files = c->opts->files;
	size_t n = c->opts->pack ? 1 : files->n;
	struct cursor at = { .chunk = chunk };

	for (size_t i = 0; i < n; i++) {
		at.end = i + 1 < n ? files->part[i + 1].base / CKPT_CHUNK : n_chunks;
		if (at.chunk >= at.end)
			continue;
		c->cursor[c->n_cursors++] = at;
		for (uint64_t left = (at.end - at.chunk) * CKPT_MAX_RANGES;
		     left && find_run(c, &at);) {
			uint64_t rest = c->w->part[at.part].run[at.run].n_pages - at.page;

			rest = rest < left ? rest : left;
			step(c, &at, rest);
			left -= rest;
		}
		at.chunk = at.end;
	}
}

/* The same of those that are held. */
static void take_held(struct copy *c, struct job *job)
{
	job->len = 0;
	if (c->failed || !c->n_held)
		return;
	*job = *c->held++;
	c->n_held--;
}

/* The next one of those that are asked for. False: there is none, or somebody failed. */
static bool claim(struct copy *c, size_t first, struct job *job)
{
	enum ckpt_memory_which which = c->opts->which;

	pthread_mutex_lock(&c->lock);
	do {
		if (c->held)
			take_held(c, job);
		else
			take_any(c, first, job);
	} while (job->len && which != CKPT_MEMORY_ALL &&
		 job->stands != (which == CKPT_MEMORY_STANDING));
	pthread_mutex_unlock(&c->lock);
	return job->len;
}

int ckpt_pages_failed(int code, struct ckpt_err *err)
{
	if (code == -ENOSPC || code == -EDQUOT || code == -EFBIG)
		return ckpt_refuse(err, CKPT_E_NO_SPACE, code, "image: no space for the memory: %s",
				   strerrordesc_np(-code));
	return ckpt_fail(err, code, "image: cannot write the memory");
}

int ckpt_pages_write(const struct ckpt_pages_files *files, const char *buf, size_t len,
		     uint64_t offset, bool uncached, struct ckpt_err *err)
{
	int fd = ckpt_pages_at(files, &offset);
	size_t done = 0;

	while (done < len) {
		ssize_t n = ckpt_cache_pwrite(fd, buf + done, len - done, offset + done, uncached);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ckpt_pages_failed(n ? -errno : -EIO, err);
		done += n;
	}
	return 0;
}

static void fail(struct copy *c, const struct ckpt_err *err)
{
	pthread_mutex_lock(&c->lock);
	if (!c->failed)
		c->err = *err;
	c->failed = true;
	pthread_mutex_unlock(&c->lock);
}

/* While it stands still nobody is let pass. */
static void let_pass(struct worker *w)
{
	if (w->copy->w->src->thawed_at)
		ckpt_pass(&w->pass);
}

/* One chunk; false when there is nothing more to do. */
static bool work_once(struct worker *w)
{
	struct copy *c = w->copy;
	struct ckpt_err err = CKPT_ERR_INIT;
	char *buf;
	int r = 0;

	if (!claim(c, w->first, &w->job))
		return false;
	buf = w->job.held ? w->job.held : w->buf;
	let_pass(w);
	if (!w->job.held)
		r = ckpt_ranges_read(c->w, w->job.range, w->job.n, buf, &err);
	let_pass(w);
	if (r >= 0) {
		uint32_t crc = c->crc[w->job.chunk] = ckpt_crc32c(0, buf, w->job.len);

		if (c->opts->pack)
			r = ckpt_pack_put(c->opts->pack, w->job.chunk, buf, w->job.len, crc, &err);
		else if (!w->job.stored)
			r = ckpt_pages_write(c->opts->files, buf, w->job.len,
					     w->job.chunk * (uint64_t)CKPT_CHUNK, c->uncached,
					     &err);
	}
	if (r < 0) {
		fail(c, &err);
		return false;
	}
	ckpt_progress_add(ckpt_arena_progress(c->w->arena), w->job.len);
	return true;
}

static void *run_worker(void *arg)
{
	while (work_once(arg))
		;
	return NULL;
}

/* The calling thread works too, and between two chunks sees to the rest. */
static void run_first(struct worker *w)
{
	struct copy *c = w->copy;
	struct ckpt_err err = CKPT_ERR_INIT;

	while (work_once(w)) {
		if (c->opts->go_on && c->opts->go_on(c->opts->go_on_arg, &err) < 0) {
			fail(c, &err);
			return;
		}
	}
}

/* More than the chunks are of no use; neither are more than the processors. */
static unsigned int useful_threads(const struct ckpt_memory_copy *opts, size_t n_chunks)
{
	unsigned int n = opts->n_threads;

	if (!n && opts->pack)
		return ckpt_pack_threads(n_chunks);
	if (!n) {
		n = ckpt_processors();
		/* On one processor the second thread still works while the first waits for the
		 * disk. */
		n = n < 2 ? 2 : n > MAX_THREADS ? MAX_THREADS : n;
	}
	/* Starting a thread takes as long as copying a quarter of a chunk. */
	return n_chunks < 2 * n ? 1 : n;
}

static void run(struct copy *c, unsigned int n_threads)
{
	struct worker *w = ckpt_alloc(c->w->arena, n_threads * sizeof(*w));
	unsigned int n = 0;

	for (unsigned int i = 0; i < n_threads; i++) {
		char *buf = ckpt_alloc(c->w->arena, CKPT_CHUNK + CKPT_PAGE);

		w[i].copy = c;
		w[i].first = i;
		w[i].buf = (char *)(((uintptr_t)buf + CKPT_PAGE - 1) & ~(CKPT_PAGE - 1));
	}
	while (n + 1 < n_threads && !pthread_create(&w[n + 1].thread, NULL, run_worker, &w[n + 1]))
		n++;
	run_first(&w[0]);
	ckpt_pass_end(&w[0].pass);
	for (unsigned int i = 1; i <= n; i++)
		pthread_join(w[i].thread, NULL);
}

/* Reads all of the N chunks that are left; then nothing need stand still for them. */
static int hold(struct copy *c, size_t n, struct ckpt_err *err)
{
	struct job *job = ckpt_alloc(c->w->arena, (n + 1) * sizeof(*job));
	char *at = c->opts->hold;
	int r = 0;

	for (size_t i = 0; r >= 0 && claim(c, 0, &job[i]); i++) {
		job[i].held = at;
		at += job[i].len;
		c->n_held++;
		r = ckpt_ranges_read(c->w, job[i].range, job[i].n, job[i].held, err);
		if (r >= 0 && c->opts->go_on)
			r = c->opts->go_on(c->opts->go_on_arg, err);
	}
	c->held = job;
	if (r >= 0)
		r = ckpt_pages_check_files(c->w, err);
	return r < 0 ? r : c->opts->all_read(c->opts->all_read_arg, err);
}

int ckpt_memory_copy(struct ckpt_memory_work *w, const struct ckpt_memory_copy *opts,
		     uint32_t **crcp, size_t *np, struct ckpt_err *err)
{
	uint64_t size = w->size - w->base;
	size_t n_chunks = (size + CKPT_CHUNK - 1) / CKPT_CHUNK;
	struct copy c = { .w = w,
			  .opts = opts,
			  .uncached = opts->uncached && w->src->thawed_at &&
				      ckpt_cache_is_short(size),
			  .lock = PTHREAD_MUTEX_INITIALIZER };
	size_t first = (w->kept - w->base) / CKPT_CHUNK, n_left = n_chunks - first;
	bool held = opts->hold && w->size - w->kept <= opts->hold_len;
	int r;

	c.crc = *crcp ? *crcp : ckpt_alloc(w->arena, n_chunks * sizeof(c.crc[0]));
	*crcp = c.crc;
	*np = n_chunks;
	if (!n_chunks)
		return 0;
	/* Chunks come out of order: a file that has its size already does not grow under each of
	 * them. What it has more is cut by who commits it, which takes its time. */
	r = opts->pack ? 0 : ckpt_pages_grow(opts->files, size);
	if (r < 0 && r != -EINVAL)
		return ckpt_pages_failed(r, err);
	make_cursors(&c, first, n_chunks);
	if (!opts->pack && opts->which != CKPT_MEMORY_COPIED)
		ckpt_pages_clone(w, opts->files);
	if (held && (r = hold(&c, n_left, err)) < 0)
		return r;
	if (opts->which != CKPT_MEMORY_COPIED)
		ckpt_progress_begin(ckpt_arena_progress(w->arena), NULL, w->size - w->kept);
	run(&c, useful_threads(opts, n_left));
	if (c.failed) {
		*err = c.err;
		return err->code;
	}
	return held || opts->which == CKPT_MEMORY_COPIED ? 0 : ckpt_pages_check_files(w, err);
}
