/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program wrote after its last checkpoint, it writes again when it is restored. So files
 * that it had open for writing are given the size that they had; others may have written there,
 * too, therefore what is cut off is kept beside the checkpoints until the program has ended well.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/model/kind.h"
#include "engine/model/object.h"
#include "engine/model/snapshot.h"
#include "proto/file.pb-c.h"
#include "tools/run.h"

#define SAVED "cut."
#define BLOCK 65536

static bool is_written(const struct ckpt_object *obj)
{
	const Ckpt__File *f = (const void *)obj->msg;

	return !strcmp(obj->kind->name, "file") && S_ISREG(f->mode) && !f->deleted &&
	       f->path[0] == '/' && (obj->file.flags & O_ACCMODE) != O_RDONLY &&
	       !(obj->file.flags & O_PATH);
}

static bool is_known(const struct ckpt_run_files *files, const char *path)
{
	for (size_t i = 0; i < files->n; i++)
		if (!strcmp(files->v[i].path, path))
			return true;
	return false;
}

/* A name that nothing has: what was cut off before is not lost. */
static const char *free_name(const struct ckpt_generations *g, unsigned int generation,
			     unsigned int *lastp)
{
	size_t size = strlen(g->path) + 48;
	char *path = ckpt_alloc(g->arena, size);

	do
		snprintf(path, size, "%s/" SAVED "%06u.%u", g->path, generation, ++*lastp);
	while (access(path, F_OK) == 0);
	return path;
}

void ckpt_run_grown(const struct ckpt_snapshot *snap, const struct ckpt_generations *g,
		    unsigned int generation, struct ckpt_run_files *files)
{
	unsigned int last = 0;
	size_t room = 0;

	*files = (struct ckpt_run_files){ 0 };
	for (size_t i = 0; i < snap->n_objects; i++) {
		const Ckpt__File *f = (const void *)snap->objects[i]->msg;
		struct stat st;

		if (!is_written(snap->objects[i]) || is_known(files, f->path) ||
		    lstat(f->path, &st) < 0 || !S_ISREG(st.st_mode) ||
		    (uint64_t)st.st_size <= f->size)
			continue;
		/* Another one at its place is not ours to cut. */
		if (snap->objects[i]->file.ino != st.st_ino)
			continue;
		files->v = ckpt_grow(g->arena, files->v, files->n, &room, 8, sizeof(*files->v));
		files->v[files->n++] =
			(struct ckpt_run_file){ .path = f->path,
						.saved = free_name(g, generation, &last),
						.size = f->size,
						.now = st.st_size };
	}
}

/* From FROM on to the end. */
static int copy(int in, uint64_t from, int out, uint64_t to)
{
	char buf[BLOCK];
	ssize_t n;

	while ((n = pread(in, buf, sizeof(buf), from)) > 0) {
		for (ssize_t done = 0, w; done < n; done += w) {
			w = pwrite(out, buf + done, n - done, to + done);
			if (w <= 0)
				return w < 0 ? -errno : -EIO;
		}
		from += n;
		to += n;
	}
	return n < 0 ? -errno : 0;
}

static int cut_one(struct ckpt_run_file *f, struct ckpt_err *err)
{
	CKPT_FD fd = open(f->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	int r;

	if (fd < 0)
		return ckpt_fail(err, -errno, "file %s: cannot write", f->path);
	CKPT_FD saved = open(f->saved, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (saved < 0)
		return ckpt_fail(err, -errno, "%s: cannot write", f->saved);
	r = copy(fd, f->size, saved, 0);
	if (r >= 0 && fsync(saved) < 0)
		r = -errno;
	if (r < 0)
		return ckpt_fail(err, r, "%s: cannot keep the end of %s", f->saved, f->path);
	if (ftruncate(fd, f->size) < 0)
		return ckpt_fail(err, -errno, "file %s: cannot cut it back to %llu bytes", f->path,
				 (unsigned long long)f->size);
	f->cut = true;
	return 0;
}

int ckpt_run_cut(struct ckpt_run_files *files, struct ckpt_err *err)
{
	for (size_t i = 0; i < files->n; i++) {
		int r = cut_one(&files->v[i], err);

		if (r < 0) {
			ckpt_run_uncut(files);
			return r;
		}
	}
	return 0;
}

void ckpt_run_uncut(struct ckpt_run_files *files)
{
	for (size_t i = 0; i < files->n; i++) {
		struct ckpt_run_file *f = &files->v[i];
		CKPT_FD fd = f->cut ? open(f->path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
		CKPT_FD saved = f->cut ? open(f->saved, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;

		if (fd >= 0 && saved >= 0 && copy(saved, 0, fd, f->size) >= 0)
			unlink(f->saved);
		f->cut = false;
	}
}

void ckpt_run_forget_cut(struct ckpt_generations *g)
{
	int fd = openat(g->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		if (!strncmp(e->d_name, SAVED, strlen(SAVED)) &&
		    strspn(e->d_name + strlen(SAVED), "0123456789.") ==
			    strlen(e->d_name + strlen(SAVED)))
			unlinkat(g->fd, e->d_name, 0);
	if (dir)
		closedir(dir);
}
