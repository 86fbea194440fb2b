/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Root opens the handle. An ordinary user may not, and has to search: what the tree has open and
 * the folders above that, then what is below its working directories and below the mounts of the
 * file system, as far as time allows: the tree stands still meanwhile.
 */
#include "engine/capture/watched.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/clocks.h"
#include "engine/base/text.h"
#include "engine/capture/mounts.h"
#include "engine/capture/state.h"

#define SEARCH_NS 1000000000ll /* for all watches of a file system */
#define MAX_FOLDERS 65536
#define MAX_SEEN (1u << 18)

bool ckpt_watched_number(const char *line, const char *key, uint64_t *valuep)
{
	const char *end = line + strcspn(line, "\n"), *at = strstr(line, key);

	if (!at || at > end)
		return false;
	at += strlen(key);
	return ckpt_parse_u64(&at, 16, valuep);
}

bool ckpt_watched_parse(const char *line, struct ckpt_watched *w)
{
	const char *end = line + strcspn(line, "\n"), *at = strstr(line, " f_handle:");
	uint64_t dev, len = 0, type = 0;

	*w = (struct ckpt_watched){ 0 };
	if (!ckpt_watched_number(line, " ino:", &w->ino) ||
	    !ckpt_watched_number(line, " sdev:", &dev))
		return false;
	w->dev = makedev(dev >> 20, dev & 0xfffff);
	if (!at || at > end || !ckpt_watched_number(line, " fhandle-bytes:", &len) ||
	    !ckpt_watched_number(line, " fhandle-type:", &type) || len > CKPT_HANDLE_MAX)
		return true;
	at += strlen(" f_handle:");
	for (; w->handle_len < len; w->handle_len++, at += 2) {
		unsigned int byte;

		if (sscanf(at, "%2x", &byte) != 1)
			return false;
		w->handle[w->handle_len] = byte;
	}
	w->handle_type = type;
	return true;
}

/* ---- is this it? ---- */

struct handle {
	struct file_handle head;
	uint8_t bytes[CKPT_HANDLE_MAX];
};

/* Where files show another device than their file system has (btrfs), the handle tells. */
static bool same_handle(const char *path, const struct ckpt_watched *w)
{
	struct handle h = { .head.handle_bytes = CKPT_HANDLE_MAX };
	int mount;

	return w->handle_len && name_to_handle_at(AT_FDCWD, path, &h.head, &mount, 0) == 0 &&
	       h.head.handle_type == w->handle_type && h.head.handle_bytes == w->handle_len &&
	       !memcmp(h.bytes, w->handle, w->handle_len);
}

static bool is_it(const char *path, const struct ckpt_watched *w, mode_t *modep)
{
	struct stat st;

	if (lstat(path, &st) < 0 || st.st_ino != w->ino ||
	    (st.st_dev != w->dev && !same_handle(path, w)))
		return false;
	*modep = st.st_mode;
	return true;
}

/* ---- by its handle ---- */

static const char *path_of_fd(struct ckpt_collect *c, int fd)
{
	char link[40], path[PATH_MAX];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0)
		return NULL;
	path[n] = '\0';
	return ckpt_strdup(c->arena, path);
}

static const char *by_handle(struct ckpt_collect *c, const struct ckpt_watched *w,
			     const char *mount, mode_t *modep)
{
	struct handle h = { .head = { .handle_bytes = w->handle_len,
				      .handle_type = w->handle_type } };
	const char *path;

	memcpy(h.bytes, w->handle, w->handle_len);
	CKPT_FD at = open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CKPT_FD fd = at < 0 ? -1 : open_by_handle_at(at, &h.head, O_PATH | O_CLOEXEC);
	path = fd < 0 ? NULL : path_of_fd(c, fd);
	return path && is_it(path, w, modep) ? path : NULL;
}

/* ---- by searching ---- */

#define BUCKETS 4096u

/* Of one file system. It goes on where it stopped: what was seen on the way may be asked for next.
 */
struct ckpt_watched_search {
	struct ckpt_watched_search *next;
	dev_t dev;
	const char **folder; /* to be looked into */
	size_t n, room, done, n_seen;
	int64_t left_ns;
	struct seen {
		struct seen *next;
		uint64_t ino;
		const char *path;
	} * seen[BUCKETS];
};

static void add_folder(struct ckpt_capture *c, struct ckpt_watched_search *s, const char *path)
{
	if (s->n == MAX_FOLDERS)
		return;
	s->folder = ckpt_capture_grow(c->arena, s->folder, s->n, &s->room, sizeof(s->folder[0]));
	s->folder[s->n++] = path;
}

static void add_seen(struct ckpt_capture *c, struct ckpt_watched_search *s, uint64_t ino,
		     const char *path)
{
	struct seen *e;

	if (s->n_seen == MAX_SEEN)
		return;
	s->n_seen++;
	e = ckpt_new(c->arena, struct seen);
	e->ino = ino;
	e->path = path;
	e->next = s->seen[ino % BUCKETS];
	s->seen[ino % BUCKETS] = e;
}

