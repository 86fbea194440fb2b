/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packed pages, as others want them: as one file, or a few bytes of them. Hostile input: where a
 * chunk is said to be is checked when the image is opened, what it is said to be by its checksum.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/file.h"
#include "engine/store/image.h"
#include "engine/store/scratch.h"
#include "engine/store/unpack.h"

#define SLOTS 8 /* chunks that are kept for who reads here and there */

struct ckpt_slots {
	struct ckpt_unpacker unpacker;
	unsigned char *data[SLOTS];
	uint64_t chunk[SLOTS]; /* + 1; 0: none */
	unsigned int next;
};

int ckpt_unpacker_open(struct ckpt_unpacker *u)
{
	*u = (struct ckpt_unpacker){ .in = malloc(CKPT_CHUNK), .out = malloc(CKPT_CHUNK) };
	if (u->in && u->out)
		return 0;
	ckpt_unpacker_close(u);
	return -ENOMEM;
}

void ckpt_unpacker_close(struct ckpt_unpacker *u)
{
	ckpt_codec_close(&u->codec);
	free(u->in);
	free(u->out);
	u->in = u->out = NULL;
}

int ckpt_unpack_chunk(struct ckpt_unpacker *u, const struct ckpt_image *img, uint64_t chunk,
		      size_t len)
{
	const struct ckpt_stored *at = &img->stored[chunk];
	ssize_t n = ckpt_pread(img->packed_fd, u->in, at->length, at->offset);

	if (n != (ssize_t)at->length)
		return n < 0 ? n : -ENODATA;
	/* No library gets what nobody has compressed. */
	if (ckpt_crc32c(0, u->in, at->length) != at->crc)
		return -EBADMSG;
	return ckpt_decompress(&u->codec, at->method, u->in, at->length, u->out, len) ? 0 :
											-EBADMSG;
}

/* Within the file, and a chunk at most. */
static bool sound(const Ckpt__Chunks *msg)
{
	if (msg->n_method != msg->n_offset || msg->n_method != msg->n_length ||
	    msg->n_method != msg->n_crc || msg->stored > INT64_MAX)
		return false;
	for (size_t i = 0; i < msg->n_method; i++) {
		if (msg->method[i] > CKPT__CHUNKS__METHOD__ZSTD || msg->length[i] > CKPT_CHUNK ||
		    msg->offset[i] > msg->stored || msg->length[i] > msg->stored - msg->offset[i])
			return false;
	}
	return true;
}

int ckpt_unpack_take(struct ckpt_image *img, const struct ckpt_record_in *in, struct ckpt_err *err)
{
	Ckpt__Chunks *msg =
		(void *)ckpt_record_unpack_body(in, &ckpt__chunks__descriptor, NULL, err);
	struct ckpt_stored *stored;

	if (!msg)
		return err->code;
	if (img->stored || !sound(msg) ||
	    (msg->n_method + 1) * sizeof(*stored) > ckpt_arena_left(img->arena)) {
		ckpt__chunks__free_unpacked(msg, NULL);
		return ckpt_record_damaged(err, in, "its numbers are impossible");
	}
	stored = ckpt_alloc(img->arena, (msg->n_method + 1) * sizeof(*stored));
	for (size_t i = 0; i < msg->n_method; i++)
		stored[i] = (struct ckpt_stored){ msg->offset[i], msg->length[i], msg->crc[i],
						  msg->method[i] };
	img->stored = stored;
	img->n_stored = msg->n_method;
	img->packed_size = msg->stored;
	ckpt__chunks__free_unpacked(msg, NULL);
	return 0;
}

static int unpack_one(struct ckpt_image *img, int dirfd, const bool *which, unsigned int n_threads,
		      struct ckpt_err *err)
{
	int fd, r;

	if (!img->stored || img->files.n || !img->pages_size)
		return 0;
	fd = ckpt_scratch_open(img->pages_size, dirfd, img->pages_path, err);
	if (fd < 0)
		return fd;
	if (ftruncate(fd, img->pages_size) < 0)
		r = ckpt_fail(err, -errno, "%s: cannot unpack", img->pages_path);
	else
		r = ckpt_image_copy_pages(img, fd, which, n_threads, err);
	if (r < 0) {
		close(fd);
		return r;
	}
	ckpt_image_set_file(img, fd);
	return 0;
}

int ckpt_image_unpack(struct ckpt_image *img, const bool *which, unsigned int n_threads,
		      struct ckpt_err *err)
{
	const int dirfd = img->dirfd;
	int r = 0;

	for (; r >= 0 && img; img = img->parent)
		r = unpack_one(img, dirfd, which, n_threads, err);
	return r;
}

/* ---- a few bytes ---- */

static struct ckpt_slots *slots_of(struct ckpt_image *img)
{
	struct ckpt_slots *s = img->slots;

	if (s)
		return s;
	s = calloc(1, sizeof(*s));
	if (s && ckpt_unpacker_open(&s->unpacker) < 0) {
		free(s);
		s = NULL;
	}
	img->slots = s;
	return s;
}

void ckpt_slots_close(struct ckpt_slots *s)
{
	for (int i = 0; s && i < SLOTS; i++)
		free(s->data[i]);
	if (s)
		ckpt_unpacker_close(&s->unpacker);
	free(s);
}

/* Into a slot, in exchange for what was there. */
static int fetch(struct ckpt_image *img, struct ckpt_slots *s, uint64_t chunk, unsigned int *slotp,
		 struct ckpt_err *err)
{
	unsigned int i = s->next++ % SLOTS;
	unsigned char *was = s->data[i] ? s->data[i] : malloc(CKPT_CHUNK);
	int r = was ? ckpt_image_fetch_chunk(img, &s->unpacker, chunk, err) :
		      ckpt_fail(err, -ENOMEM, "%s: cannot read", img->pages_path);

	s->data[i] = was;
	s->chunk[i] = 0;
	if (r < 0)
		return r;
	s->data[i] = s->unpacker.out;
	s->unpacker.out = was;
	s->chunk[i] = chunk + 1;
	*slotp = i;
	return 0;
}

ssize_t ckpt_image_read(struct ckpt_image *img, void *buf, size_t len, uint64_t offset,
			struct ckpt_err *err)
{
	struct ckpt_slots *s = slots_of(img);
	uint64_t chunk = offset / CKPT_CHUNK, within = offset % CKPT_CHUNK;
	unsigned int i = 0;
	int r;

	if (!s)
		return ckpt_fail(err, -ENOMEM, "%s: cannot read", img->pages_path);
	if (offset >= img->pages_size)
		return ckpt_fail(err, -ENODATA, "%s: cannot read at byte %llu", img->pages_path,
				 (unsigned long long)offset);
	while (i < SLOTS && s->chunk[i] != chunk + 1)
		i++;
	r = i < SLOTS ? 0 : fetch(img, s, chunk, &i, err);
	if (r < 0)
		return r;
	if (len > CKPT_CHUNK - within)
		len = CKPT_CHUNK - within;
	if (len > img->pages_size - offset)
		len = img->pages_size - offset;
	memcpy(buf, s->data[i] + within, len);
	return len;
}

bool ckpt_image_is_packed(const struct ckpt_image *img)
{
	return img->stored && !img->files.n;
}
