/* SPDX-License-Identifier: Apache-2.0 */
/* Of what is open by then; whatever cannot be had is read when its time comes. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/capture/fds-ahead.h"

#define MOST 6912 /* as many again are held later: fd-room.c has room for both */

size_t ckpt_fds_to_keep(unsigned int part, size_t most)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 0;
	return limit.rlim_cur / part < most ? limit.rlim_cur / part : most;
}

int ckpt_fdinfo_open(int fd_dir, const char *name)
{
	char path[32];

	snprintf(path, sizeof(path), "../fdinfo/%s", name);
	return openat(fd_dir, path, O_RDONLY | O_CLOEXEC);
}

static bool look_up(struct ckpt_arena *arena, int fd_dir, const char *name, struct ckpt_fd_ahead *f)
{
	char link[PATH_MAX];
	ssize_t n = readlinkat(fd_dir, name, link, sizeof(link) - 1);

	if (n < 0)
		return false;
	f->number = atoi(name);
	f->info = ckpt_fdinfo_open(fd_dir, name);
	link[n] = '\0';
	f->link = ckpt_strdup(arena, link);
	return f->info >= 0;
}

static int by_number(const void *a, const void *b)
{
	const struct ckpt_fd_ahead *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

size_t ckpt_fds_ahead_most(void)
{
	return ckpt_fds_to_keep(4, MOST);
}

struct ckpt_fds_ahead *ckpt_fds_ahead_open(struct ckpt_arena *arena, pid_t pid, size_t most)
{
	struct ckpt_fds_ahead *ahead = ckpt_new(arena, struct ckpt_fds_ahead);
	size_t room = 0;
	char path[40];
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		return NULL;
	ahead->pid = pid;
	while (ahead->n < most && (d = readdir(dir))) {
		ahead->v = ckpt_grow(arena, ahead->v, ahead->n, &room, 64, sizeof(*ahead->v));
		if (d->d_name[0] != '.' &&
		    look_up(arena, dirfd(dir), d->d_name, &ahead->v[ahead->n]))
			ahead->n++;
	}
	closedir(dir);
	if (ahead->n)
		qsort(ahead->v, ahead->n, sizeof(*ahead->v), by_number);
	return ahead;
}

const struct ckpt_fd_ahead *ckpt_fds_ahead_find(const struct ckpt_fds_ahead *ahead, int number)
{
	const struct ckpt_fd_ahead key = { .number = number };

	return ahead && ahead->n ? bsearch(&key, ahead->v, ahead->n, sizeof(key), by_number) : NULL;
}

void ckpt_fds_ahead_close(struct ckpt_fds_ahead *ahead)
{
	for (size_t i = 0; ahead && i < ahead->n; i++)
		ckpt_close_fd(&ahead->v[i].info);
}
