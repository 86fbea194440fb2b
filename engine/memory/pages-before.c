/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contents of files of which the image before has the same: they are looked up there, not copied.
 * Compared byte by byte, since neither a time nor a size proves anything of what is mapped.
 */
#include <string.h>
#include "engine/memory/pages-work.h"
#include "engine/store/image.h"

#define PATIENCE 16 /* chunks in a row without anything that is the same: it is another content */
#define PAGES_PER_READ 128

void ckpt_memory_know(struct ckpt_memory_work *w, const struct ckpt_image *before,
		      const struct ckpt_snapshot *snap)
{
	w->before = before;
	w->before_snap = snap;
}

/* What OBJ was then: the same inode, or one of that size. */
static const struct ckpt_pages *content_before(const struct ckpt_memory_work *w,
					       const struct ckpt_object *obj)
{
	const struct ckpt_pages *found = NULL;

	for (size_t i = 0; w->before && i < w->before_snap->n_objects; i++) {
		const struct ckpt_object *o = w->before_snap->objects[i];

		if (!o->content.n)
			continue;
		if (o->file.dev == obj->file.dev && o->file.ino == obj->file.ino)
			return &o->content;
		if (!found && o->content_size == obj->content_size)
			found = &o->content;
	}
	return found;
}

struct compare {
	struct ckpt_memory_work *w;
	const struct ckpt_memory_part *part;
	struct ckpt_run_list list;
	unsigned int in_vain;
};

/* It takes longer to read a chunk than to store a page anew: pages that are scattered over more
 * chunks than are held are not looked up. */
static bool is_worth_it(const struct ckpt_memory_work *w)
{
	return w->n_read < CKPT_HELD_CHUNKS + w->n_looked_up / PAGES_PER_READ;
}

/* A chunk that cannot be had, NULL, is no reason to fail: then this image has the pages itself. */
static const char *take_chunk(struct ckpt_memory_work *w, uint64_t number, size_t n_pages)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;
	struct ckpt_held_chunk *oldest = w->held;

	w->n_looked_up += n_pages;
	for (int i = 0; i < CKPT_HELD_CHUNKS; i++) {
		struct ckpt_held_chunk *h = &w->held[i];

		if (h->last_used && h->number == number) {
			h->last_used = w->n_looked_up;
			return h->buf;
		}
		if (h->last_used < oldest->last_used)
			oldest = h;
	}
	if (!is_worth_it(w))
		return NULL;
	w->n_read++;
	if (!oldest->buf)
		oldest->buf = ckpt_alloc(w->arena, CKPT_CHUNK);
	oldest->last_used = 0;
	if (ckpt_image_read_chunk(w->before, number, oldest->buf, &ignored) < 0)
		return NULL;
	oldest->number = number;
	oldest->last_used = w->n_looked_up;
	return oldest->buf;
}

/* LEN bytes at AT, which were at OFFSET of the image before, all of them in one chunk of it. */
static int compare(struct compare *c, uint64_t at, size_t len, uint64_t offset,
		   struct ckpt_err *err)
{
	struct ckpt_memory_work *w = c->w;
	const char *before = take_chunk(w, offset / CKPT_CHUNK, len / CKPT_PAGE);
	bool any = false;
	int r;

	if (!before) {
		ckpt_run_add(&c->list, at, len / CKPT_PAGE, CKPT_UNASSIGNED, UINT64_MAX);
		return 0;
	}
	if (!w->now)
		w->now = ckpt_alloc(w->arena, CKPT_CHUNK);
	r = ckpt_pages_read(w, c->part, at, len, w->now, err);
	for (size_t i = 0; r >= 0 && i < len; i += CKPT_PAGE) {
		bool same = !memcmp(w->now + i, before + offset % CKPT_CHUNK + i, CKPT_PAGE);

		any |= same;
		ckpt_run_add(&c->list, at + i, 1, same ? offset + i : CKPT_UNASSIGNED, UINT64_MAX);
	}
	c->in_vain = any ? 0 : c->in_vain + 1;
	return r;
}

static int compare_run(struct compare *c, const struct ckpt_run *run,
		       const struct ckpt_pages *before, struct ckpt_err *err)
{
	uint64_t at = run->at, end = ckpt_run_end(run), stop;

	for (; at < end; at = stop) {
		size_t i = ckpt_run_behind(before->run, before->n, at);
		const struct ckpt_run *old = i < before->n ? &before->run[i] : NULL;
		uint64_t offset, room;
		int r;

		stop = end;
		if (!old || c->in_vain == PATIENCE || old->at > at) {
			if (old && c->in_vain < PATIENCE && old->at < end)
				stop = old->at;
			ckpt_run_add(&c->list, at, (stop - at) / CKPT_PAGE, CKPT_UNASSIGNED,
				     UINT64_MAX);
			continue;
		}
		offset = old->offset + (at - old->at);
		room = CKPT_CHUNK - offset % CKPT_CHUNK;
		if (stop > ckpt_run_end(old))
			stop = ckpt_run_end(old);
		if (stop > at + room)
			stop = at + room;
		r = compare(c, at, stop - at, offset, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int ckpt_pages_find_before(struct ckpt_memory_work *w, const struct ckpt_object *obj,
			   const struct ckpt_memory_part *part, struct ckpt_pages *pages,
			   struct ckpt_err *err)
{
	const struct ckpt_pages *before = content_before(w, obj);
	struct compare c = { .w = w, .part = part, .list = { .arena = w->arena } };
	int r = 0;

	if (!before)
		return 0;
	for (size_t i = 0; r >= 0 && i < pages->n; i++)
		r = compare_run(&c, &pages->run[i], before, err);
	if (r >= 0)
		*pages = (struct ckpt_pages){ c.list.v, c.list.n };
	return r;
}
