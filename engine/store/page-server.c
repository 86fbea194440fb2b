/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who connects to a page server may be anybody: what it sends is checked like every stream, and is
 * no image before both sides have said so.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "engine/store/image.h"
#include "engine/store/image-inside.h"
#include "engine/store/page-server.h"
#include "engine/store/record.h"
#include "engine/store/stream.h"

#define TAKES "ckpt-takes-1"
#define READY "ready"
#define KEEP "keep"
#define KEPT "kept"

/* ---- the dump's side ---- */

int ckpt_server_greet(const struct ckpt_talk *t, struct ckpt_err *err)
{
	bool failed;

	return ckpt_word_expect(t, TAKES, &failed, err);
}

int ckpt_server_await_ready(const struct ckpt_talk *t, struct ckpt_err *err)
{
	bool failed;

	return ckpt_word_expect(t, READY, &failed, err);
}

int ckpt_server_keep(const struct ckpt_talk *t, struct ckpt_err *err)
{
	struct ckpt_err why = CKPT_ERR_INIT;
	bool failed = false;
	int r = ckpt_word_say(t, KEEP, err);

	if (r < 0)
		return r;
	r = ckpt_word_expect(t, KEPT, &failed, &why);
	if (r >= 0)
		return 0;
	if (failed)
		*err = why;
	else
		ckpt_refuse(err, CKPT_E_KEPT_UNSURE, r, "%s; nobody knows whether it is kept there",
			    why.text);
	return r;
}

/* ---- the server's ---- */

int ckpt_taker_open(struct ckpt_taker *k, struct ckpt_arena *arena, int dirfd, const char *dir,
		    const char *prev_dir, struct ckpt_err *err)
{
	*k = (struct ckpt_taker){ .arena = arena, .prev_dir = prev_dir };
	ckpt_temp_init(&k->temp);
	return ckpt_temp_begin(&k->temp, dirfd, dir, err);
}

void ckpt_taker_close(struct ckpt_taker *k)
{
	if (k->made_link)
		unlinkat(k->temp.dirfd, CKPT_PARENT_LINK, 0);
	k->made_link = false;
	ckpt_temp_end(&k->temp);
}

/* The name that the dump has for it may mean something else here. */
static int link_parent(struct ckpt_taker *k, struct ckpt_err *err)
{
	if (!k->prev_dir)
		return 0;
	if (symlinkat(k->prev_dir, k->temp.dirfd, CKPT_PARENT_LINK) == 0)
		k->made_link = true;
	else if (errno != EEXIST)
		return ckpt_image_write_error(err, -errno, k->temp.dir, CKPT_PARENT_LINK);
	return 0;
}

static int check(struct ckpt_taker *k, struct ckpt_received *got, bool *pagesp,
		 struct ckpt_err *err)
{
	struct ckpt_snapshot *snap;
	struct ckpt_image *img;
	int r = ckpt_image_adopt(&img, k->arena, got, k->temp.dirfd, k->temp.dir, err);

	*pagesp = img->pages_size > 0;
	if (r >= 0 && img->parent_dir)
		r = link_parent(k, err);
	if (r >= 0)
		r = ckpt_image_open_parents(img, k->temp.dirfd, false, err);
	if (r >= 0)
		r = ckpt_image_load_any(img, &snap, err);
	ckpt_image_close(img);
	return r;
}

static int commit(struct ckpt_taker *k, const struct ckpt_talk *t, bool pages, struct ckpt_err *err)
{
	struct ckpt_err nobody_there = CKPT_ERR_INIT;
	bool failed;
	int r = ckpt_temp_sync(&k->temp, pages, err);

	if (r >= 0)
		r = ckpt_word_say(t, READY, err);
	if (r >= 0)
		r = ckpt_word_expect(t, KEEP, &failed, err);
	if (r >= 0)
		r = ckpt_temp_publish(&k->temp, pages, err);
	if (r < 0)
		return r;
	k->made_link = false;
	ckpt_word_say(t, KEPT, &nobody_there); /* who does not hear it says so there */
	return 0;
}

int ckpt_taker_take(struct ckpt_taker *k, const struct ckpt_talk *t, uint64_t *bytesp,
		    struct ckpt_err *err)
{
	const struct ckpt_receive_opts opts = { .keep = true,
						.more = true,
						.into = &k->temp,
						.go_on = t->go_on,
						.go_on_arg = t->go_on_arg,
						.progress = ckpt_arena_progress(k->arena) };
	struct ckpt_err nobody_there = CKPT_ERR_INIT;
	struct ckpt_received got;
	bool pages;
	int r = ckpt_word_say(t, TAKES, err);

	if (r < 0)
		return r;
	r = ckpt_stream_receive(&got, t->from, t->where, &opts, err);
	if (r >= 0)
		r = check(k, &got, &pages, err);
	*bytesp = got.bytes;
	ckpt_received_close(&got);
	if (r >= 0)
		r = commit(k, t, pages, err);
	if (r < 0)
		ckpt_word_say(t, CKPT_WORD_FAILED, &nobody_there);
	return r;
}
