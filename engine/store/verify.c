/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pages file against its checksums, by several threads. Read, not mapped: a file that shrinks
 * meanwhile is then an error and not a signal; and in pieces that stay in the cache between the
 * copy and the checksum.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/file.h"
#include "engine/base/progress.h"
#include "engine/store/image.h"
#include "engine/store/image-inside.h"
#include "engine/store/unpack.h"

#define PIECE (128u << 10)
#define THREADS_MAX 64
#define EACH_LEAST 2 /* chunks that a thread reads, to be worth it */

struct verifying {
	const struct ckpt_image *img;
	int to;              /* packed pages are written there, too; -1: they are not */
	const bool *which;   /* by number: is it looked at? NULL: all */
	ckpt_pages_put *put; /* gets what is looked at; may be NULL */
	void *put_arg;
	uint64_t next; /* chunk to be taken, atomic */
	uint64_t bad;  /* the lowest that is wrong, atomic */
	int bad_code;  /* of a read that failed; 0: it is a checksum. Under LOCK, with BAD */
	pthread_mutex_t lock;
};

static void report(struct verifying *v, uint64_t chunk, int code)
{
	pthread_mutex_lock(&v->lock);
	if (chunk < v->bad) {
		__atomic_store_n(&v->bad, chunk, __ATOMIC_RELAXED);
		v->bad_code = code;
	}
	pthread_mutex_unlock(&v->lock);
}

static uint64_t end_of(const struct ckpt_image *img, uint64_t chunk)
{
	uint64_t end = (chunk + 1) * CKPT_CHUNK;

	return end < img->pages_size ? end : img->pages_size;
}

