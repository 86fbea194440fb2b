/* SPDX-License-Identifier: Apache-2.0 */
/* Folders of checkpoints: made, counted, removed. What is removed loses its "image" first: it is
 * whole, or it is none, at any instant. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/store/image.h"
#include "tools/generations.h"

#define PREFIX "ckpt."
#define POLL_NS 20000000

static const char *join(struct ckpt_arena *arena, const char *dir, const char *name)
{
	size_t size = strlen(dir) + strlen(name) + 2;
	char *path = ckpt_alloc(arena, size);

	snprintf(path, size, "%s/%s", strcmp(dir, "/") ? dir : "", name);
	return path;
}

static int unusable(const struct ckpt_generations *g, int code, struct ckpt_err *err)
{
	return ckpt_refuse(err, CKPT_E_IMAGE_UNWRITABLE, code,
			   "%s: cannot use as a folder for checkpoints: %s", g->path,
			   strerrordesc_np(-code));
}

static int make_all(const char *path)
{
	char *copy = strdup(path);
	int r = 0;

	for (char *p = copy; p && *p && r >= 0; p++) {
		if (*p != '/' || p == copy)
			continue;
		*p = 0;
		r = mkdir(copy, 0700) < 0 && errno != EEXIST ? -errno : 0;
		*p = '/';
	}
	free(copy);
	/* Whoever reads it reads the memory of the programs. */
	if (r >= 0 && mkdir(path, 0700) < 0 && errno != EEXIST)
		r = -errno;
	return r;
}

