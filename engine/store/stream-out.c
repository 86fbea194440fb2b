/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a stream. The tree may stand while somebody else does not read: so no write(2) blocks,
 * and who waits looks around. A pipe is opened anew for that, since whether it blocks belongs to
 * all who have its end.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/clocks.h"
#include "engine/base/progress.h"
#include "engine/store/image.h"
#include "engine/store/record.h"
#include "engine/store/stream.h"

#define WAIT_MS 100
#define DRAIN_MS 2
#define PIPE_ROOM (1 << 20)
#define PIPE_PIECE 4096 /* what a pipe that is ready takes at once */

struct ckpt_stream_out {
	struct ckpt_stream_opts opts;
	int fd; /* ours */
	bool pipe, socket;
	size_t piece; /* of one write(2) at most */
	pthread_mutex_t lock;
	uint64_t n_frames, written;
	uint64_t waits_since; /* CLOCK_MONOTONIC; under LOCK, or by who ends it */
	uint32_t sum;         /* over their checks */
};

uint32_t ckpt_frame_check(const struct ckpt_frame *f, const void *data)
{
	uint32_t crc = ckpt_crc32c(0, &f->type, sizeof(*f) - offsetof(struct ckpt_frame, type));

	return ckpt_crc32c(crc, data, f->length);
}

static int write_error(const struct ckpt_stream_out *o, int code, struct ckpt_err *err)
{
	if (code == -EPIPE || code == -ECONNRESET)
		return ckpt_refuse(err, CKPT_E_STREAM_READER, code,
				   "%s: whoever reads the image went away before it had all of it",
				   o->opts.name);
	if (code == -ETIMEDOUT || code == -EHOSTUNREACH || code == -ENETUNREACH)
		return ckpt_refuse(err, CKPT_E_STREAM_READER, code,
				   "%s: whoever reads the image takes no more of it: %s",
				   o->opts.name, strerrordesc_np(-code));
	if (code == -ENOSPC || code == -EDQUOT || code == -EFBIG)
		return ckpt_refuse(err, CKPT_E_NO_SPACE, code, "%s: cannot write: %s", o->opts.name,
				   strerrordesc_np(-code));
	return ckpt_refuse(err, CKPT_E_STANDARD_OUTPUT, code, "%s: cannot write: %s", o->opts.name,
			   strerrordesc_np(-code));
}

static int go_on(const struct ckpt_stream_out *o, struct ckpt_err *err)
{
	uint64_t limit = o->opts.patience_s * 1000000000ull;

	if (limit && ckpt_now_ns() - o->waits_since > limit)
		return ckpt_refuse(err, CKPT_E_STREAM_READER, -ETIMEDOUT,
				   "%s: it takes no more of the image for %u s", o->opts.name,
				   o->opts.patience_s);
	ckpt_progress_add(o->opts.progress, 0);
	return o->opts.go_on ? o->opts.go_on(o->opts.go_on_arg, err) : 0;
}

static ssize_t write_some(const struct ckpt_stream_out *o, const void *data, size_t len)
{
	ssize_t n;

	len = len < o->piece ? len : o->piece;
	n = o->socket ? send(o->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL) :
			write(o->fd, data, len);
	return n < 0 ? -errno : n;
}

static int write_all(struct ckpt_stream_out *o, const void *data, size_t len, struct ckpt_err *err)
{
	struct pollfd ready = { .fd = o->fd, .events = POLLOUT };

	o->waits_since = ckpt_now_ns();
	for (size_t done = 0; done < len;) {
		int r = go_on(o, err);
		ssize_t n;

		if (r < 0)
			return r;
		if ((o->pipe || o->socket) && poll(&ready, 1, WAIT_MS) <= 0)
			continue;
		n = write_some(o, (const char *)data + done, len - done);
		if (n == -EAGAIN || n == -EINTR)
			continue;
		if (n <= 0)
			return write_error(o, n ? (int)n : -EIO, err);
		done += n;
		o->written += n;
		o->waits_since = ckpt_now_ns();
	}
	return 0;
}

static int put_header(struct ckpt_stream_out *o, struct ckpt_err *err)
{
	struct ckpt_image_header head = { CKPT_STREAM_MAGIC, CKPT_STREAM_FORMAT, 0 };

	head.crc = ckpt_crc32c(0, &head, offsetof(struct ckpt_image_header, crc));
	return write_all(o, &head, sizeof(head), err);
}

/* The header goes with the first one: a dump that has sent nothing may begin anew. */
static int put(struct ckpt_stream_out *o, struct ckpt_frame *f, const void *data,
	       struct ckpt_err *err)
{
	int r;

