/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Temporary files become an image: what makes them one is the last rename. Up to there every
 * failure, and every kill, leaves a folder without one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/file.h"
#include "engine/store/image.h"
#include "engine/store/pages-files.h"
#include "engine/store/record.h"
#include "engine/store/temp.h"

static int refuse_one(int dirfd, const char *dir, const char *name, struct ckpt_err *err)
{
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return ckpt_refuse(err, CKPT_E_IMAGE_EXISTS, -EEXIST,
				   "%s/%s: cannot write: it is there already", dir, name);
	return errno == ENOENT ? 0 : ckpt_image_write_error(err, -errno, dir, name);
}

static int refuse_existing(int dirfd, const char *dir, struct ckpt_err *err)
{
	int r = refuse_one(dirfd, dir, CKPT_IMAGE_NAME, err);

	for (size_t i = 0; r >= 0 && i < CKPT_PAGES_FILES; i++)
		r = refuse_one(dirfd, dir, ckpt_pages_name(i), err);
	return r;
}

int ckpt_temp_begin(struct ckpt_temp *temp, int dirfd, const char *dir, struct ckpt_err *err)
{
	int r;

	ckpt_temp_sweep(dirfd);
	r = refuse_existing(dirfd, dir, err);
	return r < 0 ? r : ckpt_temp_create(temp, dirfd, dir, err);
}

int ckpt_temp_sync(const struct ckpt_temp *temp, size_t n_pages, struct ckpt_err *err)
{
	if (ckpt_is_on_tmpfs(temp->image.fd))
		return 0;
	for (size_t i = 0; i < n_pages; i++)
		if (fdatasync(temp->pages[i].fd) < 0)
			return ckpt_image_write_error(err, -errno, temp->dir, ckpt_pages_name(i));
	if (fdatasync(temp->image.fd) < 0)
		return ckpt_image_write_error(err, -errno, temp->dir, CKPT_IMAGE_NAME);
	return 0;
}

int ckpt_image_sync_folder(int dirfd, int file, const char *dir, struct ckpt_err *err)
{
	CKPT_FD fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	/* A folder that may be written to but not read cannot be opened: then the whole file
	 * system. */
	r = fd < 0 ? syncfs(file) : fsync(fd);
	if (r < 0 && errno != EINVAL)
		return ckpt_image_write_error(err, -errno, dir, CKPT_IMAGE_NAME);
	return 0;
}

static int rename_new(int dirfd, const char *from, const char *to)
{
	struct stat st;

	if (renameat2(dirfd, from, dirfd, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	/* Not every file system has that: then somebody else's image can only be seen, not
	 * excluded. */
	if (fstatat(dirfd, to, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	return renameat(dirfd, from, dirfd, to) < 0 ? -errno : 0;
}

static int publish(const struct ckpt_temp *temp, struct ckpt_temp_file *file, const char *to,
		   struct ckpt_err *err)
{
	int r = rename_new(temp->dirfd, file->name, to);

	if (r == -EEXIST)
		return ckpt_refuse(err, CKPT_E_IMAGE_EXISTS, r,
				   "%s/%s: cannot commit: it is there already", temp->dir, to);
	if (r < 0)
		return ckpt_image_write_error(err, r, temp->dir, to);
	file->there = false;
	return 0;
}

static void drop(const struct ckpt_temp *temp, struct ckpt_temp_file *file)
{
	if (file->there)
		unlinkat(temp->dirfd, file->name, 0);
	file->there = false;
}

/* The first pages file goes first, and stays up to the end if it is none, see temp.c. */
static int publish_all(struct ckpt_temp *temp, size_t n_pages, struct ckpt_err *err)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < n_pages; i++)
		r = publish(temp, &temp->pages[i], ckpt_pages_name(i), err);
	if (r >= 0)
		r = publish(temp, &temp->image, CKPT_IMAGE_NAME, err);
	for (size_t i = n_pages; r >= 0 && i < CKPT_PAGES_FILES; i++)
		drop(temp, &temp->pages[i]);
	return r < 0 ? r : ckpt_image_sync_folder(temp->dirfd, temp->image.fd, temp->dir, err);
}

int ckpt_temp_publish(struct ckpt_temp *temp, size_t n_pages, struct ckpt_err *err)
{
	int r = publish_all(temp, n_pages, err);

	if (r >= 0)
		return 0;
	if (!temp->image.there)
		unlinkat(temp->dirfd, CKPT_IMAGE_NAME, 0);
	while (n_pages && temp->pages[n_pages - 1].there)
		n_pages--;
	ckpt_pages_remove(temp->dirfd, n_pages);
	return r;
}

void ckpt_temp_end(struct ckpt_temp *temp)
{
	/* In this order, see temp.c; the locks go last. */
	drop(temp, &temp->image);
	for (size_t i = 0; i < CKPT_PAGES_FILES; i++)
		drop(temp, &temp->pages[i]);
	for (size_t i = 0; i < CKPT_PAGES_FILES; i++)
		ckpt_close_fd(&temp->pages[i].fd);
	ckpt_close_fd(&temp->image.fd);
	ckpt_temp_init(temp);
}
