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

#define MAX_NAMES 100
#define LOCK_TRIES 2000 /* ms */

/* ---- planning ---- */

/* Cuts PATH back to the deepest folder that is there. */
static void cut_to_folder(char *path)
{
	struct stat st;

	do {
		char *last = strrchr(path, '/');

		last[last == path] = '\0';
	} while (path[1] && stat(path, &st) < 0 && (errno == ENOENT || errno == ENOTDIR));
}

static const char *type_of(mode_t mode)
{
	return S_ISREG(mode) ? "file" : S_ISDIR(mode) ? "folder" : "FIFO";
}

static void plan_folder(struct ckpt_planner *p, const char *who, const struct ckpt_ghost *g)
{
	char folder[PATH_MAX];
	const char *why;

	snprintf(folder, sizeof(folder), "%s", g->path);
	cut_to_folder(folder);
	if (faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) == 0)
		return;
	why = strerrordesc_np(errno);
	if (S_ISREG(g->mode))
		ckpt_loss(p, "%sdeleted file %s: cannot be made in %s (%s): will live in memory",
			  who, g->path, folder, why);
	else
		ckpt_problem(p, CKPT_E_PRIVILEGE, "%sdeleted %s %s: cannot be made in %s: %s", who,
			     type_of(g->mode), g->path, folder, why);
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

/* Folders on the way to a name that were not there. */
struct way {
	char path[PATH_MAX];
	size_t first; /* length of the first that was made; 0: none was */
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

static void make_way(struct way *w, const char *path, mode_t mode)
{
	/* Files and FIFOs are made by one process, working directories by each for itself. */
	*w = (struct way){ .lock = S_ISDIR(mode) ? lock_way() : -1 };
	snprintf(w->path, sizeof(w->path), "%s", path);
	cut_to_folder(w->path);
	w->first = strlen(w->path);
	if (!strncmp(path, w->path, w->first) && !strchr(path + w->first + 1, '/')) {
		w->first = 0;
		return;
	}
	w->first = 0;
	for (const char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
		snprintf(w->path, sizeof(w->path), "%.*s", (int)(at - path), path);
		if (mkdir(w->path, 0700) == 0 && !w->first)
			w->first = at - path;
	}
}

static void leave_way(struct way *w, const char *path)
{
	const char *at = strrchr(path, '/');

	for (; w->first && at && (size_t)(at - path) >= w->first;
	     at = memrchr(path, '/', at - path)) {
		snprintf(w->path, sizeof(w->path), "%.*s", (int)(at - path), path);
		rmdir(w->path);
	}
	ckpt_close_fd(&w->lock);
}

static int make_at(const char *name, mode_t mode)
{
	int fd;

	if (S_ISREG(mode))
		fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	else if (S_ISDIR(mode))
		fd = mkdir(name, 0700) < 0 ? -1 : open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	else
		fd = mkfifo(name, 0600) < 0 ? -1 : open(name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The first free name: its own, or one beside it. */
static int make_named(const char *path, mode_t mode)
{
	char name[PATH_MAX];

	for (int i = 0; i < MAX_NAMES; i++) {
		int n = i ? snprintf(name, sizeof(name), "%s.ckpt-%d-%d", path, getpid(), i) :
			    snprintf(name, sizeof(name), "%s", path);
		CKPT_FD fd = n < (int)sizeof(name) ? make_at(name, mode) : -ENAMETOOLONG;

		if (fd == -EEXIST)
			continue;
		if (fd < 0)
			return fd;
		if (unlinkat(AT_FDCWD, name, S_ISDIR(mode) ? AT_REMOVEDIR : 0) < 0)
			return -errno;
		return ckpt_take_fd(&fd);
	}
	return -EEXIST;
}

int ckpt_ghost_make(const char *path, mode_t mode, struct ckpt_err *err)
{
	struct way way;
	int fd;

	make_way(&way, path, mode);
	fd = make_named(path, mode);
	leave_way(&way, path);
	if (S_ISREG(mode) &&
	    (fd == -EROFS || fd == -EACCES || fd == -EPERM || fd == -ENOENT || fd == -ENOTDIR)) {
		fd = memfd_create(strrchr(path, '/') + 1, MFD_CLOEXEC);
		fd = fd < 0 ? -errno : fd;
	}
	return fd < 0 ? ckpt_fail(err, fd, "%s: cannot make the deleted file again", path) : fd;
}

int ckpt_ghost_make_unnamed(const char *path, struct ckpt_err *err)
{
	const char *last = strrchr(path, '/');
	char folder[PATH_MAX];
	size_t len = last - path;
	int fd;

	snprintf(folder, sizeof(folder), "%.*s", len ? (int)len : 1, path);
	fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return fd >= 0 ? fd : ckpt_ghost_make(path, S_IFREG, err);
}
