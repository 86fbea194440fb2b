/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies what was listed into the pages file, chunk by chunk: read, checksum, write. Several
 * threads, because one of them can read while another writes; they take the chunks in order, from
 * one cursor over the runs.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/pass.h"
#include "engine/base/progress.h"
#include "engine/memory/pages-work.h"
#include "engine/store/cache.h"
#include "engine/store/image.h"
#include "engine/store/pack.h"

#define MAX_THREADS 4
#define MAX_RANGES (CKPT_CHUNK / CKPT_PAGE)

struct range {
	const struct ckpt_memory_part *part;
	uint64_t at, len;
	int stored_in;   /* the pages file, where it is there already; -1: it is not, */
	uint64_t stored; /* there */
};

/* What one chunk is made of. */
struct job {
	size_t chunk, n;
	size_t len;
	bool stands; /* not all of it is in copies */
	bool stored; /* all of it is in the pages file */
	char *held;  /* its bytes, which have been read; NULL: they have not */
	struct range range[MAX_RANGES];
};

struct copy {
	struct ckpt_memory_work *w;
	const struct ckpt_memory_copy *opts;
	bool uncached;
	uint32_t *crc;
	pthread_mutex_t lock;    /* of all that follows */
	size_t part, run, chunk; /* what comes next */
	uint64_t page;           /* pages of that run that are done with */
	const struct job *held;  /* what comes next, of N_HELD; NULL: nothing is held */
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
};

/* Steps over what is stored by another part and over what is empty; false at the end. */
static bool find_run(struct copy *c)
{
	for (; c->part < c->w->n; c->part++, c->run = 0) {
		const struct ckpt_memory_part *p = &c->w->part[c->part];

		for (; c->run < p->n; c->run++) {
			if (p->run[c->run].offset >= p->base)
				return true;
		}
	}
	return false;
}

/* As much of the run that comes next as is in one place; ROOM pages at most. */
static struct range next_range(const struct copy *c, uint64_t room)
{
	const struct ckpt_memory_part *p = &c->w->part[c->part];
	const struct ckpt_run *run = &p->run[c->run];
	uint64_t n = run->n_pages - c->page, cloned = p->cloned ? p->cloned[c->run] : 0;
	struct range range = { .part = p, .at = run->at + c->page * CKPT_PAGE, .stored_in = -1 };

	if (c->page < cloned) {
		n = cloned - c->page;
		range.stored_in = c->opts->fd;
		range.stored = run->offset - c->w->base + c->page * CKPT_PAGE;
	}
	range.len = (n < room ? n : room) * CKPT_PAGE;
	return range;
}

