/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies the items of a round, chunk by chunk, with two threads: one reads while the other writes.
 * The program runs: a page may be gone, or change while it is read; the latter the next round sees.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/memory/live-work.h"
#include "engine/store/image.h"

struct round {
	struct ckpt_live *live;
	pthread_mutex_t lock; /* of all that follows, and of live->lost */
	size_t next;          /* item */
	uint64_t done;        /* bytes of that item */
	bool failed;
	struct ckpt_err err; /* the first one */
};

/* What of one chunk is to be copied: pieces of items, by offset. */
struct job {
	size_t chunk, n;
	struct ckpt_live_item piece[CKPT_CHUNK / CKPT_PAGE];
};

static bool claim(struct round *r, struct job *job)
{
	struct ckpt_live *live = r->live;

	job->n = 0;
	pthread_mutex_lock(&r->lock);
	while (!r->failed && r->next < live->n_items) {
		const struct ckpt_live_item *item = &live->item[r->next];
		uint64_t offset = item->offset + r->done, left = item->len - r->done, end;

		if (!job->n)
			job->chunk = offset / CKPT_CHUNK;
		end = (job->chunk + 1) * (uint64_t)CKPT_CHUNK;
		if (offset >= end)
			break;
		if (left > end - offset)
			left = end - offset;
		job->piece[job->n++] =
			(struct ckpt_live_item){ item->task, item->at + r->done, left, offset };
		r->done += left;
		if (r->done == item->len) {
			r->next++;
			r->done = 0;
		}
	}
	pthread_mutex_unlock(&r->lock);
	return job->n;
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
static void read_piece(struct round *r, const struct ckpt_live_item *piece, char *buf)
{
	uint64_t done = 0;

	while (done < piece->len) {
		ssize_t n = pread(piece->task->track.mem, buf + done, piece->len - done,
				  piece->at + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n > 0) {
			done += n;
			continue;
		}
		done &= ~(CKPT_PAGE - 1);
		lose(r, piece, done);
		memset(buf + done, 0, CKPT_PAGE);
		done += CKPT_PAGE;
	}
}

/* Pieces that follow each other are written at once. */
static int copy(struct round *r, struct job *job, char *buf, struct ckpt_err *err)
{
	const uint64_t start = job->chunk * (uint64_t)CKPT_CHUNK;
	struct ckpt_live_chunk *chunk = &r->live->chunk[job->chunk];
	size_t from = 0;

	for (size_t i = 0; i < job->n; i++) {
		const struct ckpt_live_item *p = &job->piece[i];
		uint64_t end = p->offset + p->len;
		int code;

		read_piece(r, p, buf + (p->offset - start));
		if (i + 1 < job->n && job->piece[i + 1].offset == end)
			continue;
		code = ckpt_pages_write(r->live->opts.fd, buf + (job->piece[from].offset - start),
					end - job->piece[from].offset, job->piece[from].offset,
					err);
		if (code < 0)
			return code;
		chunk->known = from == 0 && end - job->piece[0].offset == CKPT_CHUNK;
		from = i + 1;
	}
	if (chunk->known)
		chunk->crc = ckpt_crc32c(0, buf, CKPT_CHUNK);
	return 0;
}

static void fail(struct round *r, const struct ckpt_err *err)
{
	pthread_mutex_lock(&r->lock);
	if (!r->failed)
		r->err = *err;
	r->failed = true;
	pthread_mutex_unlock(&r->lock);
}

/* ASKS: this is the thread that may ask whether to go on. */
static void work(struct round *r, bool asks)
{
	CKPT_FREE char *buf = malloc(CKPT_CHUNK);
	CKPT_FREE struct job *job = malloc(sizeof(*job));
	const struct ckpt_live_opts *opts = &r->live->opts;
	struct ckpt_err err = CKPT_ERR_INIT;
	int code = buf && job ? 0 : ckpt_fail(&err, -ENOMEM, "memory: cannot copy");

	while (code >= 0 && claim(r, job)) {
		code = copy(r, job, buf, &err);
		if (code >= 0 && asks && opts->go_on)
			code = opts->go_on(opts->go_on_arg, &err);
	}
	if (code < 0)
		fail(r, &err);
}

static void *run(void *arg)
{
	work(arg, false);
	return NULL;
}

int ckpt_live_copy_items(struct ckpt_live *live, struct ckpt_err *err)
{
	struct round r = { .live = live, .lock = PTHREAD_MUTEX_INITIALIZER };
	size_t n = (ckpt_live_size(live) - live->opts.base) / CKPT_CHUNK;
	pthread_t second;
	bool two = live->n_items && n > live->n_chunks && n > 4;

	if (n > live->n_chunks) {
		struct ckpt_live_chunk *chunk = ckpt_alloc(live->arena, n * sizeof(*chunk));

		if (live->n_chunks)
			memcpy(chunk, live->chunk, live->n_chunks * sizeof(*chunk));
		memset(chunk + live->n_chunks, 0, (n - live->n_chunks) * sizeof(*chunk));
		live->chunk = chunk;
		live->n_chunks = n;
		/* Otherwise it grows under each chunk. */
		if (ftruncate(live->opts.fd, n * (uint64_t)CKPT_CHUNK) < 0)
			return ckpt_fail(err, -errno, "image: cannot make room for the memory");
	}
	two = two && !pthread_create(&second, NULL, run, &r);
	work(&r, true);
	if (two)
		pthread_join(second, NULL);
	if (r.failed)
		*err = r.err;
	return r.failed ? err->code : 0;
}

int ckpt_live_checksums(struct ckpt_live *live, uint32_t *crc, struct ckpt_err *err)
{
	CKPT_FREE char *buf = malloc(CKPT_CHUNK);

	if (!buf)
		return ckpt_fail(err, -ENOMEM, "memory: cannot compute its checksums");
	for (size_t i = 0; i < live->n_chunks; i++) {
		struct ckpt_live_chunk *c = &live->chunk[i];

		if (!c->known) {
			if (pread(live->opts.fd, buf, CKPT_CHUNK, i * (uint64_t)CKPT_CHUNK) !=
			    CKPT_CHUNK)
				return ckpt_fail(err, -errno, "image: cannot read pages");
			c->crc = ckpt_crc32c(0, buf, CKPT_CHUNK);
			c->known = true;
		}
		crc[i] = c->crc;
	}
	return 0;
}
