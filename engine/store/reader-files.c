/* SPDX-License-Identifier: Apache-2.0 */
/* Opening the files of an image. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/store/image-inside.h"
#include "engine/store/pages-files.h"

#define LEASE_MS 200

char *ckpt_path_in(struct ckpt_arena *arena, const char *dir, const char *name)
{
	size_t size = strlen(dir) + strlen(name) + 2;
	char *path = ckpt_alloc(arena, size);

	snprintf(path, size, "%s/%s", dir, name);
	return path;
}

/* Not to hang at a FIFO that somebody put there: O_NONBLOCK. But then it does not wait for who
 * holds a lease for a moment, either. */
static int open_waiting(int dirfd, const char *name)
{
	int fd, tries = 0;

	while ((fd = openat(dirfd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)) < 0 &&
	       errno == EWOULDBLOCK && tries++ < LEASE_MS)
		usleep(1000);
	return fd;
}

int ckpt_image_open_file(int dirfd, const char *name, const char *path, uint64_t *sizep,
			 struct ckpt_err *err)
{
	CKPT_FD fd = open_waiting(dirfd, name);
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return ckpt_refuse(err, CKPT_E_NO_IMAGE, -ENOENT, "%s: no such file", path);
	if (fd < 0 || fstat(fd, &st) < 0)
		return ckpt_fail(err, -errno, "%s: cannot open", path);
	if (!S_ISREG(st.st_mode))
		return ckpt_refuse(err, CKPT_E_IMAGE_FOREIGN, -EBADMSG, "%s: not a regular file",
				   path);
	*sizep = st.st_size;
	return ckpt_take_fd(&fd);
}

/* ---- pages ---- */

static int open_sized(int dirfd, const char *name, const char *path, uint64_t was,
		      struct ckpt_err *err)
{
	uint64_t size;
	CKPT_FD fd = ckpt_image_open_file(dirfd, name, path, &size, err);

	if (fd < 0)
		return fd;
	if (size != was)
		return ckpt_refuse(err, CKPT_E_IMAGE_DAMAGED, -EBADMSG,
				   "%s: has %llu bytes, had %llu when it was written", path,
				   (unsigned long long)size, (unsigned long long)was);
	return ckpt_take_fd(&fd);
}

/* The I-th, which is -1 where it need not be there, and is not. */
static int open_pages_file(struct ckpt_image *img, size_t i, struct ckpt_err *err)
{
	const char *path = ckpt_path_in(img->arena, img->dir, ckpt_pages_name(i));
	uint64_t was = img->stored ? img->packed_size :
				     ckpt_pages_size(&img->files, i, img->pages_size);
	int r = open_sized(img->dirfd, ckpt_pages_name(i), path, was, err);

	if (r >= 0)
		img->files.part[i].fd = r;
	if (r != -ENOENT)
		return r;
	if (!i && (!was || (img->pages_at && img->away))) {
		*err = (struct ckpt_err)CKPT_ERR_INIT;
		return 0;
	}
	if (img->pages_at)
		return ckpt_refuse(err, CKPT_E_PAGES_AWAY, r,
				   "%s: missing: the dump sent the pages to the page server at %s",
				   path, img->pages_at);
	return ckpt_refuse(err, CKPT_E_IMAGE_DAMAGED, r, "%s: the file is missing", path);
}

int ckpt_image_open_pages(struct ckpt_image *img, struct ckpt_err *err)
{
	struct ckpt_pages_part *part = img->files.part;
	int r = open_pages_file(img, 0, err);

	if (img->stored)
		img->packed_fd = ckpt_take_fd(&part[0].fd);
	if (part[0].fd < 0)
		img->files.n = 0;
	for (size_t i = 1; r >= 0 && i < img->files.n; i++)
		r = open_pages_file(img, i, err);
	return r < 0 ? r : 0;
}

void ckpt_image_set_file(struct ckpt_image *img, int fd)
{
	img->files.n = fd >= 0;
	img->files.part[0] = (struct ckpt_pages_part){ 0, fd };
}

const char *ckpt_image_path_of(const struct ckpt_image *img, uint64_t *offsetp)
{
	const struct ckpt_pages_files *files = &img->files;
	const struct ckpt_pages_part *part;
	uint64_t end;

	if (files->n < 2)
		return img->pages_path;
	part = ckpt_pages_part_of(files->part, files->n, *offsetp, &end);
	*offsetp -= part->base;
	return ckpt_path_in(img->arena, img->dir, ckpt_pages_name(part - files->part));
}
