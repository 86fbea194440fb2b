/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a stream, which anybody may have made: every length is bounded before anything is made of
 * it, every content compared with its checksum. What came is an image like another only after that.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/progress.h"
#include "engine/store/image.h"
#include "engine/store/record.h"
#include "engine/store/scratch.h"
#include "engine/store/stream.h"
#include "engine/store/temp.h"

#define CHUNKS_MAX (CKPT_RECORD_MAX / 4) /* more do not fit in a record of checksums */
#define WAIT_MS 100
#define LOOK_EVERY (64u << 20) /* bytes, at the memory that is left */

struct receiving {
	struct ckpt_received *got;
	int fd;
	const char *name;
	const struct ckpt_receive_opts *opts;
	struct ckpt_codec codec;
	unsigned char *in, *out; /* CKPT_CHUNK each */
	uint64_t n_frames, kept;
	uint32_t sum;
	struct ckpt_err *err;
};

static int damaged(const struct receiving *r, const char *what)
{
	return ckpt_refuse(r->err, CKPT_E_IMAGE_DAMAGED, -EBADMSG, "%s: frame %llu: %s", r->name,
			   (unsigned long long)r->n_frames, what);
}

/* Until there is something, if somebody wants to look around meanwhile. */
static int await(struct receiving *r)
{
	struct pollfd there = { .fd = r->fd, .events = POLLIN };
	int n = 0;

	while (r->opts->go_on && n >= 0 && poll(&there, 1, WAIT_MS) <= 0)
		n = r->opts->go_on(r->opts->go_on_arg, r->err);
	return n;
}

static int read_all(struct receiving *r, void *buf, size_t len)
{
	for (size_t done = 0; done < len;) {
		int waited = await(r);
		ssize_t n = waited < 0 ? 0 : read(r->fd, (char *)buf + done, len - done);

		if (waited < 0)
			return waited;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != ECONNRESET)
			return ckpt_refuse(r->err, CKPT_E_STREAM_CUT, -errno, "%s: cannot read: %s",
					   r->name, strerrordesc_np(errno));
		if (n <= 0)
			return ckpt_refuse(
				r->err, CKPT_E_STREAM_CUT, -EBADMSG,
				"%s: it ends after %llu bytes, in the middle of the image", r->name,
				(unsigned long long)r->got->bytes);
		done += n;
		r->got->bytes += n;
		ckpt_progress_add(r->opts->progress, n);
	}
	return 0;
}

static int cannot_keep(const struct receiving *r, int fd, int code)
{
	if (r->opts->into)
		return ckpt_image_write_error(r->err, code, r->opts->into->dir,
					      fd == r->got->image_fd ? CKPT_IMAGE_NAME :
								       CKPT_PAGES_NAME);
	return ckpt_fail(r->err, code, "%s: cannot keep what comes", r->name);
}

static int write_at(const struct receiving *r, int fd, const void *data, size_t len, uint64_t at)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pwrite(fd, (const char *)data + done, len - done, at + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return cannot_keep(r, fd, n ? -errno : -EIO);
		done += n;
	}
	return 0;
}

static int check_header(struct receiving *r)
{
	struct ckpt_image_header head;
	int n = read_all(r, &head, sizeof(head));

	if (n < 0 && r->got->bytes)
		return n;
	if (n < 0 || memcmp(head.magic, CKPT_STREAM_MAGIC, 8)) {
		*r->err = (struct ckpt_err)CKPT_ERR_INIT;
		return ckpt_refuse(r->err, CKPT_E_IMAGE_FOREIGN, -EBADMSG, "%s: %s", r->name,
				   n < 0 ? "nothing came" : "not an image of ckpt");
	}
	if (ckpt_crc32c(0, &head, offsetof(struct ckpt_image_header, crc)) != head.crc)
		return damaged(r, "the header before it: checksum does not match");
	if (head.format > CKPT_STREAM_FORMAT)
		return ckpt_refuse(r->err, CKPT_E_IMAGE_NEWER, -EBADMSG,
				   "%s: format %u is newer than %d", r->name, head.format,
				   CKPT_STREAM_FORMAT);
	return head.format ? 0 : damaged(r, "the header before it: format 0");
}

/* The content of a frame, in R->out. */
static int unpack(struct receiving *r, const struct ckpt_frame *f)
{
	if (f->raw > CKPT_CHUNK || !f->raw)
		return damaged(r, "its length is impossible");
	if (!ckpt_decompress(&r->codec, f->method, r->in, f->length, r->out, f->raw))
		return damaged(r, "it cannot be decompressed");
	if (ckpt_crc32c(0, r->out, f->raw) != f->sum)
		return damaged(r, "checksum of what is in it does not match");
	return 0;
}

