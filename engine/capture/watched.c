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
#include <time.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/capture/mounts.h"
#include "engine/capture/state.h"

#define SEARCH_MS 1000
#define MAX_FOLDERS 65536

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

struct search {
	struct ckpt_collect *c;
	const struct ckpt_watched *w;
	mode_t *modep;
	const char **folder; /* to be looked into */
	size_t n, room, done;
	int64_t until;
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void add_folder(struct search *s, const char *path)
{
	for (size_t i = 0; i < s->n && i < 256; i++)
		if (!strcmp(s->folder[i], path))
			return;
	if (s->n == MAX_FOLDERS)
		return;
	s->folder = ckpt_capture_grow(s->c->arena, s->folder, s->n, &s->room, sizeof(s->folder[0]));
	s->folder[s->n++] = ckpt_strdup(s->c->arena, path);
}

/* PATH and all folders above it. */
static const char *look_up(struct search *s, const char *path)
{
	char *at = ckpt_strdup(s->c->arena, path);

	for (;;) {
		char *last;

		if (is_it(at, s->w, s->modep))
			return at;
		last = strrchr(at, '/');
		if (!last || !at[1])
			return NULL;
		last[last == at] = '\0';
	}
}

static const char *look_into(struct search *s, const char *folder)
{
	DIR *dir = opendir(folder);
	const char *found = NULL;
	struct stat st;

	if (dir && fstat(dirfd(dir), &st) == 0 && st.st_dev == s->w->dev)
		for (struct dirent *e = readdir(dir); e && !found; e = readdir(dir)) {
			char path[PATH_MAX];

			if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
			    snprintf(path, sizeof(path), "%s/%s", folder[1] ? folder : "",
				     e->d_name) >= (int)sizeof(path))
				continue;
			if (e->d_ino == s->w->ino && is_it(path, s->w, s->modep))
				found = ckpt_strdup(s->c->arena, path);
			else if (e->d_type == DT_DIR)
				add_folder(s, path);
		}
	if (dir)
		closedir(dir);
	return found;
}

static const char *look_around(struct search *s)
{
	struct ckpt_capture *cap = s->c->capture;
	const char *found = NULL;

	for (size_t i = 0; i < cap->n_files && !found; i++)
		if (cap->files[i]->probe.link[0] == '/')
			found = look_up(s, cap->files[i]->probe.link);
	for (size_t i = 0; i < cap->n_tasks && !found; i++) {
		struct ckpt_err ignored = CKPT_ERR_INIT;
		char cwd[PATH_MAX];

		if (cap->src->ops->read_link(cap->src, cap->tasks[i].frozen->pid, "cwd", cwd,
					     sizeof(cwd), &ignored) <= 0 ||
		    cwd[0] != '/')
			continue;
		found = look_up(s, cwd);
		add_folder(s, cwd);
	}
	return found;
}

static const char *search(struct search *s)
{
	const char *found = NULL;

	while (!found && s->done < s->n && now_ms() < s->until)
		found = look_into(s, s->folder[s->done++]);
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
	struct search s = { .c = c, .w = w, .modep = modep, .until = now_ms() + SEARCH_MS };
	struct ckpt_mount *m = ckpt_new(c->arena, struct ckpt_mount);
	const char *text = mounts(c), *found = NULL;

	for (const char *at = text; !found && w->handle_len && ckpt_mount_next(&at, m);)
		if (m->dev == w->dev)
			found = by_handle(c, w, m->point, modep);
	if (!found && c->capture)
		found = look_around(&s);
	for (const char *at = text; !found && ckpt_mount_next(&at, m);)
		if (m->dev == w->dev) {
			add_folder(&s, m->point);
			found = is_it(m->point, w, modep) ? ckpt_strdup(c->arena, m->point) : NULL;
		}
	return found ? found : search(&s);
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
