/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that were mapped, on this machine: are they what they were? By build-id where the image has
 * one, else by time, always by size. The paths come from the image: nothing but a regular file is
 * opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/build-id.h"
#include "engine/base/cleanup.h"
#include "engine/look/look.h"
#include "proto/file.pb-c.h"

static const Ckpt__File *message_of(const struct ckpt_object *obj)
{
	return obj->msg->descriptor == &ckpt__file__descriptor ? (const void *)obj->msg : NULL;
}

const char *ckpt_look_path(const struct ckpt_object *obj)
{
	const Ckpt__File *f = message_of(obj);

	return f ? f->path : NULL;
}

/* Not so much as opened before it is known to be a regular file: opening a device does things. */
static int open_regular(const char *path, struct stat *st)
{
	CKPT_FD place = open(path, O_PATH | O_CLOEXEC);
	char link[40];
	int fd;

	if (place < 0 || fstat(place, st) < 0)
		return -errno;
	if (!S_ISREG(st->st_mode))
		return -EBADMSG;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", place);
	fd = open(link, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static const char *differs(const Ckpt__File *f, int fd, const struct stat *st, bool *unprovenp)
{
	uint8_t id[CKPT_BUILD_ID_MAX];
	size_t len;

	*unprovenp = false;
	if (f->has_size && (uint64_t)st->st_size != f->size)
		return "it has another size than at the dump";
	if (f->has_build_id && f->build_id.len) {
		len = ckpt_build_id(fd, id);
		if (len != f->build_id.len || memcmp(id, f->build_id.data, len))
			return "it has another build-id than at the dump";
		return NULL;
	}
	*unprovenp = !f->has_mtime_sec;
	if (f->has_mtime_sec &&
	    (st->st_mtim.tv_sec != f->mtime_sec || st->st_mtim.tv_nsec != f->mtime_nsec))
		return "it has been written to since the dump";
	return NULL;
}

static const char *open_same(struct ckpt_look_file *file, const Ckpt__File *f)
{
	const char *why;
	struct stat st;

	file->fd = open_regular(f->path, &st);
	if (file->fd == -EBADMSG)
		return "it is no regular file any more";
	if (file->fd < 0)
		return strerrordesc_np(-file->fd);
	file->size = st.st_size;
	why = differs(f, file->fd, &st, &file->unproven);
	if (why)
		close(file->fd);
	return why;
}

static void try(struct ckpt_arena *arena, struct ckpt_look_file *file, const Ckpt__File *f)
{
	const char *why = f && f->path[0] == '/' ? open_same(file, f) : "it is no file with a path";
	const char *path = f ? f->path : "mapping";
	char *text;

	file->tried = true;
	if (!why)
		return;
	file->fd = -1;
	text = ckpt_alloc(arena, strlen(path) + strlen(why) + 3);
	sprintf(text, "%s: %s", path, why);
	file->why = text;
}

const struct ckpt_look_file *ckpt_look_file(struct ckpt_look *look, const struct ckpt_object *obj)
{
	struct ckpt_look_file *file = &look->files[obj->id - 1];

	if (!file->tried)
		try(look->arena, file, message_of(obj));
	return file;
}

bool ckpt_look_same_file(const struct ckpt_look *look, uint32_t a, uint32_t b)
{
	const struct ckpt_object *x = look->snap->objects[a - 1], *y = look->snap->objects[b - 1];

	return x == y || (x->kind == y->kind && x->file.ino && x->file.dev == y->file.dev &&
			  x->file.ino == y->file.ino);
}
