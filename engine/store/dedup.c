/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For each image of the chain: which of its pages are needed, by itself or by younger ones? The
 * others are given up: recorded first, then freed (pages-free.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/progress.h"
#include "engine/store/dedup.h"
#include "engine/store/image-inside.h"
#include "engine/store/pages-free.h"
#include "engine/store/record.h"
#include "engine/store/unpack.h"

#define N_THREADS 2

struct dedup {
	const struct ckpt_dedup_opts *opts;
	struct ckpt_arena *arena;
	struct ckpt_image *tip;
	struct ckpt_snapshot *snap, **other; /* of the tip, of the others */
	Ckpt__GivenUp__Heir heir;            /* the tip */
	struct ckpt_err *err;
};

/* One of the chain. */
struct link {
	struct ckpt_image *img;
	const struct ckpt_snapshot *snap;
	bool usable;    /* can it be restored, now? */
	uint64_t *need; /* a bit for each page */
	struct ckpt_dedup_done *done;
};

struct marking {
	struct link *link;
	size_t n;
	const struct ckpt_image *of; /* whose runs they are */
};

/* ---- what is needed ---- */

static bool goes_on_from(const struct ckpt_image *img, const struct ckpt_image *other)
{
	for (; img; img = img->parent)
		if (img->content_id == other->content_id && img->base == other->base)
			return true;
	return false;
}

static int mark(void *arg, struct ckpt_pages *pages)
{
	const struct marking *m = arg;

	for (size_t i = 0; i < m->n; i++) {
		const struct ckpt_image *img = m->link[i].img;

		if (!goes_on_from(m->of, img))
			continue;
		for (size_t k = 0; k < pages->n; k++) {
			uint64_t at = pages->run[k].offset,
				 end = at + pages->run[k].n_pages * CKPT_PAGE;

			at = at > img->base ? at : img->base;
			end = end < ckpt_image_end(img) ? end : ckpt_image_end(img);
			for (; at < end; at += CKPT_PAGE)
				ckpt_set_bit(m->link[i].need, (at - img->base) / CKPT_PAGE);
		}
	}
	return 0;
}

static void need(struct link *link, size_t n, const struct ckpt_image *of,
		 const struct ckpt_snapshot *snap)
{
	ckpt_snapshot_each_pages(snap, mark, &(struct marking){ link, n, of });
}

/* PARENTS: those that could be restored need their pages, too. */
static void mark_all(const struct dedup *d, struct link *link, size_t n, bool parents)
{
	need(link, n, d->tip, d->snap);
	for (size_t i = 0; i < d->opts->n_others; i++)
		need(link, n, d->opts->other[i], d->other[i]);
	for (size_t i = 0; i < n && parents; i++)
		if (link[i].usable)
			need(link, n, link[i].img, link[i].snap);
}

/* They are not read any more then: their pages may be those that are freed. */
static int load_others(struct dedup *d)
{
	int r = 0;

	d->other = ckpt_alloc(d->arena, (d->opts->n_others + 1) * sizeof(*d->other));
	for (size_t i = 0; r >= 0 && i < d->opts->n_others; i++) {
		struct ckpt_image *img = d->opts->other[i];

		r = ckpt_image_load_any(img, &d->other[i], d->err);
		if (r >= 0)
			r = ckpt_image_check_kept(img, d->other[i], d->err);
		ckpt_image_close(img);
	}
	return r;
}

static uint64_t *no_pages(struct ckpt_arena *arena, const struct ckpt_image *img)
{
	return ckpt_alloc(arena, ckpt_n_words(img->n_crc + 1) * sizeof(uint64_t));
}

static int load(const struct dedup *d, struct link *l, struct ckpt_image *img)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;
	struct ckpt_snapshot *snap;
	int r = ckpt_image_load_any(img, &snap, d->err);

	if (r < 0)
		return r;
	l->img = img;
	l->snap = snap;
	l->usable = !snap->inventory->memory_only &&
		    ckpt_image_check_kept(img, snap, &ignored) >= 0;
	l->need = no_pages(d->arena, img);
	return 0;
}

/* ---- what is given up ---- */

