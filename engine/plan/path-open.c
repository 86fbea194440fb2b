/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening by the path of an image. The kernel gave that path without a link in it; where there is
 * one now it has to be the administrator's or our own: anybody else's could lead anywhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/plan/path.h"

#define MAX_LINKS 40

static int step_into(int at, const char *name)
{
	int fd = openat(at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Puts where the link leads in front of the REST of the way. 1: from the root; 0: from where it is.
 */
static int follow(int link, const struct stat *st, char rest[PATH_MAX])
{
	char target[2 * PATH_MAX];
	ssize_t n = readlinkat(link, "", target, PATH_MAX - 1);

	if (n < 0)
		return -errno;
	if (st->st_uid && st->st_uid != geteuid())
		return -ELOOP;
	if (snprintf(target + n, sizeof(target) - n, "/%s", rest) < 0 || strlen(target) >= PATH_MAX)
		return -ENAMETOOLONG;
	strcpy(rest, target);
	return target[0] == '/';
}

/* Component by component, so that nothing can be exchanged between a look and a step. */
static int walk(const char *path)
{
	char rest[PATH_MAX], name[NAME_MAX + 1];
	CKPT_FD at = step_into(AT_FDCWD, "/");

	snprintf(rest, sizeof(rest), "%s", path);
	for (int links = 0; at >= 0 && links < MAX_LINKS;) {
		char *from = rest + strspn(rest, "/");
		size_t len = strcspn(from, "/");
		bool last = !from[len + strspn(from + len, "/")];
		struct stat st;
		int r = 0;

		if (!len)
			return ckpt_take_fd(&at);
		if (len > NAME_MAX)
			return -ENAMETOOLONG;
		snprintf(name, sizeof(name), "%.*s", (int)len, from);
		memmove(rest, from + len, strlen(from + len) + 1);
		CKPT_FD next = step_into(at, name);
		if (next < 0 || last)
			return ckpt_take_fd(&next);
		if (fstat(next, &st) < 0)
			return -errno;
		if (S_ISLNK(st.st_mode)) {
			r = follow(next, &st, rest);
			links++;
		}
		if (r < 0)
			return r;
		if (r || !S_ISLNK(st.st_mode)) {
			close(at);
			at = r ? step_into(AT_FDCWD, "/") : ckpt_take_fd(&next);
		}
	}
	return at < 0 ? at : -ELOOP;
}

int ckpt_path_look(const char *path)
{
	struct open_how how = { .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
				.resolve = RESOLVE_NO_SYMLINKS };
	int fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how)); /* Linux 5.6 */

	if (fd >= 0)
		return fd;
	return errno == ELOOP || errno == ENOSYS ? walk(path) : -errno;
}

/* Through a look that follows no link: what is opened then is the same inode. */
int ckpt_path_open(const char *path, int flags)
{
	CKPT_FD look = ckpt_path_look(path);
	struct stat before, after;
	char name[32];
	int fd;

	if (look < 0)
		return look;
	if (fstat(look, &before) < 0)
		return -errno;
	/* /proc/self/fd is a link that O_NOFOLLOW does not follow, and has flags of its own. */
	if ((flags & (O_PATH | O_NOFOLLOW)) && !S_ISLNK(before.st_mode)) {
		CKPT_FD again = open(path, flags | O_CLOEXEC);

		if (again < 0 || fstat(again, &after) < 0)
			return -errno;
		return before.st_dev == after.st_dev && before.st_ino == after.st_ino ?
			       ckpt_take_fd(&again) :
			       -ELOOP;
	}
	if (S_ISLNK(before.st_mode))
		return flags & O_PATH && flags & O_NOFOLLOW ? ckpt_take_fd(&look) : -ELOOP;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", look);
	fd = open(name, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}
