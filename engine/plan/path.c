/* SPDX-License-Identifier: Apache-2.0 */
/* Looking is all that is done here; create() looks again at what it opened. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/plan/file-list.h"
#include "engine/plan/path.h"

bool ckpt_path_sane(const char *path)
{
	return path[0] == '/' && strlen(path) < PATH_MAX;
}

const char *ckpt_path_who(struct ckpt_planner *p, const struct ckpt_object *obj, char *buf,
			  size_t size)
{
	const struct ckpt_task *task = ckpt_snapshot_task(ckpt_planner_snapshot(p), obj->task);

	buf[0] = '\0';
	if (!task)
		return buf;
	snprintf(buf, size, "process %d (%s): ", task->pid, task->comm);
	for (size_t i = 0; i < task->n_fds; i++)
		if (task->fds[i].object == obj->id) {
			snprintf(buf, size, "process %d (%s): fd %d: ", task->pid, task->comm,
				 task->fds[i].number);
			break;
		}
	return buf;
}

static const char *type_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "regular file";
	case S_IFDIR:
		return "folder";
	case S_IFLNK:
		return "symbolic link";
	case S_IFCHR:
		return "character device";
	case S_IFIFO:
		return "FIFO";
	case S_IFSOCK:
		return "socket";
	default:
		return "file of another type";
	}
}

static int access_for(uint32_t flags)
{
	if (flags & O_PATH)
		return F_OK;
	switch (flags & O_ACCMODE) {
	case O_WRONLY:
		return W_OK;
	case O_RDWR:
		return R_OK | W_OK;
	default:
		return R_OK;
	}
}

/* lstat(2), or what a list of another machine says. */
static int look(struct ckpt_planner *p, const char *path, struct stat *st)
{
	const struct ckpt_file_list *list = ckpt_planner_opts(p)->on_files;
	const struct ckpt_file_entry *entry;

	if (!list)
		return lstat(path, st);
	entry = ckpt_file_list_find(list, path);
	errno = ENOENT;
	if (!entry || !entry->st.st_mode)
		return -1;
	*st = entry->st;
	return 0;
}

/* By a link that is neither root's nor ours. */
static bool leads_astray(struct ckpt_planner *p, const char *path)
{
	CKPT_FD fd = ckpt_planner_opts(p)->on_files ? -1 : ckpt_path_look(path);

	return fd == -ELOOP;
}

static bool may_open(struct ckpt_planner *p, const char *path, uint32_t flags)
{
	return ckpt_planner_opts(p)->on_files ||
	       faccessat(AT_FDCWD, path, access_for(flags), AT_EACCESS | AT_SYMLINK_NOFOLLOW) == 0;
}

bool ckpt_path_fits(struct ckpt_planner *p, const char *path, mode_t mode, uint32_t flags,
		    struct stat *st)
{
	return look(p, path, st) == 0 && (st->st_mode & S_IFMT) == (mode & S_IFMT) &&
	       may_open(p, path, flags);
}

bool ckpt_path_here(struct ckpt_planner *p, const struct ckpt_object *obj, const char *path,
		    mode_t mode, uint32_t flags, struct stat *st)
{
	char who[CKPT_WHO];

	memset(st, 0, sizeof(*st));
	if (!ckpt_planner_host(p))
		return true;
	ckpt_path_who(p, obj, who, sizeof(who));
	if (look(p, path, st) < 0) {
		ckpt_problem(p, errno == EACCES ? CKPT_E_PRIVILEGE : CKPT_E_FILE_MISSING,
			     "%sfile %s: cannot look: %s", who, path, strerror(errno));
		return false;
	}
	if (leads_astray(p, path)) {
		ckpt_problem(p, CKPT_E_FOREIGN_LINK,
			     "%sfile %s: a symbolic link on the way there belongs to somebody else",
			     who, path);
		return false;
	}
	if ((st->st_mode & S_IFMT) != (mode & S_IFMT)) {
		ckpt_problem(p, CKPT_E_FILE_CHANGED, "%sfile %s: was a %s, is a %s now", who, path,
			     type_name(mode), type_name(st->st_mode));
		return false;
	}
	if (!may_open(p, path, flags)) {
		ckpt_problem(p, CKPT_E_PRIVILEGE, "%sfile %s: cannot open: %s", who, path,
			     strerror(errno));
		return false;
	}
	return true;
}

bool ckpt_path_folder_here(struct ckpt_planner *p, const struct ckpt_object *obj, const char *path)
{
	const char *last = strrchr(path, '/');
	char folder[PATH_MAX], who[CKPT_WHO];
	size_t len = last - path;

	if (!ckpt_planner_host(p))
		return true;
	ckpt_path_who(p, obj, who, sizeof(who));
	snprintf(folder, sizeof(folder), "%.*s", len ? (int)len : 1, path);
	if (faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) == 0)
		return true;
	ckpt_problem(p,
		     errno == ENOENT || errno == ENOTDIR ? CKPT_E_FILE_MISSING : CKPT_E_PRIVILEGE,
		     "%sfile %s: cannot be made in its folder: %s", who, path, strerror(errno));
	return false;
}
