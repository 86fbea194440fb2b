/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regular files and folders. A named file is opened again where it was and has to be the size it
 * was; one that has lost its last name travels in the image and is made anew, nameless again, in
 * the same folder.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/build-id.h"
#include "engine/base/cleanup.h"
#include "engine/capture/collect.h"
#include "engine/capture/names.h"
#include "engine/capture/path.h"
#include "engine/capture/policy.h"
#include "engine/model/object.h"
#include "engine/plan/ghost.h"
#include "engine/plan/inode.h"
#include "engine/plan/path.h"
#include "proto/file.pb-c.h"

#define ANY_TMPFILE (O_TMPFILE & ~O_DIRECTORY)

/* Files of the kernel's own, which look like deleted ones in the root folder. */
static bool is_internal(const char *link)
{
	static const char *const prefix[] = { "/memfd:",        "/dev/zero (deleted)",
					      "/SYSV",          "/[aio]",
					      "/anon_hugepage", "/secretmem",
					      "/drm mm object", "/i915" };
	size_t len = strlen(link);

	if (len < 10 || strcmp(link + len - 10, " (deleted)"))
		return false;
	for (size_t i = 0; i < sizeof(prefix) / sizeof(prefix[0]); i++)
		if (!strncmp(link, prefix[i], strlen(prefix[i])))
			return true;
	return false;
}

/* A symbolic link can be opened only with O_PATH; so can anything else. */
static bool match(const struct ckpt_probe *probe)
{
	mode_t mode = probe->st.st_mode;

	return (S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode) || probe->path_only) &&
	       probe->link[0] == '/' && !(S_ISREG(mode) && is_internal(probe->link)) &&
	       !ckpt_probe_of_process(probe) && !ckpt_probe_mqueue(probe);
}

static void collect_deleted(struct ckpt_collect *c, Ckpt__File *f)
{
	const struct stat *st = &c->probe->st;

	f->has_deleted = f->deleted = true;
	f->has_uid = f->has_gid = f->has_mtime_sec = f->has_mtime_nsec = true;
	f->uid = st->st_uid;
	f->gid = st->st_gid;
	f->mtime_sec = st->st_mtim.tv_sec;
	f->mtime_nsec = st->st_mtim.tv_nsec;
	/* Seen only as a mapping, by an ordinary user. */
	if (c->fd < 0) {
		f->uid = geteuid();
		f->gid = getegid();
		f->has_mtime_sec = f->has_mtime_nsec = false;
	}
	if (f->has_size)
		ckpt_has_content(c, f->size);
}

/* What an NFS client makes of an open file that is deleted: a name that goes with the last who has
 * it open. */
static bool is_silly(const struct ckpt_probe *probe)
{
	const char *name = strrchr(probe->link, '/') + 1;

	return probe->fs_magic == NFS_SUPER_MAGIC && S_ISREG(probe->st.st_mode) &&
	       !strncmp(name, ".nfs", 4) && strlen(name) > 12 &&
	       strspn(name + 4, "0123456789abcdef") == strlen(name + 4);
}

/* What is only mapped is read by nobody at a restore, but by who looks into the image later: is it
 * still the same file? */
static void collect_identity(struct ckpt_collect *c, Ckpt__File *f)
{
	const struct stat *st = &c->probe->st;
	uint8_t id[CKPT_BUILD_ID_MAX];

	if (c->number >= 0 || c->fd < 0 || !S_ISREG(st->st_mode))
		return;
	f->has_mtime_sec = f->has_mtime_nsec = true;
	f->mtime_sec = st->st_mtim.tv_sec;
	f->mtime_nsec = st->st_mtim.tv_nsec;
	f->build_id.len = ckpt_build_id(c->fd, id);
	f->has_build_id = f->build_id.len > 0;
	f->build_id.data = ckpt_alloc(c->arena, sizeof(id));
	memcpy(f->build_id.data, id, f->build_id.len);
}

