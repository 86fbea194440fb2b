/* SPDX-License-Identifier: Apache-2.0 */
/* Compares memory: bytes are only read where both sides do not say the same anyway. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "engine/base/cleanup.h"
#include "engine/look/diff.h"

#define BLOCK (64 * CKPT_PAGE)

/* One of the two. */
struct side {
	struct ckpt_look *look;
	const struct ckpt_task *task;
	struct ckpt_look_piece piece;
	unsigned char *buf; /* BLOCK */
};

static bool unknown(const struct side *s)
{
	return s->piece.from == CKPT_LOOK_MISSING || s->piece.from == CKPT_LOOK_NOTHING;
}

static bool same_source(const struct side *a, const struct side *b)
{
	if (a->piece.from != b->piece.from)
		return false;
	if (a->piece.from == CKPT_LOOK_ZERO)
		return true;
	/* Both files are what they were: their build or time is the same as at both dumps. */
	return a->piece.from == CKPT_LOOK_FILE && a->piece.offset == b->piece.offset &&
	       !strcmp(ckpt_look_area_name(a->look, a->task, a->piece.area),
		       ckpt_look_area_name(b->look, b->task, b->piece.area));
}

static int fill(struct side *s, uint64_t at, size_t len, struct ckpt_err *err)
{
	return ckpt_look_read(s->look, s->task, at, s->buf, len, err);
}

static int compare(struct side *a, struct side *b, uint64_t at, uint64_t end, uint64_t *pagesp,
		   struct ckpt_err *err)
{
	while (at < end) {
		size_t len = end - at < BLOCK ? end - at : BLOCK;
		int r = fill(a, at, len, err);

		if (r >= 0)
			r = fill(b, at, len, err);
		if (r < 0)
			return r;
		for (size_t i = 0; i < len; i += CKPT_PAGE)
			*pagesp += memcmp(a->buf + i, b->buf + i,
					  len - i < CKPT_PAGE ? len - i : CKPT_PAGE) != 0;
		at += len;
	}
	return 0;
}

static uint64_t stop_at(uint64_t a, uint64_t b, uint64_t end)
{
	uint64_t stop = a < b ? a : b;

	return stop < end ? stop : end;
}

static int walk(struct side *a, struct side *b, uint64_t start, uint64_t end, uint64_t *pagesp,
		uint64_t *unknownp, struct ckpt_err *err)
{
	for (uint64_t at = start, stop; at < end; at = stop) {
		int r;

		ckpt_look_piece(a->look, a->task, at, &a->piece);
		ckpt_look_piece(b->look, b->task, at, &b->piece);
		stop = stop_at(a->piece.end, b->piece.end, end);
		if (same_source(a, b))
			continue;
		if (unknown(a) || unknown(b)) {
			*unknownp += (stop - at + CKPT_PAGE - 1) / CKPT_PAGE;
			continue;
		}
		/* The last page of a file ends inside of a page. */
		stop = (stop + CKPT_PAGE - 1) / CKPT_PAGE * CKPT_PAGE;
		r = compare(a, b, at, stop, pagesp, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int ckpt_diff_pages(struct ckpt_look *a, const struct ckpt_task *x, struct ckpt_look *b,
		    const struct ckpt_task *y, uint64_t start, uint64_t end, uint64_t *pagesp,
		    uint64_t *unknownp, struct ckpt_err *err)
{
	CKPT_FREE unsigned char *buf = malloc(2 * BLOCK);
	struct side s = { a, x, { 0 }, buf }, t = { b, y, { 0 }, buf + BLOCK };

	*pagesp = *unknownp = 0;
	if (!buf)
		return ckpt_fail(err, -ENOMEM, "cannot compare");
	return walk(&s, &t, start, end, pagesp, unknownp, err);
}