static int grow(struct receiving *r, uint64_t n)
{
	struct ckpt_received *got = r->got;
	uint64_t room = 2 * got->room > n ? 2 * got->room : n + 1023;
	uint32_t *crc;
	bool *there;

	if (n <= got->room)
		return 0;
	crc = realloc(got->crc, room * sizeof(*crc));
	got->crc = crc ? crc : got->crc;
	there = crc ? realloc(got->there, room * sizeof(*there)) : NULL;
	if (!there)
		return ckpt_fail(r->err, -ENOMEM, "%s: cannot keep what comes", r->name);
	got->there = there;
	memset(there + got->room, 0, (room - got->room) * sizeof(*there));
	got->room = room;
	return 0;
}

static int keep_chunk(struct receiving *r, const struct ckpt_frame *f)
{
	bool again = r->got->there[f->at];

	if (!r->opts->keep || (!again && ckpt_all_zero(r->out, f->raw)))
		return 0;
	if (!r->opts->into && r->kept / LOOK_EVERY != (r->kept + f->raw) / LOOK_EVERY &&
	    !ckpt_scratch_fits(LOOK_EVERY))
		return ckpt_refuse(r->err, CKPT_E_NO_UNPACK_ROOM, -ENOSPC,
				   "%s: no memory is left after %llu MiB of pages", r->name,
				   (unsigned long long)r->kept >> 20);
	r->kept += f->raw;
	return write_at(r, r->got->pages_fd, r->out, f->raw, f->at * CKPT_CHUNK);
}

static int take_chunk(struct receiving *r, const struct ckpt_frame *f)
{
	int n;

	if (f->at >= CHUNKS_MAX || f->raw % CKPT_PAGE)
		return damaged(r, "its number is impossible");
	if (r->opts->wanted && !r->opts->wanted(r->opts->wanted_arg, f->at, f->sum))
		return damaged(r, "it is not what was asked for");
	n = unpack(r, f);
	if (n >= 0)
		n = grow(r, f->at + 1);
	if (n >= 0)
		n = keep_chunk(r, f);
	if (n < 0)
		return n;
	r->got->crc[f->at] = f->sum;
	r->got->there[f->at] = true;
	if (f->at >= r->got->n)
		r->got->n = f->at + 1;
	return 0;
}

static int take_image(struct receiving *r, const struct ckpt_frame *f)
{
	int n;

	if (f->at != r->got->image_size)
		return damaged(r, "it is not in its order");
	n = unpack(r, f);
	if (n >= 0)
		n = write_at(r, r->got->image_fd, r->out, f->raw, f->at);
	r->got->image_size += f->raw;
	return n;
}

/* Nothing may follow; and the writer has something to do yet before it closes. */
static int take_end(struct receiving *r, const struct ckpt_frame *f)
{
	char more;
	ssize_t n;

	if (f->at != r->n_frames - 1 || f->sum != r->sum || f->length || f->raw)
		return damaged(r, "frames are missing, or not in their order");
	if (r->opts->more)
		return 1;
	do
		n = read(r->fd, &more, 1);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return ckpt_fail(r->err, -errno, "%s: cannot read", r->name);
	return n ? damaged(r, "bytes follow the end") : 1;
}

/* One frame, with what follows in R->in. */
static int read_frame(struct receiving *r, struct ckpt_frame *f)
{
	int n = read_all(r, f, sizeof(*f));

	r->n_frames++;
	if (n >= 0 && f->length > CKPT_CHUNK)
		return damaged(r, "its length is impossible");
	if (n >= 0)
		n = read_all(r, r->in, f->length);
	if (n >= 0 && ckpt_frame_check(f, r->in) != f->check)
		return damaged(r, "checksum does not match");
	return n;
}

/* 1: that was the last one. */
static int take_frame(struct receiving *r)
{
	struct ckpt_frame f;
	int n = read_frame(r, &f);

	if (n < 0)
		return n;
	if (f.type == CKPT_FRAME_END)
		return take_end(r, &f);
	r->sum = ckpt_crc32c(r->sum, &f.check, sizeof(f.check));
	if (f.type == CKPT_FRAME_CHUNK)
		return take_chunk(r, &f);
	if (f.type == CKPT_FRAME_IMAGE)
		return take_image(r, &f);
	return ckpt_refuse(r->err, CKPT_E_IMAGE_NEWER, -EBADMSG,
			   "%s: frame %llu: it is of an unknown type", r->name,
			   (unsigned long long)r->n_frames);
}

