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

/* On the way along a path. */
struct walk {
	int at;     /* a folder, or what the path leads to */
	char *rest; /* of the way, on the heap, */
	char *next; /* and what comes next in it */
};

static void end_walk(struct walk *w)
{
	ckpt_close_fd(&w->at);
	free(w->rest);
}
#define WALK __attribute__((cleanup(end_walk))) struct walk

static int step_into(int at, const char *name)
{
	int fd = openat(at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static void move_to(struct walk *w, int fd)
{
	ckpt_close_fd(&w->at);
	w->at = fd;
}

/* Puts where the link leads in front of the rest of the way. */
static int follow(struct walk *w, int link, const struct stat *st)
{
	char target[PATH_MAX], *rest;
	ssize_t n = readlinkat(link, "", target, sizeof(target));

	if (n < 0)
		return -errno;
	if (st->st_uid && st->st_uid != geteuid())
		return -ELOOP;
	if (n == PATH_MAX || strlen(w->next) > CKPT_PATH_LEN)
		return -ENAMETOOLONG;
	if (asprintf(&rest, "%.*s/%s", (int)n, target, w->next) < 0)
		return -ENOMEM;
	free(w->rest);
	w->rest = w->next = rest;
	if (rest[0] == '/')
		move_to(w, step_into(AT_FDCWD, "/"));
	return w->at < 0 ? w->at : 0;
}

/* Component by component, so that nothing can be exchanged between a look and a step, and a way may
 * be longer than PATH_MAX; to the last one, or into it. On failure what could not be entered is
 * next. */
static int walk(struct walk *w, const char *path, bool into_last)
{
	char name[NAME_MAX + 1];
	int links = 0, r = 0;

	*w = (struct walk){ .at = step_into(AT_FDCWD, "/"), .rest = strdup(path) };
	w->next = w->rest;
	while (r >= 0 && w->at >= 0 && w->next) {
		size_t len;
		bool last;
		struct stat st;

		w->next += strspn(w->next, "/");
		len = strcspn(w->next, "/");
		last = !w->next[len + strspn(w->next + len, "/")];
		if (!len || (last && !into_last))
			return 0;
		if (len > NAME_MAX)
			return -ENAMETOOLONG;
		snprintf(name, sizeof(name), "%.*s", (int)len, w->next);
		CKPT_FD to = step_into(w->at, name);
		if (to < 0)
			return to;
		if (fstat(to, &st) < 0)
			return -errno;
		w->next += len;
		if (last || !S_ISLNK(st.st_mode))
			move_to(w, ckpt_take_fd(&to));
		else if (++links > MAX_LINKS)
			r = -ELOOP;
		else
			r = follow(w, to, &st);
	}
	return !w->next ? -ENOMEM : w->at < 0 ? w->at : r;
}

/* In one step, where there is no link at all on the way. */
static int at_once(const char *path)
{
	struct open_how how = { .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
				.resolve = RESOLVE_NO_SYMLINKS };
	int fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how)); /* Linux 5.6 */

	return fd < 0 ? -errno : fd;
}

static bool needs_walk(int code)
{
	return code == -ELOOP || code == -ENOSYS || code == -ENAMETOOLONG;
}

int ckpt_path_look(const char *path)
{
	WALK w = { .at = -1 };
	int fd = at_once(path), r;

	if (!needs_walk(fd))
		return fd;
	r = walk(&w, path, true);
	return r < 0 ? r : ckpt_take_fd(&w.at);
}

int ckpt_path_folder(const char *path, const char **lastp)
{
	WALK w = { .at = -1 };
	int r;

	*lastp = strrchr(path, '/') + 1;
	r = walk(&w, path, false);
	return r < 0 ? r : ckpt_take_fd(&w.at);
}

int ckpt_path_deepest(const char *path, char **restp)
{
	WALK w = { .at = -1 };
	int r = walk(&w, path, false);

	*restp = NULL;
	if (r < 0 && r != -ENOENT && r != -ENOTDIR)
		return r;
	*restp = strdup(w.next);
	return *restp ? ckpt_take_fd(&w.at) : -ENOMEM;
}

int ckpt_path_directory(const char *path)
{
	CKPT_FREE char *inside = NULL;

	return asprintf(&inside, "%s/.", path) < 0 ? -ENOMEM : ckpt_path_look(inside);
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
		const char *last;
		CKPT_FD folder = ckpt_path_folder(path, &last);
		CKPT_FD again = folder < 0 ? -1 :
					     openat(folder, *last ? last : ".", flags | O_CLOEXEC);

		if (folder < 0)
			return folder;
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
