/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks into a pages file, or a stream. They come in any order; each gets the place that is next
 * when it is ready. Two are the same if what is stored of them is, byte for byte: the checksum only
 * tells which to compare.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/file.h"
#include "engine/base/processors.h"
#include "engine/base/progress.h"
#include "engine/store/image.h"
#include "engine/store/pack.h"
#include "engine/store/record.h"
#include "engine/store/stream.h"

#define THREADS_MAX 16
#define BUCKETS 4096

struct entry {
	struct ckpt_stored at;
	uint32_t crc;
	bool put;
	uint64_t next; /* in its bucket: number of another chunk + 1, 0: none */
};

/* What a thread works with; those that are free form a list. */
struct desk {
	struct ckpt_codec codec;
	unsigned char *out, *other; /* CKPT_CHUNK each */
	struct desk *next;
};

struct ckpt_pack {
	struct ckpt_pack_opts opts;
	pthread_mutex_t lock; /* of all that follows */
	struct entry *entry;
	uint64_t n, room;
	uint64_t bucket[BUCKETS]; /* by checksum: number of a chunk + 1 */
	uint64_t size;            /* of the file so far */
	struct desk *free;
};

struct ckpt_pack *ckpt_pack_open(const struct ckpt_pack_opts *opts, struct ckpt_err *err)
{
	struct ckpt_pack *p = calloc(1, sizeof(*p));

	if (!p) {
		ckpt_fail(err, -ENOMEM, "%s: cannot write", opts->dir);
		return NULL;
	}
	p->opts = *opts;
	pthread_mutex_init(&p->lock, NULL);
	return p;
}

static void free_desk(struct desk *d)
{
	ckpt_codec_close(&d->codec);
	free(d->out);
	free(d->other);
	free(d);
}

void ckpt_pack_close(struct ckpt_pack *p)
{
	while (p && p->free) {
		struct desk *d = p->free;

		p->free = d->next;
		free_desk(d);
	}
	if (p)
		free(p->entry);
	free(p);
}

static struct desk *take_desk(struct ckpt_pack *p)
{
	struct desk *d;

	pthread_mutex_lock(&p->lock);
	d = p->free;
	if (d)
		p->free = d->next;
	pthread_mutex_unlock(&p->lock);
	if (d)
		return d;
	d = calloc(1, sizeof(*d));
	if (!d)
		return NULL;
	d->out = malloc(CKPT_CHUNK);
	d->other = malloc(CKPT_CHUNK);
	if (d->out && d->other)
		return d;
	free_desk(d);
	return NULL;
}

static void give_back(struct ckpt_pack *p, struct desk *d)
{
	pthread_mutex_lock(&p->lock);
	d->next = p->free;
	p->free = d;
	pthread_mutex_unlock(&p->lock);
}

/* Under the lock: the entry of CHUNK, NULL without memory. */
static struct entry *entry_of(struct ckpt_pack *p, uint64_t chunk)
{
	if (chunk >= p->room) {
		uint64_t room = 2 * p->room > chunk ? 2 * p->room : chunk + 64;
		struct entry *bigger = realloc(p->entry, room * sizeof(*bigger));

		if (!bigger)
			return NULL;
		memset(bigger + p->room, 0, (room - p->room) * sizeof(*bigger));
		p->entry = bigger;
		p->room = room;
	}
	if (chunk >= p->n)
		p->n = chunk + 1;
	return &p->entry[chunk];
}