	f->check = ckpt_frame_check(f, data);
	pthread_mutex_lock(&o->lock);
	r = o->n_frames ? 0 : put_header(o, err);
	o->n_frames++;
	o->sum = ckpt_crc32c(o->sum, &f->check, sizeof(f->check));
	if (r >= 0)
		r = write_all(o, f, sizeof(*f), err);
	if (r >= 0)
		r = write_all(o, data, f->length, err);
	pthread_mutex_unlock(&o->lock);
	return r;
}

static void prepare_pipe(struct ckpt_stream_out *o)
{
	char path[32];
	int own;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", o->fd);
	own = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (own < 0) {
		o->piece = PIPE_PIECE;
		return;
	}
	close(o->fd);
	o->fd = own;
	fcntl(own, F_SETPIPE_SZ, PIPE_ROOM);
}

int ckpt_stream_open(struct ckpt_stream_out **op, const struct ckpt_stream_opts *opts,
		     struct ckpt_err *err)
{
	struct ckpt_stream_out *o = calloc(1, sizeof(*o));
	struct stat st;

	*op = o;
	if (!o)
		return ckpt_fail(err, -ENOMEM, "%s: cannot write", opts->name);
	o->opts = *opts;
	o->piece = CKPT_CHUNK;
	pthread_mutex_init(&o->lock, NULL);
	o->fd = fcntl(opts->fd, F_DUPFD_CLOEXEC, 3);
	if (o->fd < 0 || fstat(o->fd, &st) < 0)
		return ckpt_fail(err, -errno, "%s: cannot write", opts->name);
	o->pipe = S_ISFIFO(st.st_mode);
	o->socket = S_ISSOCK(st.st_mode);
	if (o->pipe)
		prepare_pipe(o);
	return 0;
}

void ckpt_stream_close(struct ckpt_stream_out *o)
{
	if (o && o->fd >= 0)
		close(o->fd);
	free(o);
}

int ckpt_stream_put_chunk(struct ckpt_stream_out *o, uint64_t chunk, const struct ckpt_stored *at,
			  const void *data, size_t raw, uint32_t sum, struct ckpt_err *err)
{
	struct ckpt_frame f = { .type = CKPT_FRAME_CHUNK,
				.at = chunk,
				.length = at->length,
				.raw = raw,
				.sum = sum,
				.method = at->method };

	return put(o, &f, data, err);
}

int ckpt_stream_put_go(struct ckpt_stream_out *o, struct ckpt_err *err)
{
	struct ckpt_frame f = { .type = CKPT_FRAME_GO };

	return put(o, &f, NULL, err);
}

int ckpt_stream_put_image(struct ckpt_stream_out *o, int fd, struct ckpt_err *err)
{
	CKPT_FREE unsigned char *buf = malloc(CKPT_CHUNK);
	struct ckpt_frame f = { .type = CKPT_FRAME_IMAGE, .method = CKPT__CHUNKS__METHOD__PLAIN };
	int r = buf ? 0 : ckpt_fail(err, -ENOMEM, "%s: cannot write", o->opts.name);

	while (r >= 0) {
		ssize_t n = pread(fd, buf, CKPT_CHUNK, f.at);

		if (n < 0)
			return ckpt_fail(err, -errno, "%s: cannot write", o->opts.name);
		if (!n)
			break;
		f.length = f.raw = n;
		f.sum = ckpt_crc32c(0, buf, n);
		r = put(o, &f, buf, err);
		f.at += n;
	}
	return r;
}

/* POLLERR: nobody reads it any more. */
static int drain(struct ckpt_stream_out *o, struct ckpt_err *err)
{
	int left, before = -1, r = 0;

	while (r >= 0 && ioctl(o->fd, FIONREAD, &left) == 0 && left) {
		struct pollfd gone = { .fd = o->fd };

		if (left != before)
			o->waits_since = ckpt_now_ns();
		before = left;
		if (poll(&gone, 1, DRAIN_MS) > 0 && gone.revents & POLLERR)
			return write_error(o, -EPIPE, err);
		r = go_on(o, err);
	}
	return r;
}

int ckpt_stream_end(struct ckpt_stream_out *o, struct ckpt_err *err)
{
	struct ckpt_frame f = { .type = CKPT_FRAME_END, .at = o->n_frames, .sum = o->sum };
	struct stat st;
	int r = put(o, &f, NULL, err);

	if (r < 0)
		return r;
	if (fstat(o->fd, &st) == 0 && S_ISREG(st.st_mode) && fdatasync(o->fd) < 0)
		return write_error(o, -errno, err);
	return o->pipe ? drain(o, err) : 0;
}

uint64_t ckpt_stream_written(const struct ckpt_stream_out *o)
{
	return o->written;
}