/* Zeroes are there already. */
static int copy_chunk(int to, uint64_t chunk, const unsigned char *data, size_t len)
{
	for (size_t done = 0; done < len && !ckpt_all_zero(data, len);) {
		ssize_t n = pwrite(to, data + done, len - done, chunk * CKPT_CHUNK + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		done += n;
	}
	return 0;
}

/* LEN bytes of the image's own pages, from AT on. */
static int put(const struct verifying *v, uint64_t at, const void *data, size_t len)
{
	return v->put ? v->put(v->put_arg, v->img->base + at, data, len) : 0;
}

static int sum_packed(const struct verifying *v, uint64_t chunk, struct ckpt_unpacker *u,
		      uint32_t *crcp)
{
	uint64_t at = chunk * CKPT_CHUNK;
	size_t len = end_of(v->img, chunk) - at;
	int r = ckpt_unpack_chunk(u, v->img, chunk, len);

	if (r < 0)
		return r;
	*crcp = ckpt_crc32c(0, u->out, len);
	return put(v, at, u->out, len);
}

static int sum_chunk(const struct verifying *v, uint64_t chunk, struct ckpt_unpacker *u,
		     uint32_t *crcp)
{
	const struct ckpt_image *img = v->img;
	uint64_t at = chunk * CKPT_CHUNK, end = end_of(img, chunk);
	void *buf = u->in;
	int r = 0;

	*crcp = 0;
	if (!buf)
		return -ENOMEM;
	if (img->stored)
		return sum_packed(v, chunk, u, crcp);
	while (r >= 0 && at < end) {
		uint64_t in_file = at;
		int fd = ckpt_pages_at(&img->files, &in_file);
		ssize_t n = pread(fd, buf, end - at < PIECE ? end - at : PIECE, in_file);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ENODATA;
		ckpt_given_up_clear(img, buf, n, at);
		*crcp = ckpt_crc32c(*crcp, buf, n);
		r = put(v, at, buf, n);
		at += n;
	}
	return r;
}

static void *work(void *arg)
{
	struct verifying *v = arg;
	struct ckpt_unpacker u;
	uint64_t chunk;

	ckpt_unpacker_open(&u);

	/* Chunks are taken in order, so that below one that is wrong all have been, or are being,
	 * looked at. */
	while ((chunk = __atomic_fetch_add(&v->next, 1, __ATOMIC_RELAXED)) < v->img->n_crc) {
		uint32_t crc = 0;
		int r;

		if (chunk >= __atomic_load_n(&v->bad, __ATOMIC_RELAXED))
			break;
		if (v->which && !v->which[chunk])
			continue;
		r = sum_chunk(v, chunk, &u, &crc);
		if (r >= 0 && v->to >= 0 && crc == v->img->crc[chunk])
			r = copy_chunk(v->to, chunk, u.out,
				       end_of(v->img, chunk) - chunk * CKPT_CHUNK);
		if (r < 0 || crc != v->img->crc[chunk])
			report(v, chunk, r);
		ckpt_progress_add(ckpt_arena_progress(v->img->arena),
				  end_of(v->img, chunk) - chunk * CKPT_CHUNK);
	}
	ckpt_unpacker_close(&u);
	return NULL;
}

static int describe(const struct verifying *v, struct ckpt_err *err)
{
	uint64_t in_file = v->bad * CKPT_CHUNK, len = end_of(v->img, v->bad) - in_file;
	const char *path = ckpt_image_path_of(v->img, &in_file);
	unsigned long long start = in_file, end = start + len;

	if (v->bad_code == -ENOSPC)
		return ckpt_refuse(err, CKPT_E_NO_UNPACK_ROOM, v->bad_code,
				   "%s: chunk %llu: no room to unpack it", path,
				   (unsigned long long)v->bad);
	if (v->bad_code == -EBADMSG)
		return ckpt_refuse(
			err, CKPT_E_IMAGE_DAMAGED, -EBADMSG,
			"%s: chunk %llu (bytes %llu to %llu): what is stored of it is damaged",
			path, (unsigned long long)v->bad, start, end - 1);
	if (v->bad_code)
		return ckpt_fail(err, v->bad_code,
				 "%s: chunk %llu (bytes %llu to %llu): cannot read", path,
				 (unsigned long long)v->bad, start, end - 1);
	return ckpt_refuse(err, CKPT_E_IMAGE_DAMAGED, -EBADMSG,
			   "%s: chunk %llu (bytes %llu to %llu): checksum does not match", path,
			   (unsigned long long)v->bad, start, end - 1);
}

int ckpt_image_fetch_chunk(const struct ckpt_image *img, struct ckpt_unpacker *u, uint64_t chunk,
			   struct ckpt_err *err)
{
	struct verifying v = { .img = img, .bad = chunk };
	uint32_t crc = 0;

	if (chunk >= img->n_crc)
		return ckpt_fail(err, -ERANGE, "%s: chunk %llu: it has none of that number",
				 img->pages_path, (unsigned long long)chunk);
	v.bad_code = sum_chunk(&v, chunk, u, &crc);
	return v.bad_code || crc != img->crc[chunk] ? describe(&v, err) : 0;
}

int ckpt_image_verify_chunk(const struct ckpt_image *img, uint64_t chunk, struct ckpt_err *err)
{
	struct ckpt_unpacker u;
	int r;

	img = ckpt_image_of(img, chunk * CKPT_CHUNK);
	chunk -= img->base / CKPT_CHUNK;
	ckpt_unpacker_open(&u);
	r = ckpt_image_fetch_chunk(img, &u, chunk, err);
	ckpt_unpacker_close(&u);
	return r;
}

int ckpt_image_read_own(const struct ckpt_image *img, uint64_t chunk, void *buf,
			struct ckpt_err *err)
{
	struct verifying v = { .img = img, .bad = chunk };
	uint64_t start = chunk * CKPT_CHUNK, in_file = start, len;
	int fd = ckpt_pages_at(&img->files, &in_file);
	ssize_t n;

	if (chunk >= img->n_crc)
		return ckpt_fail(err, -ERANGE, "%s: chunk %llu: it has none of that number",
				 img->pages_path, (unsigned long long)chunk);
	len = end_of(img, chunk) - start;
	if (ckpt_image_is_packed(img)) {
		n = ckpt_image_read((struct ckpt_image *)img, buf, len, start, err);
		return n < 0 ? n : 0;
	}
	n = ckpt_pread(fd, buf, len, in_file);
	if (n != (ssize_t)len)
		v.bad_code = n < 0 ? n : -ENODATA;
	ckpt_given_up_clear(img, buf, len, start);
	if (v.bad_code || ckpt_crc32c(0, buf, len) != img->crc[chunk])
		return describe(&v, err);
	return 0;
}

int ckpt_image_read_chunk(const struct ckpt_image *img, uint64_t chunk, void *buf,
			  struct ckpt_err *err)
{
	img = ckpt_image_of(img, chunk * CKPT_CHUNK);
	return ckpt_image_read_own(img, chunk - img->base / CKPT_CHUNK, buf, err);
}

size_t ckpt_image_n_chunks(const struct ckpt_image *img)
{
	return (ckpt_image_end(img) + CKPT_CHUNK - 1) / CKPT_CHUNK;
}

/* How many chunks are looked at, as far as it matters. */
static uint64_t count(const struct verifying *v, uint64_t enough)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < v->img->n_crc && n < enough; i++)
		n += !v->which || v->which[i];
	return n;
}

