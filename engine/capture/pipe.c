/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tee(2) copies a pipe into a private one, which is then read. A packet ends a read early, plain
 * bytes do not: a byte put behind the copy tells one packet from a run of bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/capture/pipe.h"

#define MAX_CAPACITY (1u << 31)
#define MIXED "it holds packets and plain bytes at once"

static bool has_peer(int fd, uint32_t flags)
{
	struct pollfd p = { .fd = fd };

	return (flags & O_ACCMODE) == O_RDWR || poll(&p, 1, 0) < 0 ||
	       !(p.revents & (POLLHUP | POLLERR));
}

/* A slot more than the original, for the byte behind; ordinary users may be refused that. */
static int open_private(uint32_t capacity, int end[2], struct ckpt_err *err)
{
	if (pipe2(end, O_CLOEXEC | O_NONBLOCK) < 0)
		return ckpt_fail(err, -errno, "cannot create a pipe to copy it to");
	if (fcntl(end[1], F_SETPIPE_SZ,
		  2 * (uint64_t)capacity > INT_MAX ? capacity : 2 * capacity) < 0 &&
	    fcntl(end[1], F_SETPIPE_SZ, capacity) < 0)
		return ckpt_fail(err, -errno, "cannot create a pipe of %u bytes to copy it to",
				 capacity);
	return 0;
}

/* COPY holds N bytes and, if BEHIND, one more. */
static int take_apart(struct ckpt_arena *arena, int copy, size_t n, bool behind, uint32_t flags,
		      struct ckpt_pipe *pipe, struct ckpt_err *err)
{
	uint8_t *buf = ckpt_alloc(arena, n + 1);
	size_t at = 0, room = 0;
	ssize_t last = 0;

	while (at < n + behind) {
		last = read(copy, buf + at, n + 1 - at);
		if (last <= 0)
			return ckpt_fail(err, last < 0 ? -errno : -EIO, "cannot read the copy");
		if (pipe->n_data == room) {
			ProtobufCBinaryData *more =
				ckpt_alloc(arena, (room = 2 * room + 1) * sizeof(*more));

			for (size_t i = 0; i < pipe->n_data; i++)
				more[i] = pipe->data[i];
			pipe->data = more;
		}
		pipe->data[pipe->n_data++] = (ProtobufCBinaryData){ last, buf + at };
		at += last;
	}
	pipe->packets = behind ? last == 1 : pipe->n_data > 1 || flags & O_DIRECT;
	if (!pipe->packets && pipe->n_data > 1)
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP, MIXED);
	if (behind && pipe->packets)
		pipe->n_data--;
	else if (behind)
		pipe->data[0].len--;
	for (size_t i = 0; pipe->packets && i < pipe->n_data; i++)
		if (pipe->data[i].len > PIPE_BUF)
			return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP, MIXED);
	return 0;
}

static int peek_data(struct ckpt_arena *arena, int fd, uint32_t flags, size_t n,
		     struct ckpt_pipe *pipe, struct ckpt_err *err)
{
	int end[2] = { -1, -1 }, r = open_private(pipe->capacity, end, err);
	CKPT_FD out = end[0];
	CKPT_FD in = end[1];
	ssize_t copied;

	if (r < 0)
		return r;
	copied = tee(fd, in, n, SPLICE_F_NONBLOCK);
	if (copied != (ssize_t)n)
		return ckpt_fail(err, copied < 0 ? -errno : -EIO, "cannot copy the %zu bytes in it",
				 n);
	return take_apart(arena, out, n, write(in, "", 1) == 1, flags, pipe, err);
}

int ckpt_pipe_peek(struct ckpt_arena *arena, int fd, uint32_t flags, struct ckpt_pipe *pipe,
		   struct ckpt_err *err)
{
	int capacity = fcntl(fd, F_GETPIPE_SZ), n = 0;

	*pipe = (struct ckpt_pipe){ .capacity = capacity };
	if (capacity < 0)
		return ckpt_fail(err, -errno, "cannot ask for its capacity");
	pipe->peer_gone = !has_peer(fd, flags);
	if ((flags & O_ACCMODE) == O_WRONLY)
		return 0;
	if (ioctl(fd, FIONREAD, &n) < 0)
		return ckpt_fail(err, -errno, "cannot ask how much is in it");
	return n ? peek_data(arena, fd, flags, n, pipe, err) : 0;
}

bool ckpt_pipe_sane(const struct ckpt_pipe *pipe)
{
	uint64_t total = 0;

	if (!pipe->capacity || pipe->capacity > MAX_CAPACITY ||
	    (!pipe->packets && pipe->n_data > 1))
		return false;
	for (size_t i = 0; i < pipe->n_data; i++) {
		if (!pipe->data[i].len || (pipe->packets && pipe->data[i].len > PIPE_BUF))
			return false;
		total += pipe->data[i].len;
	}
	return total <= pipe->capacity;
}

static int set_capacity(int fd, uint32_t capacity, struct ckpt_err *err)
{
	if (fcntl(fd, F_GETPIPE_SZ) == (int)capacity || fcntl(fd, F_SETPIPE_SZ, capacity) >= 0)
		return 0;
	if (errno == EPERM)
		return ckpt_refuse(err, CKPT_E_PRIVILEGE, -EPERM,
				   "a capacity of %u bytes is more than this user may have "
				   "(/proc/sys/fs/pipe-max-size, pipe-user-pages-soft)",
				   capacity);
	return ckpt_fail(err, -errno, "cannot give it a capacity of %u bytes", capacity);
}

int ckpt_pipe_fill(int fd, const struct ckpt_pipe *pipe, struct ckpt_err *err)
{
	int r = set_capacity(fd, pipe->capacity, err), old = fcntl(fd, F_GETFL);

	if (r < 0 || !pipe->n_data)
		return r;
	if (fcntl(fd, F_SETFL, (old & ~O_DIRECT) | O_NONBLOCK | (pipe->packets ? O_DIRECT : 0)) < 0)
		return ckpt_fail(err, -errno, "cannot set its flags");
	for (size_t i = 0; i < pipe->n_data; i++) {
		ssize_t n = write(fd, pipe->data[i].data, pipe->data[i].len);

		if (n != (ssize_t)pipe->data[i].len)
			return ckpt_fail(err, n < 0 ? -errno : -ENOSPC,
					 "cannot put its %zu bytes back", pipe->data[i].len);
	}
	return fcntl(fd, F_SETFL, old) < 0 ? ckpt_fail(err, -errno, "cannot set its flags") : 0;
}
