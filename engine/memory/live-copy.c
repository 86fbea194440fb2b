/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies the items of a round, chunk by chunk, with two threads: one reads while the other writes,
 * or each writes to a file of its own.
 * The program runs: a page may be gone, or change while it is read; the latter the next round sees.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/pass.h"
#include "engine/base/progress.h"
#include "engine/memory/live-work.h"
#include "engine/store/image.h"
#include "engine/store/pages-files.h"

#define STEP (256u << 10) /* that is read before others may pass */

struct round {
	struct ckpt_live *live;
	pthread_mutex_t lock; /* of all that follows, and of what of LIVE is next, or was lost */
	uint64_t left;        /* bytes to be copied */
	bool failed;
	struct ckpt_err err; /* the first one */
};

/* What of one chunk is to be copied: pieces of items, by offset. */
struct job {
	size_t chunk, n;
	uint64_t bytes;
	struct ckpt_live_item piece[CKPT_CHUNK / CKPT_PAGE];
};

static size_t n_chunks(const struct ckpt_live *live)
{
	return ckpt_live_own(live) / CKPT_CHUNK;
}

/* The next chunk of one file. */
static void take(struct round *r, struct ckpt_live_cursor *at, struct job *job)
{
	const struct ckpt_live *live = r->live;

	while (!r->failed && r->left && at->item < live->n_items) {
		const struct ckpt_live_item *item = &live->item[at->item];
		uint64_t offset = item->offset + at->done, left = item->len - at->done, end;

		if (!job->n)
			job->chunk = offset / CKPT_CHUNK;
		end = (job->chunk + 1) * (uint64_t)CKPT_CHUNK;
		if (offset >= end || offset >= at->end)
			break;
		if (left > end - offset)
			left = end - offset;
		job->piece[job->n++] =
			(struct ckpt_live_item){ item->task, item->at + at->done, left, offset };
		job->bytes += left;
		at->done += left;
		if (at->done == item->len) {
			at->item++;
			at->done = 0;
		}
	}
}

/* Of the file that the thread prefers, or else of any. */
static bool claim(struct round *r, size_t first, struct job *job)
{
	struct ckpt_live *live = r->live;

	job->n = job->bytes = 0;
	pthread_mutex_lock(&r->lock);
	for (size_t i = 0; !job->n && i < live->n_cursors; i++)
		take(r, &live->cursor[(first + i) % live->n_cursors], job);
	r->left -= job->bytes < r->left ? job->bytes : r->left;
	pthread_mutex_unlock(&r->lock);
	return job->n;
}

/* Items are sorted by offset; one may be in several files. */
static void make_cursors(struct ckpt_live *live)
{
	const struct ckpt_pages_files *files = live->opts.files;
	struct ckpt_live_cursor at = { 0 };

	for (size_t i = 0; i < files->n; i++) {
		at.end = i + 1 < files->n ? files->part[i + 1].base : UINT64_MAX;
		live->cursor[live->n_cursors++] = at;
		while (at.item < live->n_items &&
		       live->item[at.item].offset + live->item[at.item].len <= at.end) {
			at.item++;
			at.done = 0;
		}
		if (at.item < live->n_items && live->item[at.item].offset < at.end)
			at.done = at.end - live->item[at.item].offset;
	}
}

static void lose(struct round *r, const struct ckpt_live_item *piece, uint64_t done)
{
	struct ckpt_live *live = r->live;
	uint64_t at = piece->at + done;
	struct ckpt_live_lost *last;

	pthread_mutex_lock(&r->lock);
	last = live->n_lost ? &live->lost[live->n_lost - 1] : NULL;
	if (last && last->task == piece->task && last->span.end == at) {
		last->span.end += CKPT_PAGE;
		pthread_mutex_unlock(&r->lock);
		return;
	}
	live->lost = ckpt_grow(live->arena, live->lost, live->n_lost, &live->lost_room, 16,
			       sizeof(*live->lost));
	live->lost[live->n_lost++] = (struct ckpt_live_lost){ piece->task, { at, at + CKPT_PAGE } };
	pthread_mutex_unlock(&r->lock);
}

/* A page that is gone is left out, and the next one tried. */
static void read_piece(struct round *r, const struct ckpt_live_item *piece, char *buf,
		       struct ckpt_pass *pass)
{
	uint64_t done = 0;

	while (done < piece->len) {
		uint64_t left = piece->len - done;
		ssize_t n = pread(piece->task->track.mem, buf + done, left < STEP ? left : STEP,
				  piece->at + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n > 0) {
			done += n;
			ckpt_pass(pass);
			continue;
		}
		done &= ~(CKPT_PAGE - 1);
		lose(r, piece, done);
		memset(buf + done, 0, CKPT_PAGE);
		done += CKPT_PAGE;
	}
}

/* Pages of a chunk that follow each other, at AT of it, take the place of what is there: of that
 * only the checksum matters. OLD: room for it. */
static int replace(struct round *r, size_t chunk, const char *buf, size_t at, size_t len, char *old,
		   struct ckpt_err *err)
{
	const struct ckpt_live_opts *opts = &r->live->opts;
	uint32_t *crc = &r->live->crc[chunk], new = ckpt_crc32c(0, buf, len);
	uint64_t offset = chunk * (uint64_t)CKPT_CHUNK + at;

