/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing which pages of an image are given up. Hostile input, as the image is. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/store/given-up.h"
#include "engine/store/image-inside.h"
#include "engine/store/record.h"

#define KIND "given-up"
#define TEMPORARY ".given-up.tmp"
#define BYTES (CKPT_CHUNK_PAGES / 8) /* of the bits of a chunk */
#define CHUNKS_PER_RECORD 1000000u
#define HEIRS_MAX 1000u

/* ---- reading ---- */

struct reading {
	struct ckpt_image *img;
	struct ckpt_given_up *g;
	struct ckpt_chain chain;
	uint64_t next; /* chunk */
	bool seen, foreign;
};

static uint64_t pages_of_chunk(const struct ckpt_image *img, uint64_t chunk)
{
	uint64_t n = img->pages_size / CKPT_PAGE - chunk * CKPT_CHUNK_PAGES;

	return n < CKPT_CHUNK_PAGES ? n : CKPT_CHUNK_PAGES;
}

/* Pages that there are; of a packed chunk all or none. */
static bool are_sound(const struct ckpt_image *img, uint64_t chunk, const uint64_t *bits)
{
	uint64_t n = pages_of_chunk(img, chunk), found = 0;

	for (uint64_t i = 0; i < CKPT_CHUNK_PAGES; i++) {
		if (!ckpt_bit(bits, i))
			continue;
		if (i >= n)
			return false;
		found++;
	}
	return found && (!img->stored || found == n);
}

static bool take(struct reading *r, const Ckpt__GivenUp *msg)
{
	struct ckpt_given_up *g = r->g;

	if (msg->n_crc != msg->n_chunk || msg->pages.len != msg->n_chunk * BYTES ||
	    (r->seen ? msg->n_heirs : msg->n_heirs > HEIRS_MAX))
		return false;
	for (size_t i = 0; i < msg->n_chunk; i++) {
		uint64_t chunk = msg->chunk[i], *bits = g->page + ckpt_n_words(chunk);

		if (chunk < r->next || chunk >= r->img->n_crc)
			return false;
		memcpy(bits, msg->pages.data + i * BYTES, BYTES);
		if (!are_sound(r->img, chunk, bits))
			return false;
		g->crc[chunk] = msg->crc[i];
		r->next = chunk + 1;
	}
	if (!r->seen) {
		g->heir = msg->heirs;
		g->n_heirs = msg->n_heirs;
	}
	return true;
}

static int take_record(struct reading *r, const struct ckpt_record_in *in, struct ckpt_err *err)
{
	const Ckpt__GivenUp *msg = (void *)ckpt_record_unpack_body(in, &ckpt__given_up__descriptor,
								   r->img->arena, err);

	if (!msg)
		return err->code;
	r->foreign |= msg->image != r->img->content_id;
	if (!r->foreign && !take(r, msg))
		return ckpt_record_damaged(err, in, "its numbers are impossible");
	r->seen = true;
	return 0;
}

static int read_one(void *arg, const struct ckpt_record_in *in, struct ckpt_err *err)
{
	struct reading *r = arg;
	int code;

	if (!strcmp(in->kind, "trailer")) {
		code = ckpt_record_check_trailer(in, &r->chain, err);
		return code < 0 ? code : 1;
	}
	if (strcmp(in->kind, KIND))
		return ckpt_record_damaged(err, in, "it belongs somewhere else");
	code = take_record(r, in, err);
	ckpt_chain_add(&r->chain, &in->head);
	return code;
}

static void prepare(struct reading *r, struct ckpt_given_up *g)
{
	const struct ckpt_image *img = r->img;

	g->page = ckpt_alloc(img->arena, ckpt_n_words(img->n_crc + 1) * sizeof(*g->page));
	g->crc = ckpt_alloc(img->arena, (img->n_crc + 1) * sizeof(*g->crc));
	memcpy(g->crc, img->crc, img->n_crc * sizeof(*g->crc));
	r->g = g;
}

/* Of packed pages whole chunks are given up: to be read they are like those of zeroes. */
static void forget_stored(struct ckpt_image *img)
{
	struct ckpt_stored *stored;

	if (!img->stored)
		return;
	stored = ckpt_alloc(img->arena, (img->n_stored + 1) * sizeof(*stored));
	memcpy(stored, img->stored, img->n_stored * sizeof(*stored));
	for (size_t i = 0; i < img->n_stored; i++)
		if (ckpt_bit(img->given_up.page, i * CKPT_CHUNK_PAGES))
			stored[i] = (struct ckpt_stored){ .method = CKPT__CHUNKS__METHOD__ZERO };
	img->stored = stored;
}

int ckpt_given_up_read(struct ckpt_image *img, int fd, uint64_t size, const char *path,
		       struct ckpt_err *err)
{
	struct ckpt_given_up g = { 0 };
	struct reading r = { .img = img };
	int code;

	if (!img->n_crc)
		return 0;
	if ((ckpt_n_words(img->n_crc) + img->n_crc) * sizeof(*g.page) > ckpt_arena_left(img->arena))
		return ckpt_fail(err, -ENOMEM, "%s: cannot read", path);
	prepare(&r, &g);
	code = ckpt_records_header(fd, path, err);
	if (code >= 0)
		code = ckpt_records_scan(fd, size, path, read_one, &r, err);
	if (code == 0)
		code = ckpt_refuse(err, CKPT_E_IMAGE_DAMAGED, -EBADMSG,
				   "%s: it ends without a trailer", path);
	if (code < 0 || r.foreign || !r.seen)
		return code < 0 ? code : 0;
	img->given_up = g;
	img->crc = g.crc;
	forget_stored(img);
	return 0;
}

