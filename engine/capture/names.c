/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel knows all names of a file and tells one, that of opening. If that one is gone another
 * in the same folder is looked for, or another mount that shows the file; else it is given one,
 * which stays, for a restore needs it as often as there is one.
 */
#include "engine/capture/names.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/capture/mounts.h"
#include "engine/capture/path.h"
#include "engine/capture/policy.h"

#define MAX_ENTRIES 65536 /* of a folder: the tree stands still meanwhile */
#define MAX_MOUNTS 4096
#define GIVEN ".ckpt-link-"

static size_t folder_len(const char *path)
{
	return strrchr(path, '/') + 1 - path;
}

/* ---- in the same folder ---- */

const char *ckpt_name_beside(struct ckpt_collect *c, const char *path)
{
	size_t len = folder_len(path);
	char full[PATH_MAX + NAME_MAX + 2];
	const char *found = NULL;
	unsigned int n = 0;
	DIR *dir;

	snprintf(full, sizeof(full), "%.*s", (int)len, path);
	dir = opendir(full);
	for (struct dirent *e = dir ? readdir(dir) : NULL; e && !found && n++ < MAX_ENTRIES;
	     e = readdir(dir)) {
		if (e->d_ino != c->probe->st.st_ino)
			continue;
		snprintf(full + len, sizeof(full) - len, "%s", e->d_name);
		if (ckpt_path_leads_to(full, &c->probe->st))
			found = ckpt_strdup(c->arena, full);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* ---- another mount ---- */

/* The next one of that file system. */
static bool next_mount(const char **textp, dev_t dev, struct ckpt_mount *m)
{
	while (ckpt_mount_next(textp, m))
		if (m->dev == dev)
			return true;
	return false;
}

/* What of PATH is below FOLDER, with its slash; NULL if it is not. */
static const char *below(const char *path, const char *folder)
{
	size_t len = strlen(folder);

	if (len == 1)
		return path;
	return !strncmp(path, folder, len) && path[len] == '/' ? path + len : NULL;
}

/* The file is INSIDE of its file system: does any mount show it? */
static const char *shown_by(struct ckpt_collect *c, const char *text, const char *inside)
{
	struct ckpt_mount *m = ckpt_new(c->arena, struct ckpt_mount);
	char path[2 * PATH_MAX];

	while (next_mount(&text, c->probe->st.st_dev, m)) {
		const char *rest = below(inside, m->root);

		if (!rest)
			continue;
		snprintf(path, sizeof(path), "%s%s", m->point[1] ? m->point : "", rest);
		if (strlen(path) < PATH_MAX && ckpt_path_leads_to(path, &c->probe->st))
			return ckpt_strdup(c->arena, path);
	}
	return NULL;
}

static const char *other_mount(struct ckpt_collect *c, const char *path)
{
	struct ckpt_mount *m = ckpt_new(c->arena, struct ckpt_mount);
	struct ckpt_err ignored = CKPT_ERR_INIT;
	char inside[2 * PATH_MAX], *text;
	const char *found = NULL, *at;
	unsigned int n = 0;

	CKPT_FD fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || ckpt_read_all(c->arena, fd, &text, NULL, &ignored) < 0)
		return NULL;
	at = text;
	while (!found && n++ < MAX_MOUNTS && next_mount(&at, c->probe->st.st_dev, m)) {
		const char *rest = below(path, m->point);

		if (!rest)
			continue;
		snprintf(inside, sizeof(inside), "%s%s", m->root[1] ? m->root : "", rest);
		found = shown_by(c, text, inside);
	}
	return found;
}

/* ---- a new name ---- */

static int give_name(struct ckpt_collect *c, const char *path, const char **otherp,
		     struct ckpt_err *err)
{
	const struct ckpt_file_policy *policy = c->policy;
	char name[PATH_MAX + 64], link[40];

	snprintf(name, sizeof(name), "%.*s", (int)folder_len(path), path);
	if (policy->only_look)
		return faccessat(AT_FDCWD, name, W_OK | X_OK, AT_EACCESS) < 0 ? -errno : 0;
	snprintf(name, sizeof(name), "%.*s" GIVEN "%llx", (int)folder_len(path), path,
		 (unsigned long long)c->probe->st.st_ino);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", c->fd);
	if (strlen(name) >= PATH_MAX)
		return -ENAMETOOLONG;
	if (linkat(AT_FDCWD, link, AT_FDCWD, name, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	*otherp = ckpt_strdup(c->arena, name);
	if (policy->made_name)
		policy->made_name(policy->arg, *otherp);
	(void)err;
	return 0;
}

int ckpt_other_name(struct ckpt_collect *c, const char *path, const char **otherp, bool *madep,
		    struct ckpt_err *err)
{
	const char *why = "it has no file system that another name could be given in";
	int r = -ENOENT;

	*madep = false;
	*otherp = ckpt_name_beside(c, path);
	if (!*otherp)
		*otherp = other_mount(c, path);
	if (*otherp)
		return 0;
	if (c->policy && c->policy->no_link)
		why = "--no-link-remap forbids to give it another name";
	else if (c->policy && c->fd >= 0 && !S_ISDIR(c->probe->st.st_mode))
		r = give_name(c, path, otherp, err);
	if (r >= 0) {
		*madep = *otherp != NULL;
		*otherp = *otherp ? *otherp : path;
		return 0;
	}
	if (r != -ENOENT)
		why = strerrordesc_np(-r);
	return ckpt_refuse(err, CKPT_E_DELETED_FILE, -ENOENT,
			   "file %s: it is not at this path any more, yet it has a name elsewhere "
			   "(links: %u), and cannot be given another: %s",
			   path, (unsigned int)c->probe->st.st_nlink, why);
}