static int check_limit(struct ckpt_collect *c, const Ckpt__File *f, struct ckpt_err *err)
{
	uint64_t limit = c->policy ? c->policy->ghost_limit : 0;

	if (!limit || f->size <= limit)
		return 0;
	return ckpt_refuse(err, CKPT_E_GHOST_LIMIT, -EFBIG,
			   "deleted file %s: it has %llu bytes, more than the limit of %llu",
			   f->path, (unsigned long long)f->size, (unsigned long long)limit);
}

static int collect_lost(struct ckpt_collect *c, Ckpt__File *f, struct ckpt_err *err)
{
	const char *other;
	bool made;
	int r = ckpt_other_name(c, f->path, &other, &made, err);

	if (r < 0)
		return r;
	f->other = (char *)other;
	if (made)
		ckpt_lost(c, "file %s: was given the name %s, which a restore needs", f->path,
			  other);
	return 0;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__File *f = (void *)msg;
	const struct stat *st = &c->probe->st;
	const char *path;
	enum ckpt_path_state state;

	state = ckpt_path_of(c, &path);
	f->path = (char *)path;
	f->mode = st->st_mode;
	f->has_size = S_ISREG(st->st_mode);
	f->size = f->has_size ? st->st_size : 0;
	collect_identity(c, f);
	if (state == CKPT_PATH_SAME && !is_silly(c->probe))
		return 0;
	/* An ordinary user does not see how many names there are behind a mapping. */
	if (c->fd < 0)
		f->other = (char *)ckpt_name_beside(c, path);
	if (state != CKPT_PATH_LOST && !f->other &&
	    (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode))) {
		collect_deleted(c, f);
		return check_limit(c, f, err);
	}
	return collect_lost(c, f, err);
}

/* The path that leads to it. */
static const char *where(const Ckpt__File *f)
{
	return f->other ? f->other : f->path;
}

static int plan_deleted(struct ckpt_planner *p, const struct ckpt_object *obj, const Ckpt__File *f,
			struct ckpt_err *err)
{
	const struct ckpt_object *first = ckpt_inode_first(ckpt_planner_snapshot(p), obj);
	const Ckpt__File *maker = (const void *)first->msg;
	char who[CKPT_WHO];

	if (first->kind != obj->kind)
		return 0;
	if ((!S_ISREG(f->mode) && !S_ISDIR(f->mode)) || f->mtime_nsec >= 1000000000u ||
	    (obj->has_content && (!S_ISREG(f->mode) || obj->content_size != f->size)))
		return ckpt_fail(err, -EBADMSG,
				 "file %u: it cannot be a deleted file of that type and size",
				 obj->id);
	/* An ordinary user sees of a mapping only whole pages; it has no content of its own then.
	 */
	if (!maker->deleted || (f->mode ^ maker->mode) & S_IFMT ||
	    (obj->content.n && maker->size != f->size))
		return ckpt_fail(err, -EBADMSG,
				 "file %u: it is said to be one with file %u, and differs", obj->id,
				 first->id);
	if (first != obj) {
		ckpt_comes_with(p, first->id);
		return 0;
	}
	ckpt_ghost_plan(p, ckpt_path_who(p, obj, who, sizeof(who)),
			&(struct ckpt_ghost){ f->path, f->mode, f->uid, f->gid });
	return 0;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__File *f = (const void *)obj->msg;
	struct stat st;
	char who[CKPT_WHO];

	if (!ckpt_path_sane(f->path) || f->size > INT64_MAX ||
	    (f->other && (!ckpt_path_sane(f->other) || f->deleted)))
		return ckpt_fail(err, -EBADMSG, "file %u: bad path or size", obj->id);
	if (!S_ISREG(f->mode) && !S_ISDIR(f->mode) && !(obj->file.flags & O_PATH))
		return ckpt_fail(err, -EBADMSG, "file %u: bad type %#o", obj->id, f->mode);
	if (f->deleted)
		return plan_deleted(p, obj, f, err);
	if (obj->has_content)
		return ckpt_fail(err, -EBADMSG, "file %u: it has a name and content", obj->id);
	if (!ckpt_path_here(p, obj, where(f), f->mode, obj->file.flags, &st) ||
	    !ckpt_planner_host(p))
		return 0;
	if (S_ISREG(f->mode) && (uint64_t)st.st_size != f->size)
		ckpt_problem(p, CKPT_E_FILE_CHANGED, "%sfile %s: had %llu bytes, has %llu now",
			     ckpt_path_who(p, obj, who, sizeof(who)), f->path,
			     (unsigned long long)f->size, (unsigned long long)st.st_size);
	return 0;
}

