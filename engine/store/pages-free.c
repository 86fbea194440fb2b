/* SPDX-License-Identifier: Apache-2.0 */
/* Who has a file alone is told by a lease on it, which the kernel grants to nobody else. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/store/image-inside.h"
#include "engine/store/pages-files.h"
#include "engine/store/pages-free.h"
#include "engine/store/record.h"
#include "engine/store/unpack.h"

/* ---- open ---- */

/* OURS: that of the image, for reading only. */
static int open_one(const struct ckpt_image *img, size_t i, int ours, struct ckpt_err *err)
{
	const char *name = ckpt_pages_name(i);
	CKPT_FD fd =
		openat(img->dirfd, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat a, b;

	if (fd < 0)
		return ckpt_image_write_error(err, -errno, img->dir, name);
	if (fstat(fd, &a) < 0 || fstat(ours, &b) < 0 || a.st_dev != b.st_dev ||
	    a.st_ino != b.st_ino)
		return ckpt_refuse(err, CKPT_E_IMAGE_IN_USE, -EBUSY, "%s/%s: it changes", img->dir,
				   name);
	/* In its place: it counts as somebody who reads. */
	if (dup3(fd, ours, O_CLOEXEC) < 0)
		return ckpt_fail(err, -errno, "%s/%s: cannot open", img->dir, name);
	return ckpt_take_fd(&fd);
}

int ckpt_free_open(const struct ckpt_image *img, struct ckpt_pages_files *own, struct ckpt_err *err)
{
	const struct ckpt_pages_files packed = { 1, { { 0, img->packed_fd } } },
				      *files = img->stored ? &packed : &img->files;

	for (own->n = 0; own->n < files->n; own->n++) {
		const struct ckpt_pages_part *part = &files->part[own->n];
		int fd = open_one(img, own->n, part->fd, err);

		if (fd < 0)
			return fd;
		own->part[own->n] = (struct ckpt_pages_part){ part->base, fd };
	}
	return 0;
}

void ckpt_free_close(const struct ckpt_pages_files *own)
{
	for (size_t i = 0; i < own->n; i++)
		close(own->part[i].fd);
}

/* ---- nobody else has it ---- */

/* 1: nobody has it open, or mapped; 0: somebody; -1: that cannot be told here. */
static int is_alone(int fd)
{
	/* Who opens it in this moment has a signal sent to us. One that nobody dies of. */
	if (fcntl(fd, F_SETSIG, SIGURG) < 0)
		return -1;
	if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
		return errno == EAGAIN ? 0 : -1;
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return 1;
}

/* Where it could be restored, what is read of it would be wrong; else only checksums would. */
static int check_one(const struct ckpt_image *img, size_t i, int fd, bool usable,
		     struct ckpt_err *err)
{
	const char *name = ckpt_pages_name(i);
	int alone = is_alone(fd);

	if (alone > 0 || (alone < 0 && !usable))
		return 0;
	if (alone < 0)
		return ckpt_refuse(
			err, CKPT_E_CANNOT_FREE, -EOPNOTSUPP, "%s/%s: %s", img->dir, name,
			errno == EACCES ?
				"only its owner is told whether somebody reads it" :
				"this file system does not tell whether somebody reads it");
	return ckpt_refuse(err, CKPT_E_IMAGE_IN_USE, -EBUSY,
			   "%s/%s: somebody has it open, or mapped", img->dir, name);
}

int ckpt_free_check(const struct ckpt_image *img, const struct ckpt_pages_files *own, bool usable,
		    struct ckpt_err *err)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < own->n; i++)
		r = check_one(img, i, own->part[i].fd, usable, err);
	return r;
}

/* ---- freeing ---- */

static int punch(const struct ckpt_image *img, const struct ckpt_pages_files *own, uint64_t from,
		 uint64_t to, struct ckpt_err *err)
{
	const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	while (from < to) {
		uint64_t end;
		const struct ckpt_pages_part *part =
			ckpt_pages_part_of(own->part, own->n, from, &end);

		end = end < to ? end : to;
		if (fallocate(part->fd, mode, from - part->base, end - from) == 0)
			from = end;
		else if (errno != EINTR)
			return ckpt_image_write_error(err, -errno, img->dir,
						      ckpt_pages_name(part - own->part));
	}
	return 0;
}

static int free_pages(const struct ckpt_image *img, const struct ckpt_given_up *g,
		      const struct ckpt_pages_files *own, struct ckpt_err *err)
{
	uint64_t n = img->pages_size / CKPT_PAGE, page = 0;
	int r = 0;

	while (r >= 0 && page < n) {
		uint64_t first;

		while (page < n && !ckpt_bit(g->page, page))
			page++;
		first = page;
		while (page < n && ckpt_bit(g->page, page))
			page++;
		r = punch(img, own, first * CKPT_PAGE, page * CKPT_PAGE, err);
	}
	return r;
}

struct span {
	uint64_t from, to;
};

static int by_start(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	return (x->from > y->from) - (x->from < y->from);
}

/* All that is between chunks that are still there: one that is stored once may be several. */
static int free_packed(const struct ckpt_image *img, const struct ckpt_given_up *g,
		       const struct ckpt_pages_files *own, struct ckpt_arena *arena,
		       struct ckpt_err *err)
{
	struct span *kept = ckpt_alloc(arena, (img->n_stored + 1) * sizeof(*kept));
	uint64_t at = 0;
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < img->n_stored; i++) {
		const struct ckpt_stored *s = &img->stored[i];

		if (s->length && !ckpt_bit(g->page, i * CKPT_CHUNK_PAGES))
			kept[n++] = (struct span){ s->offset, s->offset + s->length };
	}
	qsort(kept, n, sizeof(*kept), by_start);
	for (size_t i = 0; r >= 0 && i < n; i++) {
		r = punch(img, own, at, kept[i].from, err);
		at = at > kept[i].to ? at : kept[i].to;
	}
	return r < 0 ? r : punch(img, own, at, img->packed_size, err);
}

static uint64_t on_disk(const struct ckpt_pages_files *own)
{
	uint64_t bytes = 0;
	struct stat st;

	for (size_t i = 0; i < own->n; i++)
		bytes += fstat(own->part[i].fd, &st) < 0 ? 0 : st.st_blocks * 512ull;
	return bytes;
}

int ckpt_free_given_up(const struct ckpt_image *img, const struct ckpt_pages_files *own,
		       const struct ckpt_given_up *g, struct ckpt_arena *arena, uint64_t *freedp,
		       struct ckpt_err *err)
{
	uint64_t before = on_disk(own);
	int r = img->stored ? free_packed(img, g, own, arena, err) : free_pages(img, g, own, err);

	*freedp = before - on_disk(own);
	return r;
}