/* The next chunk, by the holder of the lock. */
static void take(struct copy *c, struct job *job)
{
	uint64_t room = MAX_RANGES;

	job->n = job->len = 0;
	job->held = NULL;
	job->stands = false;
	job->stored = true;
	while (!c->failed && room && find_run(c)) {
		const struct ckpt_memory_part *p = &c->w->part[c->part];
		const struct ckpt_run *run = &p->run[c->run];
		const struct range range = job->range[job->n++] = next_range(c, room);
		uint64_t n = range.len / CKPT_PAGE;

		job->len += range.len;
		job->stands |= !ckpt_part_has_copy(p, run->at);
		job->stored &= range.stored_in >= 0;
		room -= n;
		c->page += n;
		if (c->page == run->n_pages) {
			c->page = 0;
			c->run++;
		}
	}
	job->chunk = c->chunk++;
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
static bool claim(struct copy *c, struct job *job)
{
	enum ckpt_memory_which which = c->opts->which;

	pthread_mutex_lock(&c->lock);
	do {
		if (c->held)
			take_held(c, job);
		else
			take(c, job);
	} while (job->len && which != CKPT_MEMORY_ALL &&
		 job->stands != (which == CKPT_MEMORY_STANDING));
	pthread_mutex_unlock(&c->lock);
	return job->len;
}

/* By its "mem", or by that of its copy, which shares pages with it. */
static bool is_shared(const struct ckpt_memory_part *p, uint64_t address)
{
	return ckpt_part_has_copy(p, address) ||
	       (p->n_shared && ckpt_span_has(p->shared, p->n_shared, address));
}

/* A range of pages that others may have too. */
static int read_shared(const struct range *range, char *buf, struct ckpt_err *err)
{
	bool copied = ckpt_part_has_copy(range->part, range->at);
	int fd = copied ? range->part->copy_fd : range->part->fd;

	for (size_t done = 0; done < range->len;) {
		ssize_t n = pread(fd, buf + done, range->len - done, range->at + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ckpt_fail(err, n ? -errno : -EIO,
					 "process %d: memory at %llx: cannot read",
					 range->part->pid, (unsigned long long)(range->at + done));
		done += n;
	}
	return 0;
}

/* As many ranges of one task as follow each other, in one call. */
static int read_task(struct copy *c, const struct job *job, size_t *ip, char **bufp,
		     struct ckpt_err *err)
{
	const struct ckpt_memory_part *part = job->range[*ip].part;
	struct iovec iov[MAX_RANGES];
	size_t n = 0, len = 0;
	int r;

	for (; *ip < job->n; ++*ip) {
		const struct range *range = &job->range[*ip];

		if (range->part != part || is_shared(part, range->at))
			break;
		iov[n++] = (struct iovec){ (void *)range->at, range->len };
		len += range->len;
	}
	r = c->w->src->ops->read_mem(c->w->src, part->pid, iov, n, *bufp, err);
	*bufp += len;
	return ckpt_in(err, r, "process %d", part->pid);
}

/* Behind the end of the file the page is filled with zeroes. */
static int read_file(const struct range *range, char *buf, struct ckpt_err *err)
{
	bool stored = range->stored_in >= 0;
	int fd = stored ? range->stored_in : range->part->fd;
	uint64_t at = stored ? range->stored : range->at;
	size_t done = 0;

	while (done < range->len) {
		ssize_t n = pread(fd, buf + done, range->len - done, at + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ckpt_fail(err, -errno, "content of a file: cannot read");
		if (!n)
			break;
		done += n;
	}
	memset(buf + done, 0, range->len - done);
	return 0;
}

/* Pieces are sorted by offset and hold every page of every run. */
static int read_mapped(struct ckpt_memory_work *w, const struct range *range, char *buf,
		       struct ckpt_err *err)
{
	const struct ckpt_piece *p = range->part->piece, *stop = p + range->part->n_pieces;
	uint64_t at = range->at, end = range->at + range->len;

	for (; at < end; p++) {
		uint64_t p_end;
		struct iovec iov;
		int r;

		if (p == stop)
			return ckpt_fail(err, -EFAULT, "content of a mapped file: cannot read");
		p_end = p->offset + (p->end - p->start);
		if (p_end <= at)
			continue;
		iov.iov_base = (void *)(p->start + (at - p->offset));
		iov.iov_len = (p_end < end ? p_end : end) - at;
		r = w->src->ops->read_mem(w->src, p->pid, &iov, 1, buf, err);
		if (r < 0)
			return ckpt_in(err, r, "process %d: content of a mapped file", p->pid);
		at += iov.iov_len;
		buf += iov.iov_len;
	}
	return 0;
}

static int read_content(struct ckpt_memory_work *w, const struct range *range, char *buf,
			struct ckpt_err *err)
{
	return range->part->sort == CKPT_PART_FILE ? read_file(range, buf, err) :
						     read_mapped(w, range, buf, err);
}

int ckpt_pages_read(struct ckpt_memory_work *w, const struct ckpt_memory_part *part, uint64_t at,
		    size_t len, char *buf, struct ckpt_err *err)
{
	return read_content(w, &(struct range){ part, at, len, -1, 0 }, buf, err);
}

static int read_job(struct copy *c, const struct job *job, char *buf, struct ckpt_err *err)
{
	size_t i = 0;
	int r = 0;

	while (r >= 0 && i < job->n) {
		const struct range *range = &job->range[i];

		if (range->part->sort == CKPT_PART_TASK && !is_shared(range->part, range->at)) {
			r = read_task(c, job, &i, &buf, err);
			continue;
		}
		if (range->part->sort == CKPT_PART_TASK)
			r = read_shared(range, buf, err);
		else
			r = read_content(c->w, range, buf, err);
		buf += range->len;
		i++;
	}
	return r;
}

int ckpt_pages_write(int fd, const char *buf, size_t len, uint64_t offset, bool uncached,
		     struct ckpt_err *err)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = ckpt_cache_pwrite(fd, buf + done, len - done, offset + done, uncached);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
			return ckpt_refuse(err, CKPT_E_NO_SPACE, -errno,
					   "image: no space for the memory");
		if (n <= 0)
			return ckpt_fail(err, n ? -errno : -EIO, "image: cannot write pages");
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

	if (!claim(c, &w->job))
		return false;
	buf = w->job.held ? w->job.held : w->buf;
	let_pass(w);
	if (!w->job.held)
		r = read_job(c, &w->job, buf, &err);
	let_pass(w);
	if (r >= 0) {
		uint32_t crc = c->crc[w->job.chunk] = ckpt_crc32c(0, buf, w->job.len);

		if (c->opts->pack)
			r = ckpt_pack_put(c->opts->pack, w->job.chunk, buf, w->job.len, crc, &err);
		else if (!w->job.stored)
			r = ckpt_pages_write(c->opts->fd, buf, w->job.len,
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
	cpu_set_t set;
	unsigned int n = opts->n_threads;

	if (!n && opts->pack)
		return ckpt_pack_threads(n_chunks);
	if (!n) {
		n = sched_getaffinity(0, sizeof(set), &set) < 0 ? 1 : CPU_COUNT(&set);
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

	for (size_t i = 0; r >= 0 && claim(c, &job[i]); i++) {
		job[i].held = at;
		at += job[i].len;
		c->n_held++;
		r = read_job(c, &job[i], job[i].held, err);
		if (r >= 0 && c->opts->go_on)
			r = c->opts->go_on(c->opts->go_on_arg, err);
	}
	c->held = job;
	if (r >= 0)
		r = ckpt_pages_check_files(c->w, err);
	return r < 0 ? r : c->opts->all_read(c->opts->all_read_arg, err);
}

/* Or more: who commits it cuts it, which takes its time. */
static bool has_size(int fd, uint64_t size)
{
	struct stat st;

	return !fstat(fd, &st) && (uint64_t)st.st_size >= size;
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
			  .lock = PTHREAD_MUTEX_INITIALIZER,
			  .chunk = (w->kept - w->base) / CKPT_CHUNK };
	size_t n_left = n_chunks - c.chunk;
	bool held = opts->hold && w->size - w->kept <= opts->hold_len;
	int r;

	c.crc = *crcp ? *crcp : ckpt_alloc(w->arena, n_chunks * sizeof(c.crc[0]));
	*crcp = c.crc;
	*np = n_chunks;
	if (!n_chunks)
		return 0;
	/* Chunks come out of order: a file that has its size already does not grow under each of
	 * them. */
	if (!opts->pack && !has_size(opts->fd, size) && ftruncate(opts->fd, size) < 0 &&
	    errno != EINVAL)
		return ckpt_fail(err, -errno, "image: cannot make room for %llu bytes of memory",
				 (unsigned long long)size);
	if (!opts->pack && opts->which != CKPT_MEMORY_COPIED)
		ckpt_pages_clone(w, opts->fd);
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
