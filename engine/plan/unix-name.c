/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A relative name is used from the folder it was relative to, so that the socket tells the same
 * name as before. That changes the working directory of the builder for a moment, which has one
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

static socklen_t address(const struct ckpt_unix_name *n, struct sockaddr_un *a)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	memcpy(a->sun_path, n->name, n->len);
	/* A path ends with a NUL, unless it fills all there is. */
	return NAME_AT + n->len + (is_path(n) && n->len < sizeof(a->sun_path));
}

/* Into the folder that the name is relative to; returns a descriptor for the way back, -1 with 0 in
 * errno: none needed. */
static int enter(const struct ckpt_unix_name *n)
{
	CKPT_FD back = -1;

	errno = 0;
	if (!n->cwd)
		return -1;
	back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (back < 0 || chdir(n->cwd) < 0)
		return -1;
	return ckpt_take_fd(&back);
}

static int leave(int back)
{
	int code = errno, r = back >= 0 ? fchdir(back) : 0;

	if (back >= 0)
		close(back);
	errno = code;
	return r;
}

enum action { BIND, CONNECT, SEND };

/* Negative errno. */
static int act(enum action action, int fd, const struct ckpt_unix_name *n, struct msghdr *m)
{
	struct sockaddr_un a;
	socklen_t a_len = address(n, &a);
	int back = enter(n), r = -1;

	if (back < 0 && errno)
		return -errno;
	if (action == BIND)
		r = bind(fd, (const void *)&a, a_len);
	else if (action == CONNECT)
		r = connect(fd, (const void *)&a, a_len);
	else {
		m->msg_name = &a;
		m->msg_namelen = a_len;
		r = sendmsg(fd, m, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	r = r < 0 ? -errno : 0;
	return leave(back) < 0 ? -EIO : r;
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

/* What a dead socket left there would keep us from the path. It comes back should the restore fail.
 */
static int put_aside(struct ckpt_site *site, int type, const struct ckpt_unix_name *n,
		     struct ckpt_err *err)
{
	char aside[PATH_MAX];
	struct stat st;

	if (lstat(n->path, &st) < 0)
		return errno == ENOENT ? 0 : ckpt_fail(err, -errno, "%s: cannot look", n->path);
	if (!S_ISSOCK(st.st_mode) || !is_dead(type, n))
		return ckpt_refuse(err, CKPT_E_ADDRESS_IN_USE, -EADDRINUSE, "socket %s: %s",
				   n->path,
				   S_ISSOCK(st.st_mode) ? "a process is listening there" :
							  "a file is in its place");
	if (snprintf(aside, sizeof(aside), "%s.ckpt-%d", n->path, getpid()) >= (int)sizeof(aside))
		return ckpt_fail(err, -ENAMETOOLONG, "socket %s: cannot put the old one aside",
				 n->path);
	for (int i = 0; lstat(aside, &st) == 0; i++)
		if (i == 100 || snprintf(aside, sizeof(aside), "%s.ckpt-%d-%d", n->path, getpid(),
					 i) >= (int)sizeof(aside))
			return ckpt_fail(err, -EEXIST, "socket %s: cannot put the old one aside",
					 n->path);
	if (rename(n->path, aside) < 0)
		return ckpt_fail(err, -errno, "socket %s: cannot put the old one aside", n->path);
	return site->ops->made_path(site, n->path, aside, err);
}

/* EPERM, and EINVAL for ids that this user namespace has not: the plan has called it a loss. */
static int own_file(const struct ckpt_unix_name *n, struct ckpt_err *err)
{
	if ((n->uid != geteuid() || n->gid != getegid()) && lchown(n->path, n->uid, n->gid) < 0 &&
	    errno != EPERM && errno != EINVAL)
		return ckpt_fail(err, -errno, "socket %s: cannot give it to its owner %u", n->path,
				 n->uid);
	if (n->mode & ~0777u && chmod(n->path, n->mode) < 0)
		return ckpt_fail(err, -errno, "socket %s: cannot set its mode", n->path);
	return 0;
}

/* The name that was bound goes when nobody has to connect to it any more (ckpt_unix_unlink). */
static int move(struct ckpt_site *site, int type, const struct ckpt_unix_name *n,
		struct ckpt_err *err)
{
	struct ckpt_unix_name now = *n;
	int r;

	now.name = (const uint8_t *)n->moved;
	now.len = strlen(n->moved);
	now.path = n->moved;
	now.cwd = NULL;
	r = put_aside(site, type, &now, err);
	if (r < 0)
		return r;
	if (link(n->path, n->moved) < 0)
		return ckpt_fail(err, -errno, "socket %s: cannot link it to %s", n->path, n->moved);
	r = site->ops->made_path(site, n->moved, NULL, err);
	if (r >= 0 && chmod(n->moved, n->mode) < 0)
		r = ckpt_fail(err, -errno, "socket %s: cannot set its mode", n->moved);
	return r < 0 ? r : own_file(&now, err);
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
	if (!is_path(n))
		return 0;
	r = site->ops->made_path(site, n->path, NULL, err);
	if (r >= 0 && n->moved)
		return move(site, type, n, err);
	return r < 0 || !n->has_file ? r : own_file(n, err);
}

void ckpt_unix_unlink(const struct ckpt_unix_name *n)
{
	struct stat st;

	if (is_path(n) && !n->has_file && lstat(n->path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(n->path);
}