/* Pages of chunk number CHUNK that are needed by nobody, and were not given up before. */
static void spare(const struct link *l, size_t chunk, uint64_t *bits)
{
	const uint64_t *before = l->img->given_up.page, n = l->img->pages_size / CKPT_PAGE;
	bool all = true;

	memset(bits, 0, CKPT_CHUNK_WORDS * sizeof(*bits));
	for (uint64_t i = 0; i < CKPT_CHUNK_PAGES; i++) {
		uint64_t page = chunk * CKPT_CHUNK_PAGES + i;

		if (page >= n || (before && ckpt_bit(before, page)))
			continue;
		if (ckpt_bit(l->need, page))
			all = false;
		else
			ckpt_set_bit(bits, i);
	}
	/* What is packed is there as a whole, or not at all. */
	if (l->img->stored && (!all || !l->img->stored[chunk].length))
		memset(bits, 0, CKPT_CHUNK_WORDS * sizeof(*bits));
}

static uint64_t n_spare(const struct link *l)
{
	uint64_t bits[CKPT_CHUNK_WORDS], n = 0;

	for (size_t i = 0; i < l->img->n_crc; i++) {
		spare(l, i, bits);
		for (size_t k = 0; k < CKPT_CHUNK_WORDS; k++)
			n += __builtin_popcountll(bits[k]);
	}
	return n * CKPT_PAGE;
}

static int add_chunk(struct ckpt_image *img, struct ckpt_given_up *g, size_t chunk,
		     const uint64_t *bits, struct ckpt_unpacker *u, struct ckpt_err *err)
{
	size_t len = img->pages_size - chunk * CKPT_CHUNK;
	int r = 0;

	len = len < CKPT_CHUNK ? len : CKPT_CHUNK;
	/* What is damaged must not get a new checksum. */
	if (img->stored)
		memset(u->out, 0, len);
	else
		r = ckpt_image_read_own(img, chunk, u->out, err);
	if (r < 0)
		return r;
	for (size_t k = 0; k < CKPT_CHUNK_PAGES; k++) {
		if (!ckpt_bit(bits, k))
			continue;
		ckpt_set_bit(g->page, chunk * CKPT_CHUNK_PAGES + k);
		memset(u->out + k * CKPT_PAGE, 0, CKPT_PAGE);
	}
	g->crc[chunk] = ckpt_crc32c(0, u->out, len);
	return 0;
}

static void add_heir(const struct dedup *d, struct ckpt_given_up *g,
		     const struct ckpt_given_up *was)
{
	g->heir = ckpt_alloc(d->arena, (was->n_heirs + 1) * sizeof(*g->heir));
	for (size_t i = 0; i < was->n_heirs; i++)
		if (was->heir[i]->id != d->heir.id)
			g->heir[g->n_heirs++] = was->heir[i];
	g->heir[g->n_heirs++] = (Ckpt__GivenUp__Heir *)&d->heir;
}

/* 1: there is something new in G, which has all. */
static int gather(const struct dedup *d, const struct link *l, struct ckpt_given_up *g)
{
	struct ckpt_image *img = l->img;
	uint64_t bits[CKPT_CHUNK_WORDS];
	size_t words = ckpt_n_words(img->n_crc + 1);
	struct ckpt_unpacker u;
	int r = ckpt_unpacker_open(&u), any = 0;

	if (r < 0)
		return ckpt_fail(d->err, r, "%s: cannot read", img->pages_path);
	g->page = ckpt_alloc(d->arena, words * sizeof(*g->page));
	g->crc = ckpt_alloc(d->arena, (img->n_crc + 1) * sizeof(*g->crc));
	memcpy(g->crc, img->crc, img->n_crc * sizeof(*g->crc));
	if (img->given_up.page)
		memcpy(g->page, img->given_up.page, words * sizeof(*g->page));
	add_heir(d, g, &img->given_up);
	ckpt_progress_begin(ckpt_arena_progress(d->arena), NULL, img->pages_size);
	for (size_t i = 0; r >= 0 && i < img->n_crc; i++) {
		ckpt_progress_add(ckpt_arena_progress(d->arena), CKPT_CHUNK);
		spare(l, i, bits);
		if (!ckpt_any_bit(bits, CKPT_CHUNK_WORDS))
			continue;
		any = 1;
		r = add_chunk(img, g, i, bits, &u, d->err);
	}
	ckpt_unpacker_close(&u);
	return r < 0 ? r : any;
}

/* ---- freeing ---- */

/* The record first; and again whether somebody has come before it was there, who knows nothing of
 * it. */