void ckpt_given_up_clear(const struct ckpt_image *img, void *data, size_t len, uint64_t offset)
{
	const uint64_t *page = img->given_up.page;

	for (uint64_t at = offset; page && at < offset + len;) {
		uint64_t next = (at / CKPT_PAGE + 1) * CKPT_PAGE;

		next = next < offset + len ? next : offset + len;
		if (ckpt_bit(page, at / CKPT_PAGE))
			memset((char *)data + (at - offset), 0, next - at);
		at = next;
	}
}

uint64_t ckpt_image_given_up(const struct ckpt_image *img, const char **heirp)
{
	const struct ckpt_given_up *g = &img->given_up;
	uint64_t n = 0;

	for (size_t i = 0; g->page && i < ckpt_n_words(img->n_crc); i++)
		n += __builtin_popcountll(g->page[i]);
	if (heirp)
		*heirp = n && g->n_heirs ? g->heir[g->n_heirs - 1]->dir : NULL;
	return n * CKPT_PAGE;
}

/* ---- writing ---- */

static int write_records(struct ckpt_record_out *out, const struct ckpt_image *img,
			 const struct ckpt_given_up *g, struct ckpt_err *err)
{
	uint32_t *chunk = ckpt_alloc(img->arena, (img->n_crc + 1) * sizeof(*chunk));
	uint32_t *crc = ckpt_alloc(img->arena, (img->n_crc + 1) * sizeof(*crc));
	uint8_t *pages = ckpt_alloc(img->arena, (img->n_crc + 1) * BYTES);
	size_t n = 0, done = 0;
	int r = 0;

	for (size_t i = 0; i < img->n_crc; i++) {
		const uint64_t *bits = g->page + ckpt_n_words(i);

		if (!ckpt_any_bit(bits, CKPT_CHUNK_WORDS))
			continue;
		memcpy(pages + n * BYTES, bits, BYTES);
		crc[n] = g->crc[i];
		chunk[n++] = i;
	}
	while (r >= 0 && done < n) {
		Ckpt__Record rec = CKPT__RECORD__INIT;
		Ckpt__GivenUp msg = CKPT__GIVEN_UP__INIT;
		size_t now = n - done < CHUNKS_PER_RECORD ? n - done : CHUNKS_PER_RECORD;

		rec.kind = (char *)KIND;
		msg.image = img->content_id;
		msg.heirs = g->heir;
		msg.n_heirs = done ? 0 : g->n_heirs;
		msg.chunk = chunk + done;
		msg.crc = crc + done;
		msg.pages = (ProtobufCBinaryData){ now * BYTES, pages + done * BYTES };
		msg.n_chunk = msg.n_crc = now;
		r = ckpt_record_write(out, &rec, &msg.base, err);
		done += now;
	}
	return r;
}

static int write_file(int fd, const struct ckpt_image *img, const struct ckpt_given_up *g,
		      struct ckpt_err *err)
{
	struct ckpt_record_out out;
	int r = ckpt_record_out_open(&out, fd, img->dir, err);

	if (r < 0)
		return r;
	out.name = CKPT_GIVEN_UP_NAME;
	r = write_records(&out, img, g, err);
	if (r >= 0)
		r = ckpt_record_write_trailer(&out, err);
	ckpt_record_out_close(&out);
	if (r >= 0 && fdatasync(fd) < 0)
		r = ckpt_image_write_error(err, -errno, img->dir, CKPT_GIVEN_UP_NAME);
	return r;
}

/* Behind its end there is nothing to be freed: can it be done at all? */
static int check_can_free(int fd, const struct ckpt_image *img, struct ckpt_err *err)
{
	const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	if (fallocate(fd, mode, CKPT_CHUNK, CKPT_CHUNK) == 0)
		return 0;
	return ckpt_refuse(err, CKPT_E_CANNOT_FREE, -errno,
			   "%s: this file system cannot free a part of a file: %s", img->pages_path,
			   strerror(errno));
}

int ckpt_given_up_write(const struct ckpt_image *img, const struct ckpt_given_up *g,
			struct ckpt_err *err)
{
	/* Of one that was killed; nobody else is here. Whatever it is, it is not written to. */
	unlinkat(img->dirfd, TEMPORARY, 0);
	CKPT_FD fd = openat(img->dirfd, TEMPORARY,
			    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = fd < 0 ? ckpt_image_write_error(err, -errno, img->dir, CKPT_GIVEN_UP_NAME) :
			 check_can_free(fd, img, err);

	if (r >= 0)
		r = write_file(fd, img, g, err);
	if (r >= 0 && renameat(img->dirfd, TEMPORARY, img->dirfd, CKPT_GIVEN_UP_NAME) < 0)
		r = ckpt_image_write_error(err, -errno, img->dir, CKPT_GIVEN_UP_NAME);
	if (r < 0) {
		unlinkat(img->dirfd, TEMPORARY, 0);
		return r;
	}
	return ckpt_image_sync_folder(img->dirfd, fd, img->dir, err);
}
