/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frozen, the same areas have to be where they were. Their flags (what madvise(2), mlock(2) and
 * mseal(2) say) are read once more afterwards: what was so before and after was so in between. Of
 * an area that is gone by then nothing can be said.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "engine/base/cleanup.h"
#include "injector/areas-ahead.h"

struct ahead {
	struct ckpt_maps_before before;
	struct ckpt_arena *arena;
	bool used;
};

static bool read_of(struct ahead *a, const char *name, struct ckpt_map **mapp, size_t *np)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/%s", a->before.pid, name);
	CKPT_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && ckpt_maps_read(a->arena, fd, mapp, np, &ignored) >= 0;
}

static bool is_same(const struct ckpt_map *a, const struct ckpt_map *b)
{
	return a->start == b->start && a->end == b->end && a->offset == b->offset &&
	       a->prot == b->prot && a->shared == b->shared && a->ino == b->ino &&
	       a->major == b->major && a->minor == b->minor && !strcmp(a->name, b->name);
}

static bool still_true(const struct ckpt_maps_before *before, const struct ckpt_source *src,
		       const pid_t *tids, size_t n_tids)
{
	struct ahead *a = (struct ahead *)before;
	struct ckpt_map *now;
	size_t n;

	(void)src, (void)tids, (void)n_tids;
	if (!read_of(a, "maps", &now, &n) || n != before->n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_same(&now[i], &before->map[i]))
			return false;
	a->used = true;
	return true;
}

static void close_nothing(struct ckpt_maps_before *before)
{
	(void)before;
}

struct ckpt_maps_before *ckpt_areas_ahead(struct ckpt_arena *arena, pid_t pid)
{
	struct ahead *a = ckpt_new(arena, struct ahead);

	a->arena = arena;
	a->before = (struct ckpt_maps_before){ .pid = pid,
					       .still_true = still_true,
					       .close = close_nothing };
	return read_of(a, "smaps", &a->before.map, &a->before.n) ? &a->before : NULL;
}

bool ckpt_areas_ahead_held(const struct ckpt_maps_before *before)
{
	struct ahead *a = (struct ahead *)before;
	struct ckpt_map *now;
	size_t n, k = 0;

	if (!a->used)
		return true;
	if (!read_of(a, "smaps", &now, &n))
		return false;
	for (size_t i = 0; i < before->n; i++) {
		while (k < n && now[k].start < before->map[i].start)
			k++;
		if (k < n && is_same(&now[k], &before->map[i]) &&
		    (now[k].flags != before->map[i].flags || now[k].pkey != before->map[i].pkey))
			return false;
	}
	return true;
}
