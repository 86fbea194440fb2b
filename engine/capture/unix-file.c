/* SPDX-License-Identifier: Apache-2.0 */
/* Where the file of a Unix socket is by now: servers bind a name of their own and then link or
 * rename it to the one that clients know, so that there is never none. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include "engine/capture/unix.h"

#define NAME_ROOM sizeof(((struct sockaddr_un *)0)->sun_path)

/* The kernel tells the low half of the number only. */
static bool is_it(const char *path, uint32_t ino, struct stat *st)
{
	return lstat(path, st) == 0 && S_ISSOCK(st->st_mode) && (uint32_t)st->st_ino == ino;
}

char *ckpt_unix_file_moved(struct ckpt_arena *arena, const char *path, uint32_t ino,
			   struct stat *st)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX], name[NAME_ROOM];
	bool found = false;
	struct dirent *e;
	DIR *dir;

	if (!slash || snprintf(folder, sizeof(folder), "%.*s", (int)(slash + 1 - path), path) >=
			      (int)sizeof(folder))
		return NULL;
	dir = opendir(folder);
	while (dir && !found && (e = readdir(dir)))
		found = (e->d_type == DT_SOCK || e->d_type == DT_UNKNOWN) &&
			snprintf(name, sizeof(name), "%s%s", folder, e->d_name) <
				(int)sizeof(name) &&
			is_it(name, ino, st);
	if (dir)
		closedir(dir);
	return found ? ckpt_strdup(arena, name) : NULL;
}
