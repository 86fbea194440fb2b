/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel marks the link of an unlinked file with " (deleted)", which may as well be part of a
 * name. */
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "engine/base/cleanup.h"
#include "engine/capture/path.h"
#include "engine/plan/path.h"

#define MARK " (deleted)"

const char *ckpt_plain_name(struct ckpt_arena *arena, const char *name)
{
	char *copy, *to;

	if (!strstr(name, "\\012"))
		return name;
	copy = to = ckpt_alloc(arena, strlen(name) + 1);
	while (*name) {
		if (!strncmp(name, "\\012", 4)) {
			*to++ = '\n';
			name += 4;
		} else {
			*to++ = *name++;
		}
	}
	return copy;
}

static int look(const char *path, struct stat *st)
{
	if (strlen(path) < PATH_MAX)
		return lstat(path, st);
	CKPT_FD fd = ckpt_path_look(path);
	return fd < 0 ? -1 : fstat(fd, st);
}

bool ckpt_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
	       (a->st_mode & S_IFMT) == (b->st_mode & S_IFMT);
}

bool ckpt_path_leads_to(const char *path, const struct stat *st)
{
	struct stat now;

	return look(path, &now) == 0 && ckpt_same_file(&now, st);
}

enum ckpt_path_state ckpt_path_of(struct ckpt_collect *c, const char **pathp)
{
	const struct stat *st = &c->probe->st;
	char *path = ckpt_strdup(c->arena, c->probe->link);
	size_t len = strlen(path), mark = strlen(MARK);
	bool marked = len > mark && !strcmp(path + len - mark, MARK);

	*pathp = path;
	if (c->probe->link_leads || ckpt_path_leads_to(path, st))
		return CKPT_PATH_SAME;
	if (marked)
		path[len - mark] = '\0';
	return marked && st->st_nlink == 0 ? CKPT_PATH_DELETED : CKPT_PATH_LOST;
}

/* What an NFS client makes of an open file that is deleted: a name that goes with the last who has
 * it open. */
bool ckpt_is_silly(const struct ckpt_probe *probe)
{
	const char *name = strrchr(probe->link, '/') + 1;

	return probe->fs_magic == NFS_SUPER_MAGIC && S_ISREG(probe->st.st_mode) &&
	       !strncmp(name, ".nfs", 4) && strlen(name) > 12 &&
	       strspn(name + 4, "0123456789abcdef") == strlen(name + 4);
}

/* Files that the kernel makes up have times and sizes that say nothing. */
bool ckpt_is_made_up(const struct ckpt_probe *probe)
{
	static const long magic[] = { PROC_SUPER_MAGIC,    SYSFS_MAGIC,   CGROUP_SUPER_MAGIC,
				      CGROUP2_SUPER_MAGIC, DEBUGFS_MAGIC, TRACEFS_MAGIC,
				      SECURITYFS_MAGIC,    PSTOREFS_MAGIC };

	for (size_t i = 0; i < sizeof(magic) / sizeof(magic[0]); i++)
		if (probe->fs_magic == magic[i])
			return true;
	return false;
}

/* A description of our own; -1: it may not be read. */
int ckpt_open_to_read(struct ckpt_collect *c)
{
	char link[40];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", c->fd);
	return c->fd < 0 ? -1 : open(link, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}