/* PATH and all folders above it. */
static void add_above(struct ckpt_capture *c, struct ckpt_watched_search *s, const char *path)
{
	char *at = ckpt_strdup(c->arena, path);
	struct stat st;

	for (char *last = at; last && at[1]; last[last == at] = '\0') {
		if (lstat(at, &st) == 0)
			add_seen(c, s, st.st_ino, ckpt_strdup(c->arena, at));
		last = strrchr(at, '/');
	}
}

static void look_into(struct ckpt_capture *c, struct ckpt_watched_search *s, const char *folder)
{
	DIR *dir = opendir(folder);
	struct stat st;

	if (dir && fstat(dirfd(dir), &st) == 0 && st.st_dev == s->dev)
		for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
			char path[PATH_MAX], *kept;

			if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
			    snprintf(path, sizeof(path), "%s/%s", folder[1] ? folder : "",
				     e->d_name) >= (int)sizeof(path))
				continue;
			kept = ckpt_strdup(c->arena, path);
			add_seen(c, s, e->d_ino, kept);
			if (e->d_type == DT_DIR)
				add_folder(c, s, kept);
		}
	if (dir)
		closedir(dir);
}

/* What is open, and the working directories. */
static void look_around(struct ckpt_capture *c, struct ckpt_watched_search *s)
{
	for (size_t i = 0; i < c->n_files; i++)
		if (c->files[i]->probe.link[0] == '/')
			add_above(c, s, c->files[i]->probe.link);
	for (size_t i = 0; i < c->n_tasks; i++) {
		struct ckpt_err ignored = CKPT_ERR_INIT;
		char cwd[PATH_MAX];

		if (c->src->ops->read_link(c->src, c->tasks[i].frozen->pid, "cwd", cwd, sizeof(cwd),
					   &ignored) <= 0 ||
		    cwd[0] != '/')
			continue;
		add_above(c, s, cwd);
		add_folder(c, s, ckpt_strdup(c->arena, cwd));
	}
}

static struct ckpt_watched_search *search_of(struct ckpt_capture *c, dev_t dev, const char *mounts)
{
	struct ckpt_mount *m = ckpt_new(c->arena, struct ckpt_mount);
	struct ckpt_watched_search *s;
	struct stat st;

	for (s = c->watched; s; s = s->next)
		if (s->dev == dev)
			return s;
	s = ckpt_new(c->arena, struct ckpt_watched_search);
	s->dev = dev;
	s->left_ns = SEARCH_NS;
	s->next = c->watched;
	c->watched = s;
	look_around(c, s);
	for (const char *at = mounts; ckpt_mount_next(&at, m);)
		if (m->dev == dev && lstat(m->point, &st) == 0) {
			add_folder(c, s, ckpt_strdup(c->arena, m->point));
			add_seen(c, s, st.st_ino, s->folder[s->n - 1]);
		}
	return s;
}

static const char *known(const struct ckpt_watched_search *s, const struct ckpt_watched *w,
			 mode_t *modep)
{
	for (const struct seen *e = s->seen[w->ino % BUCKETS]; e; e = e->next)
		if (e->ino == w->ino && is_it(e->path, w, modep))
			return e->path;
	return NULL;
}

static const char *by_search(struct ckpt_capture *c, const struct ckpt_watched *w,
			     const char *mounts, mode_t *modep)
{
	struct ckpt_watched_search *s = search_of(c, w->dev, mounts);
	const char *found = known(s, w, modep);
	int64_t from = (int64_t)ckpt_now_ns(), until = from + s->left_ns;

	while (!found && s->done < s->n && s->n_seen < MAX_SEEN && (int64_t)ckpt_now_ns() < until) {
		look_into(c, s, s->folder[s->done++]);
		found = known(s, w, modep);
	}
	s->left_ns -= (int64_t)ckpt_now_ns() - from;
	return found;
}

static char *mounts(struct ckpt_collect *c)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;
	char *text = "";

	CKPT_FD fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && ckpt_read_all(c->arena, fd, &text, NULL, &ignored) < 0)
		text = "";
	return text;
}

const char *ckpt_watched_path(struct ckpt_collect *c, const struct ckpt_watched *w, mode_t *modep)
{
	struct ckpt_mount *m = ckpt_new(c->arena, struct ckpt_mount);
	const char *text = mounts(c), *found = NULL;

	for (const char *at = text; !found && w->handle_len && ckpt_mount_next(&at, m);)
		if (m->dev == w->dev)
			found = by_handle(c, w, m->point, modep);
	return found || !c->capture ? found : by_search(c->capture, w, text, modep);
}

uint32_t ckpt_watched_object(struct ckpt_collect *c, const struct ckpt_watched *w)
{
	for (size_t i = 0; c->capture && i < c->capture->n_files; i++) {
		const struct ckpt_capture_file *f = c->capture->files[i];

		if (f->probe.st.st_ino == w->ino && f->probe.st.st_dev == w->dev)
			return f->obj->id;
	}
	return 0;
}

const char *ckpt_watched_mount(struct ckpt_collect *c, int id, dev_t dev)
{
	struct ckpt_mount *m = ckpt_new(c->arena, struct ckpt_mount);

	for (const char *at = mounts(c); ckpt_mount_next(&at, m);)
		if (id ? m->id == id : m->dev == dev)
			return ckpt_strdup(c->arena, m->point);
	return NULL;
}
