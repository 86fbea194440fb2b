/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of sockets are reached through their folder, which is gone to step by step, but for
 * bind(2): the socket tells the name that it was bound by ever after. What that made is looked at
 * through the folder then. Working directories are changed for a moment: the builder has one
 * thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/capture/unix-diag.h"
#include "engine/plan/path.h"
#include "engine/plan/unix-name.h"

#define DYING_MS 200
#define DYING_STEP_MS 5

#define NAME_AT offsetof(struct sockaddr_un, sun_path)

static bool is_path(const struct ckpt_unix_name *n)
{
	return n->len && n->name[0];
}

bool ckpt_unix_name_sane(const struct ckpt_unix_name *n)
{
	if (n->len > CKPT_UNIX_NAME_MAX)
		return false;
	if (!is_path(n))
		return !n->path && !n->cwd;
	if (memchr(n->name, 0, n->len) || !n->path || !ckpt_path_sane(n->path) || n->mode & ~07777u)
		return false;
	if (n->moved && (!ckpt_path_sane(n->moved) || strlen(n->moved) >= CKPT_UNIX_NAME_MAX))
		return false;
	return n->name[0] == '/' ? !n->cwd : n->cwd && ckpt_path_sane(n->cwd);
}

const char *ckpt_unix_name_show(const struct ckpt_unix_name *n, char *buf, size_t size)
{
	size_t at = 0;

	if (n->path) {
		snprintf(buf, size, "%s", n->path);
		return buf;
	}
	for (size_t i = 0; i < n->len && at + 5 < size; i++) {
		bool plain = n->name[i] > ' ' && n->name[i] < 127;

		at += snprintf(buf + at, size - at,
			       !i && !n->name[i] ? "@" :
			       plain             ? "%c" :
						   "\\%03o",
			       n->name[i]);
	}
	buf[at] = '\0';
	return buf;
}

static socklen_t address(const void *name, size_t len, struct sockaddr_un *a)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	memcpy(a->sun_path, name, len);
	/* A path ends with a NUL, unless it fills all there is. */
	return NAME_AT + len + (a->sun_path[0] && len < sizeof(a->sun_path));
}

enum action { BIND, CONNECT, SEND };