static int write_at(const struct ckpt_pack *p, const void *data, size_t len, uint64_t offset,
		    struct ckpt_err *err)
{
	for (size_t done = 0; done < len;) {
		ssize_t n =
			pwrite(p->opts.fd, (const char *)data + done, len - done, offset + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ckpt_image_write_error(err, n ? -errno : -EIO, p->opts.dir,
						      CKPT_PAGES_NAME);
		done += n;
	}
	return 0;
}

static bool same_bytes(const struct ckpt_pack *p, uint64_t offset, const void *data, size_t len,
		       void *buf)
{
	return pread(p->opts.fd, buf, len, offset) == (ssize_t)len && !memcmp(buf, data, len);
}

/* Looks for one that is the same. True: AT is its place. */
static bool find_twin(struct ckpt_pack *p, uint32_t crc, const void *data, struct ckpt_stored *at,
		      void *buf)
{
	uint64_t next, tries = 0;

	pthread_mutex_lock(&p->lock);
	next = p->bucket[crc % BUCKETS];
	while (next && tries < BUCKETS) {
		struct entry e = p->entry[next - 1];

		next = e.next;
		if (e.crc != crc || e.at.length != at->length || e.at.method != at->method)
			continue;
		pthread_mutex_unlock(&p->lock);
		if (same_bytes(p, e.at.offset, data, at->length, buf)) {
			at->offset = e.at.offset;
			return true;
		}
		pthread_mutex_lock(&p->lock);
		/* What was next may be another list by now: one that is stored twice is no harm. */
		tries = BUCKETS;
	}
	pthread_mutex_unlock(&p->lock);
	return false;
}

static int into_file(struct ckpt_pack *p, struct ckpt_stored *at, uint32_t crc, const void *data,
		     void *buf, struct ckpt_err *err)
{
	if (!at->length || find_twin(p, crc, data, at, buf))
		return 0;
	pthread_mutex_lock(&p->lock);
	at->offset = p->size;
	p->size += at->length;
	pthread_mutex_unlock(&p->lock);
	return write_at(p, data, at->length, at->offset, err);
}

/* It is where AT says. */
static int publish(struct ckpt_pack *p, uint64_t chunk, const struct ckpt_stored *at, uint32_t crc)
{
	struct entry *e;

	pthread_mutex_lock(&p->lock);
	e = entry_of(p, chunk);
	if (e) {
		bool listed = e->put && e->at.length;

		e->at = *at;
		if (at->length && !listed) {
			e->next = p->bucket[crc % BUCKETS];
			p->bucket[crc % BUCKETS] = chunk + 1;
		}
		e->crc = crc;
		e->put = true;
	}
	pthread_mutex_unlock(&p->lock);
	return e ? 0 : -ENOMEM;
}

static bool is_put(struct ckpt_pack *p, uint64_t chunk, uint32_t crc)
{
	bool put;

	pthread_mutex_lock(&p->lock);
	put = chunk < p->n && p->entry[chunk].put && p->entry[chunk].crc == crc;
	pthread_mutex_unlock(&p->lock);
	return put;
}

static int store(struct ckpt_pack *p, struct desk *d, uint64_t chunk, const void *data, size_t len,
		 uint32_t crc, struct ckpt_err *err)
{
	struct ckpt_stored at = { .method = CKPT__CHUNKS__METHOD__ZERO };
	int r;

	if (!ckpt_all_zero(data, len)) {
		size_t n = ckpt_compress(&d->codec, &p->opts.how, data, len, d->out);

		at.method = n ? p->opts.how.method : CKPT__CHUNKS__METHOD__PLAIN;
		at.length = n ? n : len;
		at.crc = n ? ckpt_crc32c(0, d->out, n) : crc;
		data = n ? d->out : data;
	}
	if (p->opts.stream)
		r = ckpt_stream_put_chunk(p->opts.stream, chunk, &at, data, len, crc, err);
	else
		r = into_file(p, &at, crc, data, d->other, err);
	if (r >= 0)
		r = publish(p, chunk, &at, crc);
	return r == -ENOMEM ? ckpt_fail(err, r, "%s: cannot write", p->opts.dir) : r;
}

int ckpt_pack_put(struct ckpt_pack *p, uint64_t chunk, const void *data, size_t len, uint32_t crc,
		  struct ckpt_err *err)
{
	struct desk *d;
	int r;