static int run(struct verifying *v, unsigned int n_threads, struct ckpt_err *err)
{
	pthread_t thread[THREADS_MAX];
	unsigned int n = 0, each;

	if (n_threads > THREADS_MAX)
		n_threads = THREADS_MAX;
	each = v->img->stored ? 1 : EACH_LEAST;
	n_threads = count(v, n_threads * each) / each;
	/* This one works too; where no more can be had it works alone. */
	while (n + 1 < n_threads && pthread_create(&thread[n], NULL, work, v) == 0)
		n++;
	work(v);
	while (n)
		pthread_join(thread[--n], NULL);
	return v->bad == UINT64_MAX ? 0 : describe(v, err);
}

int ckpt_image_copy_pages(struct ckpt_image *img, int fd, const bool *which, unsigned int n_threads,
			  struct ckpt_err *err)
{
	struct verifying v = { .img = img,
			       .which = which ? which + img->base / CKPT_CHUNK : NULL,
			       .to = fd,
			       .bad = UINT64_MAX,
			       .lock = PTHREAD_MUTEX_INITIALIZER };
	int r;

	ckpt_progress_begin(ckpt_arena_progress(img->arena), "unpacking",
			    count(&v, UINT64_MAX) * CKPT_CHUNK);
	r = run(&v, n_threads, err);
	img->own = r >= 0;
	return r;
}

/* All the way: own ones have been compared. */
static uint64_t count_chain(const struct ckpt_image *img, const bool *which, bool own)
{
	uint64_t n = 0;

	for (; img; img = img->parent) {
		const struct verifying v = { .img = img,
					     .which = which ? which + img->base / CKPT_CHUNK :
							      NULL };

		n += own || !img->own ? count(&v, UINT64_MAX) : 0;
	}
	return n;
}

static int verify(const struct ckpt_image *img, const bool *which, unsigned int n_threads,
		  ckpt_pages_put *put, void *arg, const char *doing, struct ckpt_err *err)
{
	int r = 0;

	ckpt_progress_begin(ckpt_arena_progress(img->arena), doing,
			    count_chain(img, which, put) * CKPT_CHUNK);
	for (; r >= 0 && img; img = img->parent) {
		struct verifying v = { .img = img,
				       .which = which ? which + img->base / CKPT_CHUNK : NULL,
				       .put = put,
				       .put_arg = arg,
				       .to = -1,
				       .bad = UINT64_MAX,
				       .lock = PTHREAD_MUTEX_INITIALIZER };

		if (put || !img->own)
			r = run(&v, n_threads, err);
	}
	return r;
}

int ckpt_image_put_chunks(const struct ckpt_image *img, const bool *which, unsigned int n_threads,
			  ckpt_pages_put *put, void *arg, struct ckpt_err *err)
{
	return verify(img, which, n_threads, put, arg, NULL, err);
}

int ckpt_image_verify_while(const struct ckpt_image *img, unsigned int n_threads,
			    ckpt_pages_put *look, void *arg, struct ckpt_err *err)
{
	return verify(img, NULL, n_threads, look, arg, "checking", err);
}

int ckpt_image_verify_chunks(const struct ckpt_image *img, const bool *which,
			     unsigned int n_threads, struct ckpt_err *err)
{
	return verify(img, which, n_threads, NULL, NULL, "checking", err);
}

int ckpt_image_verify_pages(const struct ckpt_image *img, unsigned int n_threads,
			    struct ckpt_err *err)
{
	return ckpt_image_verify_chunks(img, NULL, n_threads, err);
}
