/* SPDX-License-Identifier: Apache-2.0 */
/* Working directory, root and umask, as links in /proc lead to them. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/capture/fs.h"
#include "engine/capture/path.h"

#define DELETED " (deleted)"

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && !strcmp(s + n - m, end);
}

/* A name may end like this by itself: where the directory can be looked at, its links tell. */
static bool may_be_gone(const char *path)
{
	return ends_with(path, DELETED);
}

/* What the link leads to: zeros where we may not read that directory. */
static int look_at(struct ckpt_collect *c, const char *name, const char *path, struct stat *st,
		   struct ckpt_err *err)
{
	CKPT_FD fd = c->src->ops->open_proc(c->src, c->tid, name, err);

	memset(st, 0, sizeof(*st));
	if (fd < 0)
		return fd == -EACCES ? 0 : fd;
	return fstat(fd, st) < 0 ? ckpt_fail(err, -errno, "%s %s: cannot look at it", name, path) :
				   0;
}

/* The path behind the link; also one that is too long for a link. */
static int read_path(struct ckpt_collect *c, const char *name, char **pathp, struct ckpt_err *err)
{
	char link[PATH_MAX + 32];
	const char *path = link;
	int r = c->src->ops->read_link(c->src, c->tid, name, link, sizeof(link), err);

	if (r == -ENAMETOOLONG) {
		CKPT_FD fd = c->src->ops->open_proc(c->src, c->tid, name, err);

		if (fd < 0)
			return fd;
		*err = (struct ckpt_err)CKPT_ERR_INIT;
		path = ckpt_long_path(c->arena, fd);
		if (!path)
			return ckpt_refuse(err, CKPT_E_LONG_PATH, r,
					   "%s: its path has more than %d bytes", name, PATH_MAX);
	} else if (r < 0) {
		return r;
	}
	*pathp = ckpt_strdup(c->arena, path);
	return 0;
}

/* That path, and what it leads to if STP is given. 1: it has been deleted. */
static int get_path(struct ckpt_collect *c, const char *name, char **pathp, struct stat *stp,
		    struct ckpt_err *err)
{
	struct stat st;
	const char *path;
	int r = read_path(c, name, pathp, err);

	if (r < 0)
		return r;
	path = *pathp;
	if (stp || may_be_gone(path))
		r = look_at(c, name, path, stp ? stp : &st, err);
	if (r < 0)
		return r;
	if (path[0] != '/')
		return ckpt_refuse(err, CKPT_E_NAMESPACE, -ENOENT,
				   "%s cannot be reached from here: %s", name, path);
	return may_be_gone(path) && !(stp ? stp : &st)->st_nlink;
}

/* Another one will be made in its place, as empty as a deleted directory always is. */
static int get_cwd(struct ckpt_collect *c, Ckpt__Fs *m, struct ckpt_err *err)
{
	struct stat st;
	int r = get_path(c, "cwd", &m->cwd, NULL, err);

	if (r <= 0)
		return r;
	r = look_at(c, "cwd", m->cwd, &st, err);
	if (r < 0)
		return r;
	m->cwd[strlen(m->cwd) - strlen(DELETED)] = '\0';
	m->has_cwd_mode = m->has_cwd_uid = m->has_cwd_gid = true;
	/* Where an ordinary user may not look it says nothing. */
	m->cwd_mode = st.st_mode ? st.st_mode & 07777 : 0755;
	m->cwd_uid = st.st_mode ? st.st_uid : geteuid();
	m->cwd_gid = st.st_mode ? st.st_gid : getegid();
	return 0;
}

int ckpt_fs_collect(struct ckpt_collect *c, Ckpt__Fs *m, struct ckpt_err *err)
{
	struct stat st, ours;
	const char *status, *s;
	uint64_t umask;
	char *root;
	int r = get_cwd(c, m, err);

	if (r < 0)
		return r;
	r = get_path(c, "root", &root, &st, err);
	if (r < 0)
		return r;
	if (r > 0)
		return ckpt_refuse(err, CKPT_E_DELETED_FILE, -ENOENT,
				   "root is a directory that is gone: %s", root);
	if (stat("/", &ours) < 0)
		return ckpt_fail(err, -errno, "/: cannot look at it");
	if (st.st_dev != ours.st_dev || st.st_ino != ours.st_ino)
		m->root = root;
	/* Roots are changed, and directories of threads, by a plain call at the end. */
	if ((m->root && strlen(root) >= PATH_MAX) ||
	    (c->tid != c->pid && strlen(m->cwd) >= PATH_MAX))
		return ckpt_refuse(
			err, CKPT_E_LONG_PATH, -ENAMETOOLONG,
			"thread %d: the path of its root or working directory has more than "
			"%d bytes",
			c->tid, PATH_MAX);
	r = ckpt_status_text(c, &status, err);
	if (r < 0)
		return r;
	s = ckpt_line_after(status, "Umask");
	if (!s || !ckpt_parse_u64(&s, 8, &umask))
		return ckpt_fail(err, -EBADMSG, "status: cannot read \"Umask:\"");
	m->umask = umask;
	return 0;
}