	if (len < CKPT_CHUNK) {
		uint64_t in_file = offset;
		int fd = ckpt_pages_at(opts->files, &in_file);

		if (pread(fd, old, len, in_file) != (ssize_t)len)
			return ckpt_fail(err, -EIO, "image: cannot read pages");
		new = ckpt_crc32c_replace(*crc, ckpt_crc32c(0, old, len), new,
					  CKPT_CHUNK - at - len);
	}
	*crc = new;
	return ckpt_pages_write(opts->files, buf, len, offset, false, err);
}

static int copy(struct round *r, struct job *job, char *buf, struct ckpt_pass *pass,
		struct ckpt_err *err)
{
	const uint64_t start = job->chunk * (uint64_t)CKPT_CHUNK;
	char *old = buf + CKPT_CHUNK;
	int code = 0;

	for (size_t i = 0, from = 0; code >= 0 && i < job->n; i++) {
		const struct ckpt_live_item *p = &job->piece[i];
		uint64_t at = job->piece[from].offset - start, end = p->offset + p->len;

		read_piece(r, p, buf + (p->offset - start), pass);
		if (i + 1 < job->n && job->piece[i + 1].offset == end)
			continue;
		code = replace(r, job->chunk, buf + at, at, end - start - at, old, err);
		ckpt_pass(pass);
		from = i + 1;
	}
	return code;
}

static void fail(struct round *r, const struct ckpt_err *err)
{
	pthread_mutex_lock(&r->lock);
	if (!r->failed)
		r->err = *err;
	r->failed = true;
	pthread_mutex_unlock(&r->lock);
}

/* Thread 0 may ask whether to go on. */
static void work(struct round *r, size_t number)
{
	CKPT_FREE char *buf = malloc(2 * CKPT_CHUNK);
	CKPT_FREE struct job *job = malloc(sizeof(*job));
	const struct ckpt_live_opts *opts = &r->live->opts;
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_progress *progress = ckpt_arena_progress(r->live->arena);
	struct ckpt_pass pass = { 0 };
	int code = buf && job ? 0 : ckpt_fail(&err, -ENOMEM, "memory: cannot copy");

	while (code >= 0 && claim(r, number, job)) {
		code = copy(r, job, buf, &pass, &err);
		ckpt_progress_add(progress, job->bytes);
		if (code >= 0 && !number && opts->go_on)
			code = opts->go_on(opts->go_on_arg, &err);
	}
	ckpt_pass_end(&pass);
	if (code < 0)
		fail(r, &err);
}

static void *run(void *arg)
{
	work(arg, 1);
	return NULL;
}

/* Otherwise the file grows under each chunk. What is new of it is zeroes. */
static int grow(struct ckpt_live *live, size_t n, struct ckpt_err *err)
{
	CKPT_FREE char *zeroes = calloc(1, CKPT_CHUNK);
	uint32_t *crc = ckpt_alloc(live->arena, n * sizeof(*crc)), of_zeroes;
	int r;

	if (!zeroes)
		return ckpt_fail(err, -ENOMEM, "memory: cannot copy");
	of_zeroes = ckpt_crc32c(0, zeroes, CKPT_CHUNK);
	for (size_t i = 0; i < n; i++)
		crc[i] = i < live->n_chunks ? live->crc[i] : of_zeroes;
	live->crc = crc;
	live->n_chunks = n;
	r = ckpt_pages_grow(live->opts.files, n * (uint64_t)CKPT_CHUNK);
	return r < 0 ? ckpt_pages_failed(r, err) : 0;
}

static uint64_t left_of(const struct ckpt_live *live, const struct ckpt_live_cursor *at)
{
	uint64_t left = 0;

	for (size_t i = at->item; i < live->n_items && live->item[i].offset < at->end; i++) {
		const struct ckpt_live_item *item = &live->item[i];
		uint64_t end = item->offset + item->len;

		left += (end < at->end ? end : at->end) - item->offset;
	}
	return left ? left - at->done : 0;
}

uint64_t ckpt_live_left(const struct ckpt_live *live)
{
	const struct ckpt_live_cursor all = { .end = UINT64_MAX };
	uint64_t left = live->n_cursors ? 0 : left_of(live, &all);

	for (size_t i = 0; i < live->n_cursors; i++)
		left += left_of(live, &live->cursor[i]);
	return left;
}

int ckpt_live_copy_items(struct ckpt_live *live, uint64_t bytes, struct ckpt_err *err)
{
	struct round r = { .live = live, .lock = PTHREAD_MUTEX_INITIALIZER, .left = bytes };
	uint64_t all = ckpt_live_left(live);
	size_t n = n_chunks(live);
	pthread_t second;
	bool two;

	if (!live->n_cursors)
		make_cursors(live);
	if (n > live->n_chunks && grow(live, n, err) < 0)
		return err->code;
	two = (all < bytes ? all : bytes) > 4 * CKPT_CHUNK &&
	      !pthread_create(&second, NULL, run, &r);
	work(&r, 0);
	if (two)
		pthread_join(second, NULL);
	if (r.failed)
		*err = r.err;
	return r.failed ? err->code : 0;
}

void ckpt_live_checksums(const struct ckpt_live *live, uint32_t *crc)
{
	for (size_t i = 0; i < n_chunks(live); i++)
		crc[i] = live->crc[i];
}
