/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One complete image of several that go on from each other. Every page that is referred to is
 * copied once, in the order in which the chain has them; what a later image overrides is left out.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/progress.h"
#include "engine/store/flatten.h"
#include "engine/store/image-inside.h"

/* Bytes of the chain, and where they go. */
struct piece {
	uint64_t from, to, at;
};

struct flatten {
	struct ckpt_arena *arena;
	int (*go_on)(void *arg, struct ckpt_err *err);
	void *go_on_arg;
	struct ckpt_snapshot *snap;
	struct piece *piece; /* by FROM, not overlapping */
	size_t n;
	uint64_t size;
};

static int count(void *arg, struct ckpt_pages *pages)
{
	struct flatten *f = arg;

	f->n += pages->n;
	return 0;
}

static int list(void *arg, struct ckpt_pages *pages)
{
	struct flatten *f = arg;

	for (size_t i = 0; i < pages->n; i++) {
		const struct ckpt_run *run = &pages->run[i];

		f->piece[f->n++] =
			(struct piece){ run->offset, run->offset + run->n_pages * CKPT_PAGE, 0 };
	}
	return 0;
}

static int by_from(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	return (x->from > y->from) - (x->from < y->from);
}

/* Pages that several share are one piece. */
static void merge(struct flatten *f)
{
	size_t n = 0;

	qsort(f->piece, f->n, sizeof(*f->piece), by_from);
	for (size_t i = 0; i < f->n; i++) {
		struct piece *last = n ? &f->piece[n - 1] : NULL;

		if (!last || f->piece[i].from > last->to)
			f->piece[n++] = f->piece[i];
		else if (f->piece[i].to > last->to)
			last->to = f->piece[i].to;
	}
	f->n = n;
	for (size_t i = 0; i < n; i++) {
		f->piece[i].at = f->size;
		f->size += f->piece[i].to - f->piece[i].from;
	}
}

/* A run is all in one piece. */
static int move(void *arg, struct ckpt_pages *pages)
{
	const struct flatten *f = arg;

	for (size_t i = 0; i < pages->n; i++) {
		size_t low = 0, high = f->n;

		while (high - low > 1) {
			size_t mid = (low + high) / 2;

			if (f->piece[mid].from <= pages->run[i].offset)
				low = mid;
			else
				high = mid;
		}
		pages->run[i].offset =
			f->piece[low].at + (pages->run[i].offset - f->piece[low].from);
	}
	return 0;
}

static int read_all(const struct flatten *f, char *buf, size_t len, uint64_t offset,
		    struct ckpt_err *err)
{
	while (len) {
		uint64_t end;
		const struct ckpt_pages_part *part =
			ckpt_pages_part_of(f->snap->parts, f->snap->n_parts, offset, &end);
		ssize_t n = pread(part->fd, buf, len < end - offset ? len : end - offset,
				  offset - part->base);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ckpt_fail(err, n ? -errno : -ENODATA, "pages: cannot read");
		buf += n, offset += n, len -= n;
	}
	return 0;
}

/* Fills one chunk of the new pages file. *ITH: the piece that is being copied, DONE of it. */
static int fill(const struct flatten *f, char *buf, size_t len, size_t *ith, uint64_t *done,
		struct ckpt_err *err)
{
	while (len) {
		const struct piece *p = &f->piece[*ith];
		uint64_t left = p->to - p->from - *done, n = len < left ? len : left;
		int r = read_all(f, buf, n, p->from + *done, err);

		if (r < 0)
			return r;
		buf += n, len -= n;
		*done += n;
		if (n == left) {
			++*ith;
			*done = 0;
		}
	}
	return 0;
}

static int copy(const struct flatten *f, struct ckpt_image_writer *w, struct ckpt_err *err)
{
	size_t n = (f->size + CKPT_CHUNK - 1) / CKPT_CHUNK, ith = 0;
	uint32_t *crc = ckpt_alloc(f->arena, (n + 1) * sizeof(*crc));
	char *buf = ckpt_alloc(f->arena, CKPT_CHUNK);
	uint64_t done = 0;

	ckpt_progress_begin(ckpt_arena_progress(f->arena), NULL, f->size);
	for (size_t i = 0; i < n; i++) {
		uint64_t at = i * (uint64_t)CKPT_CHUNK;
		size_t len = f->size - at < CKPT_CHUNK ? f->size - at : CKPT_CHUNK;
		int r = f->go_on ? f->go_on(f->go_on_arg, err) : 0;

		if (r >= 0)
			r = fill(f, buf, len, &ith, &done, err);
		if (r >= 0)
			r = ckpt_image_put_pages(w, buf, len, at, err);
		if (r < 0)
			return r;
		crc[i] = ckpt_crc32c(0, buf, len);
		ckpt_progress_add(ckpt_arena_progress(f->arena), len);
	}
	ckpt_image_set_checksums(w, f->size, crc, n);
	return 0;
}

/* Between the pieces of what is checked; by several threads. */
static int look_up(void *arg, uint64_t offset, const void *data, size_t len)
{
	const struct flatten *f = arg;
	struct ckpt_err unsaid = CKPT_ERR_INIT;

	(void)offset, (void)data, (void)len;
	return f->go_on ? f->go_on(f->go_on_arg, &unsaid) : 0;
}

/* Who was asked to stop says that, not which chunk was not read. */
static int check(struct flatten *f, struct ckpt_image *img, struct ckpt_err *err)
{
	int r = ckpt_image_verify_while(img, 2, look_up, f, err);
	int go = f->go_on ? f->go_on(f->go_on_arg, err) : 0;

	return go < 0 ? go : r;
}

int ckpt_image_flatten(struct ckpt_image *img, struct ckpt_image_writer *w,
		       struct ckpt_arena *arena, int (*go_on)(void *arg, struct ckpt_err *err),
		       void *arg, uint64_t *bytesp, struct ckpt_err *err)
{
	struct flatten f = { .arena = arena, .go_on = go_on, .go_on_arg = arg };
	int r = ckpt_image_load(img, &f.snap, err);

	if (r >= 0)
		r = check(&f, img, err);
	if (r >= 0)
		r = ckpt_image_unpack(img, NULL, 2, err);
	if (r < 0)
		return r;
	ckpt_image_know_parts(img, f.snap);
	ckpt_snapshot_each_pages(f.snap, count, &f);
	f.piece = ckpt_alloc(arena, (f.n + 1) * sizeof(*f.piece));
	f.n = 0;
	ckpt_snapshot_each_pages(f.snap, list, &f);
	merge(&f);
	ckpt_snapshot_each_pages(f.snap, move, &f);
	r = copy(&f, w, err);
	return r < 0 ? r : ckpt_image_commit(w, f.snap, bytesp, err);
}