static int act_here(enum action action, int fd, const void *name, size_t len, struct msghdr *m)
{
	struct sockaddr_un a;
	socklen_t a_len = address(name, len, &a);
	int r;

	if (action == BIND)
		r = bind(fd, (const void *)&a, a_len);
	else if (action == CONNECT)
		r = connect(fd, (const void *)&a, a_len);
	else {
		m->msg_name = &a;
		m->msg_namelen = a_len;
		r = sendmsg(fd, m, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	return r < 0 ? -errno : 0;
}

/* Negative errno. A name that is relative is bound in the folder that it is relative to; whoever
 * else is looked for in the folder that the file is in. */
static int act(enum action action, int fd, const struct ckpt_unix_name *n, struct msghdr *m)
{
	bool by_folder = n->path && action != BIND;
	const char *last = NULL;
	int r;

	if (!by_folder && !n->cwd)
		return act_here(action, fd, n->name, n->len, m);
	CKPT_FD folder = by_folder ? ckpt_path_folder(n->path, &last) : ckpt_path_directory(n->cwd);
	if (folder < 0)
		return folder;
	if (by_folder && strlen(last) > CKPT_UNIX_NAME_MAX)
		return -ENAMETOOLONG;
	CKPT_FD back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (back < 0 || fchdir(folder) < 0)
		return -errno;
	r = by_folder ? act_here(action, fd, last, strlen(last), m) :
			act_here(action, fd, n->name, n->len, m);
	return fchdir(back) < 0 ? -EIO : r;
}

int ckpt_unix_bind_only(int fd, const struct ckpt_unix_name *n)
{
	return act(BIND, fd, n, NULL);
}

int ckpt_unix_connect(int fd, const struct ckpt_unix_name *n, struct ckpt_err *err)
{
	int r = act(CONNECT, fd, n, NULL);
	char name[PATH_MAX];

	return r < 0 ? ckpt_fail(err, r, "cannot connect to %s",
				 ckpt_unix_name_show(n, name, sizeof(name))) :
		       0;
}

int ckpt_unix_send(int fd, const struct ckpt_unix_name *n, struct msghdr *m, struct ckpt_err *err)
{
	int r = act(SEND, fd, n, m);
	char name[PATH_MAX];

	return r < 0 ? ckpt_fail(err, r, "cannot send to %s",
				 ckpt_unix_name_show(n, name, sizeof(name))) :
		       0;
}

static bool refuses(int type, const struct ckpt_unix_name *n)
{
	CKPT_FD fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd >= 0 && act(CONNECT, fd, n, NULL) == -ECONNREFUSED;
}

/* Does nobody answer at the path? Who was killed a moment ago may do so a little longer: what lies
 * in queues the kernel gives back by and by. */
static bool is_dead(int type, const struct ckpt_unix_name *n)
{
	for (int i = 0; i < DYING_MS / DYING_STEP_MS; i++) {
		if (refuses(type, n))
			return true;
		usleep(DYING_STEP_MS * 1000);
	}
	return false;
}

/* A name that is free, beside that of N. */
static int free_name(const struct ckpt_unix_name *n, char name[PATH_MAX])
{
	for (int i = 0; i < 100; i++) {
		if (snprintf(name, PATH_MAX, i ? "%s.ckpt-%d-%d" : "%s.ckpt-%d", n->path, getpid(),
			     i) >= PATH_MAX)
			return -ENAMETOOLONG;
		CKPT_FD there = ckpt_path_look(name);
		if (there == -ENOENT)
			return 0;
	}
	return -EEXIST;
}

/* What a dead socket left there would keep us from the path. It comes back should the restore fail.
 */
static int put_aside(struct ckpt_site *site, int type, const struct ckpt_unix_name *n,
		     struct ckpt_err *err)
{
	const char *last, *last_aside;
	char aside[PATH_MAX];
	struct stat st;
	int r;

	CKPT_FD folder = ckpt_path_folder(n->path, &last);
	if (folder < 0)
		return ckpt_fail(err, folder, "%s: cannot look", n->path);
	if (fstatat(folder, last, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : ckpt_fail(err, -errno, "%s: cannot look", n->path);
	if (!S_ISSOCK(st.st_mode) || !is_dead(type, n))
		return ckpt_refuse(err, CKPT_E_ADDRESS_IN_USE, -EADDRINUSE, "socket %s: %s",
				   n->path,
				   S_ISSOCK(st.st_mode) ? "a process is listening there" :
							  "a file is in its place");
	r = free_name(n, aside);
	last_aside = aside + (last - n->path);
	if (r >= 0 && renameat(folder, last, folder, last_aside) < 0)
		r = -errno;
	if (r < 0)
		return ckpt_fail(err, r, "socket %s: cannot put the old one aside", n->path);
	return site->ops->made_path(site, n->path, aside, err);
}

/* Is FILE the one that FD is bound to? Where the kernel has no sock_diag(7) one of ours will do. */
static bool is_file_of(int fd, const struct stat *file)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;
	struct ckpt_unix_diag diag;
	struct stat st;
	int r;

	if (!S_ISSOCK(file->st_mode) || fstat(fd, &st) < 0)
		return false;
	r = ckpt_unix_diag(st.st_ino, &diag, &ignored);
	if (r < 0 && r != -ENOENT)
		return file->st_uid == geteuid();
	/* The kernel tells the low half of the number only. */
	return r >= 0 && diag.has_file && diag.file_ino == (uint32_t)file->st_ino;
}

/* The socket file at the path, if it is the one that FD is bound to: a descriptor (O_PATH). */
static int open_ours(int fd, const struct ckpt_unix_name *n)
{
	CKPT_FD file = ckpt_path_look(n->path);
	struct stat st;

	if (file < 0)
		return file;
	if (fstat(file, &st) < 0)
		return -errno;
	return is_file_of(fd, &st) ? ckpt_take_fd(&file) : -ESTALE;
}

/* EPERM, and EINVAL for ids that this user namespace has not: the plan has called it a loss. */
static int own_file(int file, const struct ckpt_unix_name *n, bool mode, struct ckpt_err *err)
{
	char link[32];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
	if ((n->uid != geteuid() || n->gid != getegid()) &&
	    fchownat(file, "", n->uid, n->gid, AT_EMPTY_PATH) < 0 && errno != EPERM &&
	    errno != EINVAL)
		return ckpt_fail(err, -errno, "socket %s: cannot give it to its owner %u", n->path,
				 n->uid);
	if ((mode || n->mode & ~0777u) && chmod(link, n->mode) < 0)
		return ckpt_fail(err, -errno, "socket %s: cannot set its mode", n->path);
	return 0;
}

/* The name that was bound goes when nobody has to connect to it any more (ckpt_unix_unlink). */
static int move(struct ckpt_site *site, int type, int file, const struct ckpt_unix_name *n,
		struct ckpt_err *err)
{
	struct ckpt_unix_name now = { .path = n->moved,
				      .mode = n->mode,
				      .uid = n->uid,
				      .gid = n->gid };
	const char *from, *to;
	int r = put_aside(site, type, &now, err);

	if (r < 0)
		return r;
	CKPT_FD source = ckpt_path_folder(n->path, &from);
	CKPT_FD target = ckpt_path_folder(n->moved, &to);
	if (source < 0 || target < 0 || linkat(source, from, target, to, 0) < 0)
		return ckpt_fail(err,
				 source < 0 ? source :
				 target < 0 ? target :
					      -errno,
				 "socket %s: cannot link it to %s", n->path, n->moved);
	r = site->ops->made_path(site, n->moved, NULL, err);
	return r < 0 ? r : own_file(file, &now, true, err);
}

static int made_file(struct ckpt_site *site, int fd, int type, const struct ckpt_unix_name *n,
		     struct ckpt_err *err)
{
	CKPT_FD file = open_ours(fd, n);
	int r;

	if (file == -ESTALE || file == -ELOOP)
		return ckpt_refuse(err, CKPT_E_FOREIGN_LINK, file,
				   "socket %s: somebody has changed the way there", n->path);
	if (file < 0)
		return ckpt_fail(err, file, "socket %s: cannot look at its file", n->path);
	r = site->ops->made_path(site, n->path, NULL, err);
	if (r >= 0 && n->moved)
		return move(site, type, file, n, err);
	return r < 0 || !n->has_file ? r : own_file(file, n, false, err);
}

int ckpt_unix_bind(struct ckpt_site *site, int fd, int type, const struct ckpt_unix_name *n,
		   struct ckpt_err *err)
{
	char name[PATH_MAX];
	mode_t mask;
	int r = is_path(n) && n->has_file ? put_aside(site, type, n, err) : 0;

	if (r < 0)
		return r;
	/* The file is never more open than it shall be. */
	mask = umask(~(n->has_file ? n->mode : 0700) & 0777);
	r = act(BIND, fd, n, NULL);
	umask(mask);
	ckpt_unix_name_show(n, name, sizeof(name));
	if (r == -EADDRINUSE)
		return ckpt_refuse(err, CKPT_E_ADDRESS_IN_USE, r, "socket %s: the name is taken",
				   name);
	if (r < 0)
		return ckpt_fail(err, r, "socket %s: cannot bind", name);
	return is_path(n) ? made_file(site, fd, type, n, err) : 0;
}

void ckpt_unix_unlink(int fd, const struct ckpt_unix_name *n)
{
	const char *last;

	if (!is_path(n) || n->has_file)
		return;
	CKPT_FD file = open_ours(fd, n);
	CKPT_FD folder = file < 0 ? file : ckpt_path_folder(n->path, &last);
	if (folder >= 0)
		unlinkat(folder, last, 0);
}
