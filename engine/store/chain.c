/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images that go on from others. All of a chain have their pages in one space of offsets: first
 * those of the oldest image, then, from the next whole chunk on, those of the one that was made
 * after it. So an offset means the same in every image of the chain that has it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/store/image.h"
#include "engine/store/image-inside.h"

static const char *path_of(struct ckpt_arena *arena, const char *dir, const char *name)
{
	size_t size = strlen(dir) + strlen(name) + 2;
	char *path;

	if (*name == '/')
		return name;
	path = ckpt_alloc(arena, size);
	snprintf(path, size, "%s/%s", dir, name);
	return path;
}

static int check_same(const struct ckpt_image *img, const struct ckpt_image *parent,
		      struct ckpt_err *err)
{
	if (parent->content_id != img->parent_id)
		return ckpt_refuse(err, CKPT_E_PARENT_OTHER, -ESTALE,
				   "%s: goes on from image %016llx, but %s is image %016llx",
				   img->image_path, (unsigned long long)img->parent_id,
				   parent->image_path, (unsigned long long)parent->content_id);
	if (img->base != ckpt_image_next_base(parent))
		return ckpt_refuse(err, CKPT_E_IMAGE_DAMAGED, -EBADMSG,
				   "%s: its pages begin at %llu, those of %s end at %llu",
				   img->image_path, (unsigned long long)img->base,
				   parent->image_path,
				   (unsigned long long)ckpt_image_next_base(parent));
	return 0;
}

/* Opens NAME, as seen from the folder of IMG, as what it goes on from. Returns its folder. */
static int open_parent(struct ckpt_image *img, int dirfd, const char *dir, const char *name,
		       struct ckpt_err *err)
{
	const char *path = path_of(img->arena, dir, name);
	CKPT_FD fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return ckpt_refuse(err, CKPT_E_PARENT_MISSING, -errno,
				   "%s: goes on from the image in %s: cannot open that: %s",
				   img->image_path, path, strerror(errno));
	r = ckpt_image_open_one(&img->parent, img->arena, fd, path, img->away, err);
	if (r == -ENOENT && err->number == CKPT_E_NO_IMAGE)
		r = ckpt_refuse(err, CKPT_E_PARENT_MISSING, r,
				"%s: goes on from the image in %s, where there is none",
				img->image_path, path);
	if (r >= 0)
		r = check_same(img, img->parent, err);
	if (r < 0) {
		ckpt_image_close(img->parent);
		img->parent = NULL;
		return r;
	}
	img->parent->dirfd = -1;
	img->parent->dir = path;
	return ckpt_take_fd(&fd);
}

/* The link is for those who move folders about, and may adjust it. */
static int open_either(struct ckpt_image *img, int dirfd, const char *dir, struct ckpt_err *err)
{
	struct ckpt_err second = CKPT_ERR_INIT;
	int r = open_parent(img, dirfd, dir, img->parent_dir, err), again;

	if (r >= 0)
		return r;
	again = open_parent(img, dirfd, dir, CKPT_PARENT_LINK, &second);
	if (again >= 0)
		*err = (struct ckpt_err)CKPT_ERR_INIT;
	return again >= 0 ? again : r;
}

/* FD is its folder. Mostly nothing of it but pages is read later. */
static void settle(struct ckpt_image *img, int *fd, bool whole)
{
	if (whole) {
		img->dirfd = ckpt_take_fd(fd);
		img->own_dirfd = true;
		return;
	}
	close(img->image_fd);
	img->image_fd = -1;
}

int ckpt_image_open_parents(struct ckpt_image *img, int dirfd, bool whole, struct ckpt_err *err)
{
	CKPT_FD held = -1;
	int depth = 0;

	for (; img->parent_dir; img = img->parent) {
		CKPT_FD fd = -1;

		if (++depth > CKPT_CHAIN_MAX)
			return ckpt_refuse(err, CKPT_E_CHAIN_LONG, -ELOOP,
					   "%s: more than %d images go on from each other",
					   img->image_path, CKPT_CHAIN_MAX);
		fd = open_either(img, dirfd, img->dir, err);
		if (fd < 0)
			return fd;
		dirfd = fd;
		settle(img->parent, &fd, whole);
		ckpt_close_fd(&held);
		held = ckpt_take_fd(&fd);
	}
	return 0;
}

/* ---- what the chain looks like ---- */

uint64_t ckpt_image_base(const struct ckpt_image *img)
{
	return img->base;
}

uint64_t ckpt_image_end(const struct ckpt_image *img)
{
	return img->base + img->pages_size;
}

uint64_t ckpt_image_next_base(const struct ckpt_image *img)
{
	return (ckpt_image_end(img) + CKPT_CHUNK - 1) / CKPT_CHUNK * CKPT_CHUNK;
}

const struct ckpt_image *ckpt_image_parent(const struct ckpt_image *img)
{
	return img->parent;
}

