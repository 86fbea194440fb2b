/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of what was listed: of tasks, of copies of them, of files, of what is mapped. */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/file.h"
#include "engine/memory/pages-work.h"

/* By its "mem", or by that of its copy, which shares pages with it. */
static bool is_shared(const struct ckpt_memory_part *p, uint64_t address)
{
	return ckpt_part_has_copy(p, address) ||
	       (p->n_shared && ckpt_span_has(p->shared, p->n_shared, address));
}

/* A range of pages that others may have too. */
static int read_shared(const struct ckpt_range *range, char *buf, struct ckpt_err *err)
{
	bool copied = ckpt_part_has_copy(range->part, range->at);
	int fd = copied ? range->part->copy_fd : range->part->fd;

	for (size_t done = 0; done < range->len;) {
		ssize_t n = pread(fd, buf + done, range->len - done, range->at + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ckpt_fail(err, n ? -errno : -EIO,
					 "process %d: memory at %llx: cannot read",
					 range->part->pid, (unsigned long long)(range->at + done));
		done += n;
	}
	return 0;
}

/* As many ranges of one task as follow each other, in one call. */
static int read_task(struct ckpt_memory_work *w, const struct ckpt_range *all, size_t n_all,
		     size_t *ip, char **bufp, struct ckpt_err *err)
{
	const struct ckpt_memory_part *part = all[*ip].part;
	struct iovec iov[CKPT_MAX_RANGES];
	size_t n = 0, len = 0;
	int r;

	for (; *ip < n_all; ++*ip) {
		const struct ckpt_range *range = &all[*ip];

		if (range->part != part || is_shared(part, range->at))
			break;
		iov[n++] = (struct iovec){ (void *)range->at, range->len };
		len += range->len;
	}
	r = w->src->ops->read_mem(w->src, part->pid, iov, n, *bufp, err);
	*bufp += len;
	return ckpt_in(err, r, "process %d", part->pid);
}

/* Behind the end of the file the page is filled with zeroes. */
static int read_file(const struct ckpt_range *range, char *buf, struct ckpt_err *err)
{
	bool stored = range->stored_in >= 0;
	int fd = stored ? range->stored_in : range->part->fd;
	uint64_t at = stored ? range->stored : range->at;
	ssize_t n = ckpt_pread(fd, buf, range->len, at);

	if (n < 0)
		return ckpt_fail(err, n, "content of a file: cannot read");
	memset(buf + n, 0, range->len - n);
	return 0;
}

/* Pieces are sorted by offset and hold every page of every run. */
static int read_mapped(struct ckpt_memory_work *w, const struct ckpt_range *range, char *buf,
		       struct ckpt_err *err)
{
	const struct ckpt_piece *p = range->part->piece, *stop = p + range->part->n_pieces;
	uint64_t at = range->at, end = range->at + range->len;

	for (; at < end; p++) {
		uint64_t p_end;
		struct iovec iov;
		int r;

		if (p == stop)
			return ckpt_fail(err, -EFAULT, "content of a mapped file: cannot read");
		p_end = p->offset + (p->end - p->start);
		if (p_end <= at)
			continue;
		iov.iov_base = (void *)(p->start + (at - p->offset));
		iov.iov_len = (p_end < end ? p_end : end) - at;
		r = w->src->ops->read_mem(w->src, p->pid, &iov, 1, buf, err);
		if (r < 0)
			return ckpt_in(err, r, "process %d: content of a mapped file", p->pid);
		at += iov.iov_len;
		buf += iov.iov_len;
	}
	return 0;
}

static int read_content(struct ckpt_memory_work *w, const struct ckpt_range *range, char *buf,
			struct ckpt_err *err)
{
	return range->part->sort == CKPT_PART_FILE ? read_file(range, buf, err) :
						     read_mapped(w, range, buf, err);
}

int ckpt_pages_read(struct ckpt_memory_work *w, const struct ckpt_memory_part *part, uint64_t at,
		    size_t len, char *buf, struct ckpt_err *err)
{
	return read_content(w, &(struct ckpt_range){ part, at, len, -1, 0 }, buf, err);
}

int ckpt_ranges_read(struct ckpt_memory_work *w, const struct ckpt_range *all, size_t n, char *buf,
		     struct ckpt_err *err)
{
	size_t i = 0;
	int r = 0;

	while (r >= 0 && i < n) {
		const struct ckpt_range *range = &all[i];

		if (range->part->sort == CKPT_PART_TASK && !is_shared(range->part, range->at)) {
			r = read_task(w, all, n, &i, &buf, err);
			continue;
		}
		if (range->part->sort == CKPT_PART_TASK)
			r = read_shared(range, buf, err);
		else
			r = read_content(w, range, buf, err);
		buf += range->len;
		i++;
	}
	return r;
}