	if (is_put(p, chunk, crc))
		return 0;
	d = take_desk(p);
	if (!d)
		return ckpt_fail(err, -ENOMEM, "%s: cannot write", p->opts.dir);
	r = store(p, d, chunk, data, len, crc, err);
	give_back(p, d);
	return r;
}

uint64_t ckpt_pack_size(const struct ckpt_pack *p)
{
	return p->size;
}

struct ckpt_stored ckpt_pack_stored(const struct ckpt_pack *p, uint64_t chunk)
{
	return chunk < p->n ? p->entry[chunk].at : (struct ckpt_stored){ 0 };
}

int ckpt_pack_put_from(struct ckpt_pack *p, uint64_t chunk, const struct ckpt_pages_files *files,
		       uint64_t size, uint32_t crc, unsigned char *buf, struct ckpt_err *err)
{
	uint64_t at = chunk * CKPT_CHUNK;
	size_t len = size - at < CKPT_CHUNK ? size - at : CKPT_CHUNK;
	int fd = ckpt_pages_at(files, &at);
	ssize_t n = ckpt_pread(fd, buf, len, at);

	if (n < 0)
		return ckpt_fail(err, n, "image: cannot read pages");
	memset(buf + n, 0, len - n);
	return ckpt_pack_put(p, chunk, buf, len, crc, err);
}

/* ---- whole files ---- */

struct packing {
	struct ckpt_pack *pack;
	const struct ckpt_pages_files *files;
	uint64_t size;
	const uint32_t *crc;
	uint64_t next; /* atomic */
	bool failed;   /* atomic */
	pthread_mutex_t lock;
	struct ckpt_err err; /* the first one */
};

static int put_from(struct packing *f, uint64_t chunk, unsigned char *buf, struct ckpt_err *err)
{
	const struct ckpt_pack_opts *opts = &f->pack->opts;
	int r = opts->go_on ? opts->go_on(opts->go_on_arg, err) : 0;

	if (r < 0 || is_put(f->pack, chunk, f->crc[chunk]))
		return r;
	return ckpt_pack_put_from(f->pack, chunk, f->files, f->size, f->crc[chunk], buf, err);
}

static void *work(void *arg)
{
	struct packing *f = arg;
	struct ckpt_err err = CKPT_ERR_INIT;
	CKPT_FREE unsigned char *buf = malloc(CKPT_CHUNK);
	uint64_t chunk, n = (f->size + CKPT_CHUNK - 1) / CKPT_CHUNK;
	int r = buf ? 0 : ckpt_fail(&err, -ENOMEM, "image: cannot read pages");

	while (r >= 0 && !__atomic_load_n(&f->failed, __ATOMIC_RELAXED) &&
	       (chunk = __atomic_fetch_add(&f->next, 1, __ATOMIC_RELAXED)) < n) {
		r = put_from(f, chunk, buf, &err);
		ckpt_progress_add(f->pack->opts.progress, CKPT_CHUNK);
	}
	if (r >= 0)
		return NULL;
	pthread_mutex_lock(&f->lock);
	if (!f->failed)
		f->err = err;
	__atomic_store_n(&f->failed, true, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

unsigned int ckpt_pack_threads(uint64_t n_chunks)
{
	unsigned int n = ckpt_processors();

	n = n > THREADS_MAX ? THREADS_MAX : n;
	return n_chunks < n ? (n_chunks ? n_chunks : 1) : n;
}

int ckpt_pack_files(struct ckpt_pack *p, const struct ckpt_pages_files *files, uint64_t size,
		    const uint32_t *crc, struct ckpt_err *err)
{
	struct packing f = { p, files, size, crc, .lock = PTHREAD_MUTEX_INITIALIZER };
	unsigned int most = ckpt_pack_threads((size + CKPT_CHUNK - 1) / CKPT_CHUNK), n = 0;
	pthread_t thread[THREADS_MAX];

	ckpt_progress_begin(p->opts.progress, p->opts.stream ? "sending" : "packing", size);
	/* This one works too; where no more can be had it works alone. */
	while (n + 1 < most && pthread_create(&thread[n], NULL, work, &f) == 0)
		n++;
	work(&f);
	while (n)
		pthread_join(thread[--n], NULL);
	if (f.failed)
		*err = f.err;
	return f.failed ? err->code : 0;
}