const char *ckpt_image_folder(const struct ckpt_image *img)
{
	return img->dir;
}

unsigned int ckpt_image_depth(const struct ckpt_image *img)
{
	unsigned int n = 0;

	while ((img = img->parent))
		n++;
	return n;
}

const struct ckpt_image *ckpt_image_of(const struct ckpt_image *img, uint64_t offset)
{
	while (img->parent && offset < img->base)
		img = img->parent;
	return img;
}

/* Between the end of one pages file and the whole chunk at which the next begins there is nothing.
 */
static bool has_all(const struct ckpt_image *img, const struct ckpt_run *run)
{
	uint64_t end = run->offset + run->n_pages * CKPT_PAGE;

	for (; end > run->offset; end = img->base) {
		img = ckpt_image_of(img, end - 1);
		if (end > ckpt_image_end(img))
			return false;
		if (img->base <= run->offset)
			break;
	}
	return true;
}

struct checking {
	const struct ckpt_image *img;
	struct ckpt_err *err;
};

static int check_pages(void *arg, struct ckpt_pages *pages)
{
	const struct checking *c = arg;

	for (size_t i = 0; i < pages->n; i++) {
		if (!has_all(c->img, &pages->run[i]))
			return ckpt_refuse(c->err, CKPT_E_IMAGE_DAMAGED, -EBADMSG,
					   "pages at %llu: none of the images has them",
					   (unsigned long long)pages->run[i].offset);
	}
	return 0;
}

int ckpt_snapshot_each_pages(const struct ckpt_snapshot *snap,
			     int (*each)(void *arg, struct ckpt_pages *pages), void *arg)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < snap->n_tasks; i++)
		r = each(arg, &snap->tasks[i]->pages);
	for (size_t i = 0; r >= 0 && i < snap->n_objects; i++)
		r = each(arg, &snap->objects[i]->content);
	return r;
}

int ckpt_image_check_runs(const struct ckpt_image *img, const struct ckpt_snapshot *snap,
			  struct ckpt_err *err)
{
	return ckpt_snapshot_each_pages(snap, check_pages, &(struct checking){ img, err });
}

/* Of RUN, which one of the chain has: the first image in which a page of it is given up. */
static const struct ckpt_image *loser_of(const struct ckpt_image *img, const struct ckpt_run *run)
{
	uint64_t end = run->offset + run->n_pages * CKPT_PAGE;

	for (; img && end > run->offset; img = img->parent) {
		uint64_t at = run->offset > img->base ? run->offset : img->base;

		for (; img->given_up.page && at < end; at += CKPT_PAGE)
			if (ckpt_bit(img->given_up.page, (at - img->base) / CKPT_PAGE))
				return img;
		end = end < img->base ? end : img->base;
	}
	return NULL;
}

static int check_kept(void *arg, struct ckpt_pages *pages)
{
	const struct checking *c = arg;

	for (size_t i = 0; i < pages->n; i++) {
		const struct ckpt_image *loser = loser_of(c->img, &pages->run[i]);
		const struct ckpt_given_up *g = loser ? &loser->given_up : NULL;

		if (!loser)
			continue;
		if (!g->n_heirs)
			return ckpt_refuse(c->err, CKPT_E_GIVEN_UP, -ESTALE,
					   "%s: pages that it needs were given up in %s",
					   c->img->image_path, loser->dir);
		return ckpt_refuse(c->err, CKPT_E_GIVEN_UP, -ESTALE,
				   "%s: pages that it needs were given up in %s for image %016llx "
				   "in %s",
				   c->img->image_path, loser->dir,
				   (unsigned long long)g->heir[g->n_heirs - 1]->id,
				   g->heir[g->n_heirs - 1]->dir);
	}
	return 0;
}

int ckpt_image_check_kept(const struct ckpt_image *img, const struct ckpt_snapshot *snap,
			  struct ckpt_err *err)
{
	return ckpt_snapshot_each_pages(snap, check_kept, &(struct checking){ img, err });
}

struct ckpt_pages_part *ckpt_image_parts(const struct ckpt_image *img, size_t *np)
{
	struct ckpt_pages_part *part;
	size_t n = 0;

	for (const struct ckpt_image *i = img; i; i = i->parent)
		n += i->files.n ? i->files.n : 1;
	*np = n;
	part = ckpt_alloc(img->arena, n * sizeof(*part));
	for (; img; img = img->parent) {
		part[n - 1] = (struct ckpt_pages_part){ img->base, -1 };
		n -= !img->files.n;
		for (size_t i = img->files.n; i-- > 0;) {
			part[--n] = img->files.part[i];
			part[n].base += img->base;
		}
	}
	return part;
}

void ckpt_image_know_parts(const struct ckpt_image *img, const struct ckpt_snapshot *snap)
{
	size_t n;
	const struct ckpt_pages_part *part = ckpt_image_parts(img, &n);

	memcpy(snap->parts, part, n * sizeof(*part));
}
