/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ghost is made by its old name and loses it at once: the kernel then shows it as it did before.
 * Folders that are gone are made for that moment. Where nothing can be made, memory has to do.
 */
#include "engine/plan/ghost.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/plan/host.h"
#include "engine/plan/path.h"

#define MAX_NAMES 100
#define LOCK_TRIES 2000 /* ms */

/* ---- planning ---- */

static const char *type_of(mode_t mode)
{
	return S_ISREG(mode) ? "file" : S_ISDIR(mode) ? "folder" : "FIFO";
}

static void plan_folder(struct ckpt_planner *p, const char *who, const struct ckpt_ghost *g)
{
	CKPT_FREE char *rest = NULL;
	CKPT_FD fd = ckpt_path_deepest(g->path, &rest);
	size_t len = strlen(g->path), cut = strlen(rest ? rest : strrchr(g->path, '/') + 1) + 1;
	int code = fd < 0 ? -fd : faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) < 0 ? errno : 0;
	const char *why = code == ELOOP ? "a link of somebody else" : strerrordesc_np(code);
	/* Behind a link the rest of the way may be longer than the path. */
	int shown = cut < len ? len - cut : 1;

	if (!code)
		return;
	if (S_ISREG(g->mode))
		ckpt_loss(p, "%sdeleted file %s: cannot be made in %.*s (%s): will live in memory",
			  who, g->path, shown, g->path, why);
	else
		ckpt_problem(p, code == ELOOP ? CKPT_E_FOREIGN_LINK : CKPT_E_PRIVILEGE,
			     "%sdeleted %s %s: cannot be made in %.*s: %s", who, type_of(g->mode),
			     g->path, shown, g->path, why);
}

void ckpt_ghost_plan(struct ckpt_planner *p, const char *who, const struct ckpt_ghost *g)
{
	const struct ckpt_host *host = ckpt_planner_host(p);

	if (!host)
		return;
	plan_folder(p, who, g);
	if ((g->uid != host->uid || g->gid != host->gid) && !ckpt_host_has_cap(host, CAP_CHOWN))
		ckpt_loss(p, "%sdeleted %s %s: will belong to you, not to %u:%u", who,
			  type_of(g->mode), g->path, g->uid, g->gid);
}

/* ---- making ---- */

/* To the folder that a name is in. */
struct way {
	int at, code; /* that folder; negative: it cannot be had */
	char *parts;  /* names below the folder that was there, each with its NUL, on the heap */
	char *last;   /* the last of them that is no folder yet */
	size_t made;  /* how many of those before it were made, the last ones */
	int lock;
};

/* Others of the same restore may be on the same way: who made a folder must not find theirs in it
 * when it goes again. Whoever else holds the lock is not waited for. */
static int lock_way(void)
{
	const struct timespec ms = { 0, 1000000 };
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (int i = 0; fd >= 0 && i < LOCK_TRIES && flock(fd, LOCK_EX | LOCK_NB) < 0; i++)
		nanosleep(&ms, NULL);
	return fd;
}

/* Into the folder w->last, which is made if it is not there. */
static int make_step(struct way *w)
{
	bool made = mkdirat(w->at, w->last, 0700) == 0;
	int next = openat(w->at, w->last, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (next < 0) {
		w->code = -errno;
		if (made)
			unlinkat(w->at, w->last, AT_REMOVEDIR);
		return w->code;
	}
	w->made += made;
	close(w->at);
	w->at = next;
	return 0;
}

static void make_way(struct way *w, const char *path, mode_t mode)
{
	char *end;

	/* Files and FIFOs are made by one process, working directories by each for itself. */
	*w = (struct way){ .lock = S_ISDIR(mode) ? lock_way() : -1 };
	w->at = w->code = ckpt_path_deepest(path, &w->parts);
	w->last = w->parts;
	while (w->code >= 0 && (end = strchr(w->last, '/'))) {
		*end = '\0';
		if (*w->last && make_step(w) < 0)
			return;
		w->last = end + 1;
	}
}

static void leave_way(struct way *w)
{
	char *name = w->last;

	while (w->at >= 0 && w->made--) {
		int up = openat(w->at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);

		for (name--; name > w->parts && (!*name || name[-1]); name--)
			;
		close(w->at);
		w->at = up;
		if (up >= 0)
			unlinkat(up, name, AT_REMOVEDIR);
	}
	ckpt_close_fd(&w->at);
	ckpt_close_fd(&w->lock);
	free(w->parts);
}

/* O_NOFOLLOW would stay visible in F_GETFL: it is for the look alone. */
static int make_folder(int at, const char *name)
{
	if (mkdirat(at, name, 0700) < 0)
		return -1;
	CKPT_FD look = openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return look < 0 ? -1 : openat(look, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int make_fifo(int at, const char *name)
{
	return mkfifoat(at, name, 0600) < 0 ? -1 :
					      openat(at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

static int make_at(int at, const char *name, mode_t mode)
{
	int fd = S_ISDIR(mode)  ? make_folder(at, name) :
		 S_ISFIFO(mode) ? make_fifo(at, name) :
				  openat(at, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : fd;
}

/* The first free name: its own, or one beside it. */
static int make_named(int at, const char *last, mode_t mode)
{
	char name[NAME_MAX + 64];

	for (int i = 0; i < MAX_NAMES; i++) {
		int n = i ? snprintf(name, sizeof(name), "%s.ckpt-%d-%d", last, getpid(), i) :
			    snprintf(name, sizeof(name), "%s", last);
		CKPT_FD fd = n < (int)sizeof(name) ? make_at(at, name, mode) : -ENAMETOOLONG;

		if (fd == -EEXIST)
			continue;
		if (fd < 0)
			return fd;
		if (unlinkat(at, name, S_ISDIR(mode) ? AT_REMOVEDIR : 0) < 0)
			return -errno;
		return ckpt_take_fd(&fd);
	}
	return -EEXIST;
}

/* Nothing can be made there: memory will do. */
static bool may_live_in_memory(int code)
{
	return code == -EROFS || code == -EACCES || code == -EPERM || code == -ENOENT ||
	       code == -ENOTDIR || code == -ELOOP;
}

int ckpt_ghost_make(const char *path, mode_t mode, struct ckpt_err *err)
{
	struct way way;
	int fd;

	make_way(&way, path, mode);
	fd = way.code < 0 ? way.code : make_named(way.at, way.last, mode);
	leave_way(&way);
	if (S_ISREG(mode) && may_live_in_memory(fd)) {
		fd = memfd_create(strrchr(path, '/') + 1, MFD_CLOEXEC);
		fd = fd < 0 ? -errno : fd;
	}
	return fd < 0 ? ckpt_fail(err, fd, "%s: cannot make the deleted file again", path) : fd;
}

int ckpt_ghost_make_unnamed(const char *path, struct ckpt_err *err)
{
	const char *last;
	CKPT_FD folder = ckpt_path_folder(path, &last);
	int fd = folder < 0 ? -1 : openat(folder, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	return fd >= 0 ? fd : ckpt_ghost_make(path, S_IFREG, err);
}
