/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel marks the link of an unlinked file with " (deleted)", which may as well be part of a
 * name. */
#include <string.h>
#include <sys/stat.h>
#include "engine/capture/path.h"

#define MARK " (deleted)"

bool ckpt_path_leads_to(const char *path, const struct stat *st)
{
	struct stat now;

	return lstat(path, &now) == 0 && now.st_dev == st->st_dev && now.st_ino == st->st_ino &&
	       (now.st_mode & S_IFMT) == (st->st_mode & S_IFMT);
}

enum ckpt_path_state ckpt_path_of(struct ckpt_collect *c, const char **pathp)
{
	const struct stat *st = &c->probe->st;
	char *path = ckpt_strdup(c->arena, c->probe->link);
	size_t len = strlen(path), mark = strlen(MARK);
	bool marked = len > mark && !strcmp(path + len - mark, MARK);

	*pathp = path;
	if (ckpt_path_leads_to(path, st))
		return CKPT_PATH_SAME;
	if (marked)
		path[len - mark] = '\0';
	return marked && st->st_nlink == 0 ? CKPT_PATH_DELETED : CKPT_PATH_LOST;
}