int ckpt_stream_receive(struct ckpt_received *got, int fd, const char *name,
			const struct ckpt_receive_opts *opts, struct ckpt_err *err)
{
	CKPT_FREE unsigned char *in = malloc(CKPT_CHUNK);
	CKPT_FREE unsigned char *out = malloc(CKPT_CHUNK);
	struct receiving r = { got, fd, name, opts, .in = in, .out = out, .err = err };
	int n;

	*got = (struct ckpt_received){
		.image_fd = opts->into ? fcntl(opts->into->image.fd, F_DUPFD_CLOEXEC, 3) :
					 memfd_create("ckpt-image", MFD_CLOEXEC),
		.pages_fd = -1,
	};
	if (opts->keep)
		got->pages_fd = opts->into ? fcntl(opts->into->pages[0].fd, F_DUPFD_CLOEXEC, 3) :
					     memfd_create("ckpt-pages", MFD_CLOEXEC);
	if (!in || !out || got->image_fd < 0 || (opts->keep && got->pages_fd < 0))
		return ckpt_fail(err, -ENOMEM, "%s: cannot keep what comes", name);
	ckpt_progress_begin(opts->progress, "receiving", 0);
	n = check_header(&r);
	while (n == 0)
		n = take_frame(&r);
	ckpt_codec_close(&r.codec);
	return n < 0 ? n : 0;
}

/* ---- chunks that are asked for ---- */

struct ckpt_stream_in {
	struct receiving r;
	bool begun;
};

struct ckpt_stream_in *ckpt_stream_in_open(struct ckpt_received *got, int fd, const char *name,
					   const struct ckpt_receive_opts *opts,
					   struct ckpt_err *err)
{
	struct ckpt_stream_in *s = calloc(1, sizeof(*s));

	if (s) {
		s->r = (struct receiving){ got, fd, name, opts, .in = malloc(CKPT_CHUNK) };
		s->r.out = malloc(CKPT_CHUNK);
		if (s->r.in && s->r.out)
			return s;
	}
	ckpt_stream_in_close(s);
	ckpt_fail(err, -ENOMEM, "%s: cannot keep what comes", name);
	return NULL;
}

int ckpt_stream_in_next(struct ckpt_stream_in *s, uint64_t *chunkp, struct ckpt_err *err)
{
	struct ckpt_frame f;
	int n;

	s->r.err = err;
	n = s->begun ? 0 : check_header(&s->r);
	s->begun = true;
	if (n >= 0)
		n = read_frame(&s->r, &f);
	if (n < 0)
		return n;
	if (f.type == CKPT_FRAME_GO)
		return 1;
	if (f.type != CKPT_FRAME_CHUNK)
		return damaged(&s->r, "it is not what was asked for");
	*chunkp = f.at;
	return take_chunk(&s->r, &f);
}

void ckpt_stream_in_close(struct ckpt_stream_in *s)
{
	if (!s)
		return;
	ckpt_codec_close(&s->r.codec);
	free(s->r.in);
	free(s->r.out);
	free(s);
}

/* ---- */

void ckpt_received_close(struct ckpt_received *got)
{
	ckpt_close_fd(&got->image_fd);
	ckpt_close_fd(&got->pages_fd);
	got->image_fd = got->pages_fd = -1;
	free(got->crc);
	free(got->there);
	got->crc = NULL;
	got->there = NULL;
}

static uint32_t crc_of_zeroes(uint64_t len)
{
	static const char zeroes[CKPT_PAGE];
	uint32_t crc = 0;

	for (; len; len -= CKPT_PAGE)
		crc = ckpt_crc32c(crc, zeroes, CKPT_PAGE);
	return crc;
}

int ckpt_received_compare(struct ckpt_received *got, const char *name, uint64_t size,
			  const uint32_t *crc, struct ckpt_err *err)
{
	uint64_t n = (size + CKPT_CHUNK - 1) / CKPT_CHUNK, bad = 0;
	uint32_t whole = crc_of_zeroes(CKPT_CHUNK);

	if (got->n > n)
		return ckpt_refuse(err, CKPT_E_IMAGE_DAMAGED, -EBADMSG,
				   "%s: it has %llu chunks of pages, %llu are too many", name,
				   (unsigned long long)got->n, (unsigned long long)(got->n - n));
	for (; bad < n; bad++) {
		uint64_t len = size - bad * CKPT_CHUNK;
		bool there = bad < got->n && got->there[bad];
		uint32_t is = there             ? got->crc[bad] :
			      len >= CKPT_CHUNK ? whole :
						  crc_of_zeroes(len);

		if (is != crc[bad])
			return ckpt_refuse(err, CKPT_E_IMAGE_DAMAGED, -EBADMSG,
					   "%s: chunk %llu: checksum does not match", name,
					   (unsigned long long)bad);
	}
	if (got->pages_fd >= 0 && ftruncate(got->pages_fd, size) < 0)
		return ckpt_fail(err, -errno, "%s: cannot keep what comes", name);
	return 0;
}