static int record(const struct dedup *d, const struct link *l, const struct ckpt_given_up *g,
		  const struct ckpt_pages_files *own)
{
	int r = ckpt_free_check(l->img, own, l->usable, d->err);

	if (r >= 0)
		r = ckpt_given_up_write(l->img, g, d->err);
	if (r < 0)
		return r;
	r = ckpt_free_check(l->img, own, l->usable, d->err);
	if (r >= 0)
		return 0;
	/* What was there has not changed. */
	if (l->img->given_up.page)
		ckpt_given_up_write(l->img, &l->img->given_up, &(struct ckpt_err)CKPT_ERR_INIT);
	else
		unlinkat(l->img->dirfd, CKPT_GIVEN_UP_NAME, 0);
	return r;
}

static int give_up_in(const struct dedup *d, struct link *l, const struct ckpt_pages_files *own)
{
	struct ckpt_given_up g = { 0 };
	int r = gather(d, l, &g);

	if (r > 0)
		r = record(d, l, &g, own);
	if (r < 0)
		return r;
	/* Also what was given up before, by one that was killed then. */
	return ckpt_free_given_up(l->img, own, &g, d->arena, &l->done->freed, d->err);
}

static int give_up(const struct dedup *d, struct link *l)
{
	struct ckpt_pages_files own;
	int r = ckpt_free_open(l->img, &own, d->err);

	if (r >= 0)
		r = give_up_in(d, l, &own);
	ckpt_free_close(&own);
	return r;
}

static int free_one(const struct dedup *d, struct link *l)
{
	const struct ckpt_image *img = l->img;
	int r;

	l->done->folder = img->dir;
	l->done->whole = l->usable && !d->opts->give_up_parents;
	if (l->done->whole || (!img->given_up.page && !n_spare(l)))
		return 0;
	if (flock(img->dirfd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		return ckpt_refuse(d->err, CKPT_E_IMAGE_IN_USE, -EBUSY,
				   "%s: another ckpt is at work there", img->dir);
	r = give_up(d, l);
	flock(img->dirfd, LOCK_UN);
	return r;
}

/* What could be freed besides: as if none on the way had to stay. */
static void count_more(const struct dedup *d, struct link *link, size_t n)
{
	uint64_t **kept = ckpt_alloc(d->arena, (n + 1) * sizeof(*kept));

	for (size_t i = 0; i < n; i++) {
		kept[i] = link[i].need;
		link[i].done->more = n_spare(&link[i]);
		link[i].need = no_pages(d->arena, link[i].img);
	}
	mark_all(d, link, n, false);
	for (size_t i = 0; i < n; i++) {
		link[i].done->more = n_spare(&link[i]) - link[i].done->more;
		link[i].need = kept[i];
	}
}

/* ---- all ---- */

static const char *folder_of(struct ckpt_arena *arena, int dirfd)
{
	char link[32], path[PATH_MAX];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", dirfd);
	n = readlink(link, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	return ckpt_strdup(arena, path);
}

static int load_tip(struct dedup *d)
{
	int r;

	if (ckpt_image_is_stream(d->tip))
		return ckpt_refuse(d->err, CKPT_E_CHAIN_STREAM, -ENOTDIR,
				   "%s: a stream goes on from no image", d->tip->dir);
	r = ckpt_image_load_any(d->tip, &d->snap, d->err);
	if (r >= 0)
		r = ckpt_image_check_kept(d->tip, d->snap, d->err);
	if (r >= 0)
		r = ckpt_image_verify_pages(d->tip, N_THREADS, d->err);
	d->heir.id = d->tip->content_id;
	d->heir.dir = (char *)folder_of(d->arena, d->tip->dirfd);
	return r < 0 ? r : load_others(d);
}

int ckpt_image_dedup(struct ckpt_image *tip, const struct ckpt_dedup_opts *opts,
		     struct ckpt_arena *arena, struct ckpt_dedup_done **donep, size_t *np,
		     struct ckpt_err *err)
{
	struct dedup d = { opts, arena, tip, NULL, NULL, CKPT__GIVEN_UP__HEIR__INIT, err };
	size_t n = ckpt_image_depth(tip), i = 0;
	struct link *link = ckpt_alloc(arena, (n + 1) * sizeof(*link));
	int r = load_tip(&d);

	*donep = ckpt_alloc(arena, (n + 1) * sizeof(**donep));
	*np = n;
	for (struct ckpt_image *img = tip->parent; r >= 0 && img; img = img->parent, i++) {
		r = load(&d, &link[i], img);
		link[i].done = &(*donep)[i];
	}
	if (r < 0)
		return r;
	mark_all(&d, link, n, !opts->give_up_parents);
	if (!opts->give_up_parents)
		count_more(&d, link, n);
	for (i = 0; r >= 0 && i < n; i++)
		r = free_one(&d, &link[i]);
	return r;
}