static int create_deleted(struct ckpt_site *site, const struct ckpt_object *obj,
			  struct ckpt_err *err)
{
	const Ckpt__File *f = (const void *)obj->msg;
	CKPT_FD fd = S_ISREG(f->mode) && obj->file.flags & ANY_TMPFILE ?
			     ckpt_ghost_make_unnamed(f->path, err) :
			     ckpt_ghost_make(f->path, f->mode, err);
	int r;

	if (fd < 0)
		return fd;
	if (S_ISREG(f->mode) && ftruncate(fd, f->size) < 0)
		return ckpt_fail(err, -errno, "file %s: cannot make it %llu bytes long", f->path,
				 (unsigned long long)f->size);
	r = ckpt_inode_put_others(site, obj, fd, err);
	return r < 0 ? r : ckpt_take_fd(&fd);
}

/* By the name that it had, which is given to it for a moment: the kernel then shows it as before.
 */
static int open_named(const Ckpt__File *f, int flags)
{
	int fd;

	if (!f->other || S_ISDIR(f->mode) || linkat(AT_FDCWD, f->other, AT_FDCWD, f->path, 0) < 0)
		return ckpt_path_open(where(f), flags);
	fd = ckpt_path_open(f->path, flags);
	unlink(f->path);
	return fd;
}

static int create(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__File *f = (const void *)obj->msg;
	struct stat st;

	if (f->deleted)
		return create_deleted(site, obj, err);
	CKPT_FD fd = open_named(f, (obj->file.flags & CKPT_OPEN_FLAGS & ~ANY_TMPFILE) | O_NOCTTY);
	if (fd < 0)
		return ckpt_fail(err, fd, "file %s: cannot open", f->path);
	if (fstat(fd, &st) < 0)
		return ckpt_fail(err, -errno, "file %s: cannot stat", f->path);
	if ((st.st_mode & S_IFMT) != (f->mode & S_IFMT) ||
	    (S_ISREG(f->mode) && (uint64_t)st.st_size != f->size))
		return ckpt_refuse(err, CKPT_E_FILE_CHANGED, -ESTALE,
				   "file %s: it has just become another one", f->path);
	return ckpt_take_fd(&fd);
}

/* Content that was written behind the end instead of at its place must not pass for the file. */
static int check_size(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const struct ckpt_object *maker = ckpt_inode_first(site->snap, obj);
	const Ckpt__File *f = (const void *)maker->msg;
	int fd = site->ops->fd_of(site, maker->id, err);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return ckpt_fail(err, -errno, "cannot stat");
	if (S_ISREG(f->mode) && (uint64_t)st.st_size != f->size)
		return ckpt_fail(err, -EIO, "its content has become %llu bytes instead of %llu",
				 (unsigned long long)st.st_size, (unsigned long long)f->size);
	return 0;
}

/* Permissions come last: they could keep the others from being opened. */
static int settle(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__File *f = (const void *)obj->msg;
	struct timespec mtime = { f->mtime_sec, f->mtime_nsec };
	int r;

	if (!f->deleted)
		return 0;
	r = ckpt_inode_settle(site, obj, err);
	if (r < 0 || ckpt_inode_last(site->snap, obj) != obj)
		return ckpt_in(err, r, "deleted file %s", f->path);
	r = check_size(site, obj, err);
	if (r >= 0)
		r = ckpt_inode_attributes(site, obj, f->uid, f->gid, f->mode,
					  f->has_mtime_sec ? &mtime : NULL, err);
	return ckpt_in(err, r, "deleted file %s", f->path);
}

const struct ckpt_kind ckpt_kind_file = {
	.name = "file",
	.scope = CKPT_PER_FILE,
	.message = &ckpt__file__descriptor,
	.match = match,
	.collect = collect,
	.plan = plan,
	.create = create,
	.link = settle,
};
