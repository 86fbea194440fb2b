/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Temporary files of an image, ".image.PID.N.tmp", ".pages.PID.N.tmp" and so on. A writer may be
 * killed at any time: what it leaves is known by a lock that nobody holds any more, and goes with
 * the next dump into the folder.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/store/pages-files.h"
#include "engine/store/record.h"
#include "engine/store/temp.h"

#define ATTEMPTS 100

static bool exists(int dirfd, const char *name)
{
	struct stat st;

	return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Locks FD. False if another process has it, or took the file away before it was locked. File
 * systems that have no locks are as good: nobody can take one there, so nothing is swept. */
static bool lock(int fd)
{
	struct stat st;

	if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		return false;
	return fstat(fd, &st) == 0 && st.st_nlink > 0;
}

static int create_locked(int dirfd, const char *name)
{
	CKPT_FD fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	if (!lock(fd))
		return -EEXIST;
	return ckpt_take_fd(&fd);
}

static int create(struct ckpt_temp *temp, struct ckpt_temp_file *file, const char *what)
{
	snprintf(file->name, sizeof(file->name), ".%s.%s.tmp", what, temp->key);
	file->fd = create_locked(temp->dirfd, file->name);
	file->there = file->fd >= 0;
	return file->fd;
}

static int create_pair(struct ckpt_temp *temp)
{
	/* The image is made last and goes first: one without its pages is what is left of a commit,
	 * and only that. */
	int r = create(temp, &temp->pages[0], ckpt_pages_name(0));

	if (r >= 0)
		r = create(temp, &temp->image, CKPT_IMAGE_NAME);
	if (r < 0)
		ckpt_temp_end(temp);
	return r;
}

int ckpt_temp_create(struct ckpt_temp *temp, int dirfd, const char *dir, struct ckpt_err *err)
{
	int r = -EEXIST;

	ckpt_temp_init(temp);
	temp->dirfd = dirfd;
	temp->dir = dir;
	/* The name may be taken: by another thread of this process, or by one of this number in
	 * another container. */
	for (unsigned int n = 0; r == -EEXIST && n < ATTEMPTS; n++) {
		snprintf(temp->key, sizeof(temp->key), "%d.%u", getpid(), n);
		r = create_pair(temp);
	}
	return r < 0 ? ckpt_image_write_error(err, r, dir, CKPT_IMAGE_NAME) : 0;
}

int ckpt_temp_add(struct ckpt_temp *temp, size_t i)
{
	return create(temp, &temp->pages[i], ckpt_pages_name(i));
}

/* The "PID.N" of a temporary name, NULL if it is not one. */
static const char *key_of(const char *name, const char *what, char *key, size_t size)
{
	size_t len = strlen(what);
	unsigned int pid, n;
	int end = 0;

	if (*name != '.' || strncmp(name + 1, what, len) || name[1 + len] != '.')
		return NULL;
	name += len + 2;
	if (sscanf(name, "%9u.%9u.tmp%n", &pid, &n, &end) != 2 || !end || name[end])
		return NULL;
	snprintf(key, size, "%u.%u", pid, n);
	return key;
}

/* A descriptor that holds the lock of a file without a writer, -1 if there is none. */
static int take_dead(int dirfd, const char *name)
{
	CKPT_FD fd = openat(dirfd, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return -1;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -1;
	return ckpt_take_fd(&fd);
}

static void sweep_image(int dirfd, const char *name, const char *key)
{
	char pages[48];
	CKPT_FD fd = take_dead(dirfd, name);

	if (fd < 0)
		return;
	snprintf(pages, sizeof(pages), ".%s.%s.tmp", ckpt_pages_name(0), key);
	/* Without its pages: it died between the renames of its commit. */
	if (!exists(dirfd, pages) && !exists(dirfd, CKPT_IMAGE_NAME))
		ckpt_pages_remove(dirfd, CKPT_PAGES_FILES);
	unlinkat(dirfd, name, 0);
	for (size_t i = 0; i < CKPT_PAGES_FILES; i++) {
		snprintf(pages, sizeof(pages), ".%s.%s.tmp", ckpt_pages_name(i), key);
		unlinkat(dirfd, pages, 0);
	}
}

static void sweep_pages(int dirfd, const char *name, const char *key)
{
	char image[48];

	snprintf(image, sizeof(image), ".%s.%s.tmp", CKPT_IMAGE_NAME, key);
	if (exists(dirfd, image))
		return;
	CKPT_FD fd = take_dead(dirfd, name);
	if (fd >= 0)
		unlinkat(dirfd, name, 0);
}

void ckpt_temp_sweep(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	char key[24];

	if (!folder) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(folder))) {
		if (key_of(entry->d_name, CKPT_IMAGE_NAME, key, sizeof(key)))
			sweep_image(dirfd, entry->d_name, key);
		for (size_t i = 0; i < CKPT_PAGES_FILES; i++)
			if (key_of(entry->d_name, ckpt_pages_name(i), key, sizeof(key)))
				sweep_pages(dirfd, entry->d_name, key);
	}
	closedir(folder);
}