int ckpt_generations_open(struct ckpt_generations *g, struct ckpt_arena *arena, const char *dir,
			  bool make, struct ckpt_err *err)
{
	char *cwd = *dir == '/' ? NULL : getcwd(NULL, 0);
	int r;

	*g = (struct ckpt_generations){ .arena = arena, .fd = -1, .lock = -1 };
	g->path = cwd ? join(arena, cwd, dir) : ckpt_strdup(arena, dir);
	free(cwd);
	r = make ? make_all(g->path) : 0;
	if (r < 0)
		return unusable(g, r, err);
	g->fd = open(g->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return g->fd < 0 ? unusable(g, -errno, err) : 0;
}

int ckpt_generations_below(struct ckpt_generations *g, const struct ckpt_generations *above,
			   const char *name, struct ckpt_err *err)
{
	return ckpt_generations_open(g, above->arena, join(above->arena, above->path, name), true,
				     err);
}

void ckpt_generations_close(struct ckpt_generations *g)
{
	if (g->lock >= 0)
		close(g->lock);
	if (g->fd >= 0)
		close(g->fd);
	g->fd = g->lock = -1;
}

/* ---- what is there ---- */

static bool is_generation(const char *name, unsigned int *numberp)
{
	size_t digits;

	if (strncmp(name, PREFIX, strlen(PREFIX)))
		return false;
	name += strlen(PREFIX);
	digits = strspn(name, "0123456789");
	if (digits < 6 || digits > 9 || name[digits])
		return false;
	*numberp = strtoul(name, NULL, 10);
	return true;
}

static int descending(const void *a, const void *b)
{
	unsigned int x = *(const unsigned int *)a, y = *(const unsigned int *)b;

	return x < y ? 1 : x > y ? -1 : 0;
}

/* The numbers of all folders, with an image or without, the newest first. */
static size_t all_numbers(struct ckpt_generations *g, unsigned int **numbersp)
{
	int fd = openat(g->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	size_t n = 0, room = 0;
	unsigned int number;

	*numbersp = NULL;
	while (dir && (e = readdir(dir)))
		if (is_generation(e->d_name, &number)) {
			*numbersp =
				ckpt_grow(g->arena, *numbersp, n, &room, 16, sizeof(**numbersp));
			(*numbersp)[n++] = number;
		}
	if (dir)
		closedir(dir);
	if (n)
		qsort(*numbersp, n, sizeof(**numbersp), descending);
	return n;
}

static void name_of(unsigned int number, char name[24])
{
	snprintf(name, 24, PREFIX "%06u", number);
}

static bool has_image(struct ckpt_generations *g, unsigned int number)
{
	char path[40], name[24];

	name_of(number, name);
	snprintf(path, sizeof(path), "%s/image", name);
	return faccessat(g->fd, path, F_OK, 0) == 0;
}

size_t ckpt_generations_list(struct ckpt_generations *g, unsigned int **numbersp)
{
	size_t all = all_numbers(g, numbersp), n = 0;

	for (size_t i = 0; i < all; i++)
		if (has_image(g, (*numbersp)[i]))
			(*numbersp)[n++] = (*numbersp)[i];
	return n;
}

int ckpt_generation_open(struct ckpt_generations *g, unsigned int number,
			 struct ckpt_generation *gen, struct ckpt_err *err)
{
	*gen = (struct ckpt_generation){ .number = number };
	name_of(number, gen->name);
	gen->path = join(g->arena, g->path, gen->name);
	gen->fd = openat(g->fd, gen->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return gen->fd < 0 ? ckpt_fail(err, -errno, "%s: cannot open", gen->path) : 0;
}

void ckpt_generation_close(struct ckpt_generation *gen)
{
	if (gen->fd >= 0)
		close(gen->fd);
	gen->fd = -1;
}

int ckpt_generation_image(struct ckpt_generations *g, unsigned int number, struct ckpt_image **imgp,
			  struct ckpt_err *err)
{
	struct ckpt_generation gen;
	int r = ckpt_generation_open(g, number, &gen, err);

	*imgp = NULL;
	if (r >= 0)
		r = ckpt_image_open_records(imgp, g->arena, gen.fd, gen.path, err);
	ckpt_generation_close(&gen);
	return r;
}

/* ---- what goes ---- */

static void remove_one(struct ckpt_generations *g, unsigned int number)
{
	struct ckpt_generation gen;
	struct ckpt_err ignored;
	struct dirent *e;
	DIR *dir;

	if (ckpt_generation_open(g, number, &gen, &ignored) < 0)
		return;
	unlinkat(gen.fd, "image", 0);
	dir = fdopendir(gen.fd);
	if (!dir) {
		ckpt_generation_close(&gen);
		return;
	}
	while ((e = readdir(dir)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			unlinkat(dirfd(dir), e->d_name, 0);
	closedir(dir);
	unlinkat(g->fd, gen.name, AT_REMOVEDIR);
}

void ckpt_generations_remove_all(struct ckpt_generations *g)
{
	unsigned int *number;
	size_t n = all_numbers(g, &number);

	/* What is left if we are killed is whole: none goes before those that go on from it. */
	for (size_t i = 0; i < n; i++)
		remove_one(g, number[i]);
}

static int take_lock(struct ckpt_generations *g, uint64_t wait_ns, struct ckpt_err *err)
{
	struct timespec pause = { 0, POLL_NS };

	g->lock = openat(g->fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (g->lock < 0)
		return unusable(g, -errno, err);
	for (uint64_t tries = wait_ns / POLL_NS + 1; flock(g->lock, LOCK_EX | LOCK_NB) < 0;) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return ckpt_fail(err, -errno, "%s/lock: cannot lock", g->path);
		if (!--tries)
			return ckpt_refuse(err, CKPT_E_FOLDER_BUSY, -EBUSY,
					   "%s: another checkpoint is being written to it",
					   g->path);
		nanosleep(&pause, NULL);
	}
	return 0;
}

static void give_lock(struct ckpt_generations *g)
{
	if (g->lock >= 0)
		close(g->lock);
	g->lock = -1;
}

static int make_next(struct ckpt_generations *g, struct ckpt_generation *gen, struct ckpt_err *err)
{
	unsigned int *number, next;
	size_t n = all_numbers(g, &number);

	next = n ? number[0] + 1 : 1;
	/* Nobody else writes now: what has no image is left of someone who was killed. */
	for (size_t i = 0; i < n; i++)
		if (!has_image(g, number[i]))
			remove_one(g, number[i]);
	name_of(next, gen->name);
	if (mkdirat(g->fd, gen->name, 0700) < 0)
		return ckpt_refuse(err, errno == ENOSPC ? CKPT_E_NO_SPACE : CKPT_E_IMAGE_UNWRITABLE,
				   -errno, "%s/%s: cannot make: %s", g->path, gen->name,
				   strerrordesc_np(errno));
	return ckpt_generation_open(g, next, gen, err);
}

int ckpt_generation_begin(struct ckpt_generations *g, uint64_t wait_ns, struct ckpt_generation *gen,
			  struct ckpt_err *err)
{
	int r = take_lock(g, wait_ns, err);

	if (r >= 0)
		r = make_next(g, gen, err);
	if (r < 0)
		give_lock(g);
	return r;
}

/* Those of the N that the newest KEEP go on from. False: nobody knows. */
static bool find_needed(struct ckpt_generations *g, const unsigned int *number, size_t n,
			size_t keep, bool *needed)
{
	for (size_t i = 0; i < keep; i++) {
		struct ckpt_err ignored = CKPT_ERR_INIT;
		const struct ckpt_image *from;
		struct ckpt_image *img;

		if (ckpt_generation_image(g, number[i], &img, &ignored) < 0)
			return false;
		for (from = img; (from = ckpt_image_parent(from));) {
			const char *name = strrchr(ckpt_image_folder(from), '/');
			unsigned int wanted;

			for (size_t k = keep; name && is_generation(name + 1, &wanted) && k < n;
			     k++)
				needed[k] |= number[k] == wanted;
		}
		ckpt_image_close(img);
	}
	return true;
}

void ckpt_generation_keep(struct ckpt_generations *g, struct ckpt_generation *gen,
			  unsigned int keep)
{
	unsigned int *number;
	size_t n = ckpt_generations_list(g, &number);
	bool *needed = ckpt_alloc(g->arena, (n + 1) * sizeof(*needed));

	keep = keep ? keep : 1;
	/* Not before the newest is there whatever happens to the machine. */
	fsync(g->fd);
	if (n > keep && find_needed(g, number, n, keep, needed))
		for (size_t i = keep; i < n; i++)
			if (!needed[i])
				remove_one(g, number[i]);
	ckpt_generation_close(gen);
	give_lock(g);
}

void ckpt_generation_abandon(struct ckpt_generations *g, struct ckpt_generation *gen)
{
	ckpt_generation_close(gen);
	remove_one(g, gen->number);
	give_lock(g);
}
