/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two temporary files become an image: what makes them one is the last rename. Up to there every
 * failure, and every kill, leaves a folder without one.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/store/image.h"
#include "engine/store/record.h"
#include "engine/store/temp.h"

static int refuse_existing(int dirfd, const char *dir, struct ckpt_err *err)
{
	static const char *const names[] = { CKPT_IMAGE_NAME, CKPT_PAGES_NAME };
	struct stat st;

	for (int i = 0; i < 2; i++) {
		if (fstatat(dirfd, names[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
			return ckpt_refuse(err, CKPT_E_IMAGE_EXISTS, -EEXIST,
					   "%s/%s: cannot write: it is there already", dir,
					   names[i]);
		if (errno != ENOENT)
			return ckpt_image_write_error(err, -errno, dir, names[i]);
	}
	return 0;
}

int ckpt_temp_begin(struct ckpt_temp *temp, int dirfd, const char *dir, struct ckpt_err *err)
{
	int r;

	ckpt_temp_sweep(dirfd);
	r = refuse_existing(dirfd, dir, err);
	return r < 0 ? r : ckpt_temp_create(temp, dirfd, dir, err);
}

int ckpt_temp_sync(const struct ckpt_temp *temp, bool pages, struct ckpt_err *err)
{
	struct statfs fs;

	if (fstatfs(temp->image_fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC)
		return 0;
	if (pages && fdatasync(temp->pages_fd) < 0)
		return ckpt_image_write_error(err, -errno, temp->dir, CKPT_PAGES_NAME);
	if (fdatasync(temp->image_fd) < 0)
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

static int publish(struct ckpt_temp *temp, bool *therep, const char *from, const char *to,
		   struct ckpt_err *err)
{
	int r = rename_new(temp->dirfd, from, to);

	if (r == -EEXIST)
		return ckpt_refuse(err, CKPT_E_IMAGE_EXISTS, r,
				   "%s/%s: cannot commit: it is there already", temp->dir, to);
	if (r < 0)
		return ckpt_image_write_error(err, r, temp->dir, to);
	*therep = false;
	return 0;
}

int ckpt_temp_publish(struct ckpt_temp *temp, bool pages, struct ckpt_err *err)
{
	int r = 0;

	if (pages) {
		r = publish(temp, &temp->pages_there, temp->pages, CKPT_PAGES_NAME, err);
	} else {
		unlinkat(temp->dirfd, temp->pages, 0);
		temp->pages_there = false;
	}
	if (r < 0)
		return r;
	r = publish(temp, &temp->image_there, temp->image, CKPT_IMAGE_NAME, err);
	if (r >= 0)
		r = ckpt_image_sync_folder(temp->dirfd, temp->image_fd, temp->dir, err);
	if (r >= 0)
		return 0;
	if (!temp->image_there)
		unlinkat(temp->dirfd, CKPT_IMAGE_NAME, 0);
	if (pages)
		unlinkat(temp->dirfd, CKPT_PAGES_NAME, 0);
	return r;
}

void ckpt_temp_end(struct ckpt_temp *temp)
{
	/* In this order, see temp.c; the locks go last. */
	if (temp->image_there)
		unlinkat(temp->dirfd, temp->image, 0);
	if (temp->pages_there)
		unlinkat(temp->dirfd, temp->pages, 0);
	ckpt_close_fd(&temp->pages_fd);
	ckpt_close_fd(&temp->image_fd);
	temp->pages_fd = temp->image_fd = -1;
	temp->image_there = temp->pages_there = false;
}
