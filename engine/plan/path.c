/* SPDX-License-Identifier: Apache-2.0 */
/* Looking is all that is done here; create() looks again at what it opened. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/plan/file-list.h"
#include "engine/plan/path.h"

bool ckpt_path_sane(const char *path)
{
	return path[0] == '/' && strlen(path) < CKPT_PATH_LEN;
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

/* What lies there: a descriptor, or -1 with errno. Of a list of another machine it is any: nobody
 * asks it. */
static int look(struct ckpt_planner *p, const char *path, struct stat *st)
{
	const struct ckpt_file_list *list = ckpt_planner_opts(p)->on_files;
	const struct ckpt_file_entry *entry = list ? ckpt_file_list_find(list, path) : NULL;
	int fd = list ? AT_FDCWD : ckpt_path_look(path);

	errno = -fd;
	if (!list)
		return fd < 0 || fstat(fd, st) < 0 ? -1 : fd;
	errno = ENOENT;
	if (!entry || !entry->st.st_mode)
		return -1;
	*st = entry->st;
	return fd;
}

static bool may_open(int fd, uint32_t flags)
{
	return fd == AT_FDCWD ||
	       faccessat(fd, "", access_for(flags), AT_EACCESS | AT_EMPTY_PATH) == 0;
}

bool ckpt_path_fits(struct ckpt_planner *p, const char *path, mode_t mode, uint32_t flags,
		    struct stat *st)
{
	CKPT_FD fd = look(p, path, st);

	return fd != -1 && (st->st_mode & S_IFMT) == (mode & S_IFMT) && may_open(fd, flags);
}

bool ckpt_path_here(struct ckpt_planner *p, const struct ckpt_object *obj, const char *path,
		    mode_t mode, uint32_t flags, struct stat *st)
{
	char who[CKPT_WHO];

	memset(st, 0, sizeof(*st));
	if (!ckpt_planner_host(p))
		return true;
	ckpt_path_who(p, obj, who, sizeof(who));
	CKPT_FD fd = look(p, path, st);
	if (fd == -1 && errno == ELOOP) {
		ckpt_problem(p, CKPT_E_FOREIGN_LINK,
			     "%sfile %s: a symbolic link on the way there belongs to somebody else",
			     who, path);
		return false;
	}
	if (fd == -1) {
		ckpt_problem(p, errno == EACCES ? CKPT_E_PRIVILEGE : CKPT_E_FILE_MISSING,
			     "%sfile %s: cannot look: %s", who, path, strerror(errno));
		return false;
	}
	if ((st->st_mode & S_IFMT) != (mode & S_IFMT)) {
		ckpt_problem(p, CKPT_E_FILE_CHANGED, "%sfile %s: was a %s, is a %s now", who, path,
			     type_name(mode), type_name(st->st_mode));
		return false;
	}
	if (!may_open(fd, flags)) {
		ckpt_problem(p, CKPT_E_PRIVILEGE, "%sfile %s: cannot open: %s", who, path,
			     strerror(errno));
		return false;
	}
	return true;
}

bool ckpt_path_folder_here(struct ckpt_planner *p, const struct ckpt_object *obj, const char *path)
{
	char who[CKPT_WHO];
	const char *last;

	if (!ckpt_planner_host(p))
		return true;
	ckpt_path_who(p, obj, who, sizeof(who));
	CKPT_FD fd = ckpt_path_folder(path, &last);
	errno = -fd;
	if (fd >= 0 && faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) == 0)
		return true;
	ckpt_problem(p,
		     errno == ELOOP                      ? CKPT_E_FOREIGN_LINK :
		     errno == ENOENT || errno == ENOTDIR ? CKPT_E_FILE_MISSING :
							   CKPT_E_PRIVILEGE,
		     "%sfile %s: cannot be made in its folder: %s", who, path,
		     errno == ELOOP ? "a symbolic link on the way there belongs to somebody else" :
				      strerror(errno));
	return false;
}
