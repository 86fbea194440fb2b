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
#include "engine/capture/attributes.h"
#include "engine/capture/collect.h"
#include "engine/capture/names.h"
#include "engine/capture/path.h"
#include "engine/capture/policy.h"
#include "engine/model/object.h"
#include "engine/plan/carried.h"
#include "engine/plan/ghost.h"
#include "engine/plan/host.h"
#include "engine/plan/identity.h"
#include "engine/plan/inode.h"
#include "engine/plan/owner.h"
#include "engine/plan/path.h"
#include "engine/plan/validate.h"
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
	/* Seen only as a mapping, by an ordinary user, and open nowhere. */
	if (c->fd < 0 && !st->st_mtim.tv_sec) {
		f->uid = geteuid();
		f->gid = getegid();
		f->has_mtime_sec = f->has_mtime_nsec = false;
		ckpt_lost(c,
			  "deleted file %s: what is not mapped of it, its owner, mode and time: "
			  "an ordinary user does not see them",
			  f->path);
	}
	if (f->has_size)
		ckpt_has_content(c, f->size);
	ckpt_lost_attributes(c, "deleted file", f->path);
}

static int collect_hash(struct ckpt_collect *c, Ckpt__File *f, struct ckpt_err *err)
{
	CKPT_FD fd = ckpt_open_to_read(c);

	if (fd < 0)
		return 0;
	f->sha256.data = ckpt_alloc(c->arena, CKPT_SHA256);
	f->sha256.len = CKPT_SHA256;
	f->has_sha256 = true;
	return ckpt_in(err, ckpt_sha256(fd, f->size, f->sha256.data, err), "file %s", f->path);
}

/* What a restore, or who looks into the image later, compares the file with. */
static int collect_identity(struct ckpt_collect *c, Ckpt__File *f, struct ckpt_err *err)
{
	const struct ckpt_file_policy *policy = c->policy;
	const struct stat *st = &c->probe->st;

	if (c->fd < 0 || !S_ISREG(st->st_mode) || ckpt_is_made_up(c->probe) ||
	    (policy && policy->no_identity))
		return 0;
	f->has_mtime_sec = f->has_mtime_nsec = true;
	f->mtime_sec = st->st_mtim.tv_sec;
	f->mtime_nsec = st->st_mtim.tv_nsec;
	if (c->number < 0) {
		f->build_id.data = ckpt_alloc(c->arena, CKPT_BUILD_ID_MAX);
		f->build_id.len = ckpt_mapped_build_id(c, f->build_id.data);
		f->has_build_id = f->build_id.len > 0;
	}
	return policy && policy->hash && !policy->only_look ? collect_hash(c, f, err) : 0;
}

static bool is_to_carry(struct ckpt_collect *c)
{
	if (!c->policy || !S_ISREG(c->probe->st.st_mode) || ckpt_is_made_up(c->probe))
		return false;
	switch (c->policy->carry) {
	case CKPT_CARRY_MAPPED:
		return c->number < 0;
	case CKPT_CARRY_ALL:
		return true;
	case CKPT_CARRY_WRITTEN:
		return ckpt_written_in_tree(c);
	case CKPT_CARRY_NONE:
		break;
	}
	return false;
}

static void collect_carried(struct ckpt_collect *c, Ckpt__File *f)
{
	const struct stat *st = &c->probe->st;

	if (!is_to_carry(c))
		return;
	CKPT_FD fd = ckpt_open_to_read(c);
	if (fd < 0) {
		ckpt_lost(c, "file %s: may not be read, so the image does not carry it", f->path);
		return;
	}
	f->has_uid = f->has_gid = f->has_mtime_sec = f->has_mtime_nsec = true;
	f->uid = st->st_uid;
	f->gid = st->st_gid;
	f->mtime_sec = st->st_mtim.tv_sec;
	f->mtime_nsec = st->st_mtim.tv_nsec;
	ckpt_has_content(c, f->size);
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
	int r;

	state = ckpt_path_of(c, &path);
	f->path = (char *)path;
	f->mode = st->st_mode;
	f->has_size = S_ISREG(st->st_mode);
	f->size = f->has_size ? st->st_size : 0;
	if (state != CKPT_PATH_SAME && c->number < 0 && c->src->thawed_at)
		return ckpt_fail(err, -ESTALE, "file %s: it was moved or deleted meanwhile", path);
	r = collect_identity(c, f, err);
	if (r < 0)
		return r;
	if (state == CKPT_PATH_SAME && !ckpt_is_silly(c->probe)) {
		collect_carried(c, f);
		return 0;
	}
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
	if ((!S_ISREG(f->mode) && !S_ISDIR(f->mode)) ||
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

static struct ckpt_seen seen(const Ckpt__File *f)
{
	return (struct ckpt_seen){
		.size = f->size,
		.has_mtime = f->has_mtime_sec,
		.mtime = { f->mtime_sec, f->mtime_nsec },
		.build_id = f->has_build_id && f->build_id.len ? f->build_id.data : NULL,
		.build_id_len = f->build_id.len,
		.sha256 = f->has_sha256 ? f->sha256.data : NULL,
		.package = f->package,
	};
}

/* A log that has become longer is no other file, if the user says so. */
static bool plan_grown(struct ckpt_planner *p, const struct ckpt_object *obj, const Ckpt__File *f,
		       const struct stat *st, const char *who)
{
	const struct ckpt_restore_opts *opts = ckpt_planner_opts(p);
	bool appends = obj->file.flags & O_APPEND;
	unsigned long long more = st->st_size - f->size;

	if (!ckpt_writes(obj->file.flags) || obj->file.flags & O_PATH ||
	    (uint64_t)st->st_size <= f->size)
		return false;
	if (opts->grown == CKPT_GROWN_TRUNCATE)
		ckpt_loss(p, "%sfile %s: has grown by %llu bytes, which are cut off", who, f->path,
			  more);
	else if (opts->grown == CKPT_GROWN_APPEND && appends)
		ckpt_loss(p, "%sfile %s: has grown by %llu bytes, which stay", who, f->path, more);
	else if (appends)
		ckpt_problem(p, CKPT_E_FILE_GROWN, "%sfile %s: had %llu bytes, has %llu now", who,
			     f->path, (unsigned long long)f->size, (unsigned long long)st->st_size);
	else
		return false;
	return true;
}

/* Content that is carried for a file which has a name: is it needed? */
static void plan_carried(struct ckpt_planner *p, const struct ckpt_object *obj, const Ckpt__File *f,
			 const char *who)
{
	const struct ckpt_restore_opts *opts = ckpt_planner_opts(p);
	const struct ckpt_object *first = ckpt_carried_first(ckpt_planner_snapshot(p), obj);
	bool written = ckpt_inode_written(ckpt_planner_snapshot(p), obj);
	const struct ckpt_seen then = seen(f);
	struct ckpt_verdict v = { .text = ": is not here, or cannot be opened" };
	struct stat st;

	if (ckpt_path_fits(p, f->path, f->mode, obj->file.flags, &st)) {
		ckpt_validate(opts, f->path, &then, &st, &v);
		if (v.number == CKPT_E_NONE && !v.text[0]) {
			ckpt_content_unused(p);
			return;
		}
	}
	if (written)
		ckpt_ghost_plan(p, who, &(struct ckpt_ghost){ f->path, S_IFREG, f->uid, f->gid });
	ckpt_loss(p, "%sfile %s%s: %s", who, f->path, v.text,
		  written ? "it is put back as it was at the dump" :
			    "the copy that the image carries is used");
	if (first != obj)
		ckpt_comes_with(p, first->id);
}

static void plan_named(struct ckpt_planner *p, const struct ckpt_object *obj, const Ckpt__File *f,
		       const char *who)
{
	const struct ckpt_seen then = seen(f);
	struct ckpt_verdict v;
	struct stat st;

	if (obj->has_content)
		ckpt_content_unused(p);
	if (!ckpt_path_here(p, obj, where(f), f->mode, obj->file.flags, &st) || !S_ISREG(f->mode))
		return;
	ckpt_validate(ckpt_planner_opts(p), where(f), &then, &st, &v);
	if (v.number != CKPT_E_NONE && !plan_grown(p, obj, f, &st, who))
		ckpt_problem(p, v.number, "%sfile %s%s", who, f->path, v.text);
	else if (v.number == CKPT_E_NONE && v.text[0])
		ckpt_loss(p, "%sfile %s%s", who, f->path, v.text);
}

static bool is_sane(const struct ckpt_object *obj, const Ckpt__File *f)
{
	if (!ckpt_path_sane(f->path) || f->size > INT64_MAX || f->mtime_nsec >= 1000000000u)
		return false;
	if (f->other && (!ckpt_path_sane(f->other) || f->deleted))
		return false;
	if (f->has_sha256 && f->sha256.len != CKPT_SHA256)
		return false;
	if (f->build_id.len > CKPT_BUILD_ID_MAX || (f->package && !ckpt_owner_sane(f->package)))
		return false;
	return f->deleted || !obj->has_content ||
	       (S_ISREG(f->mode) && obj->content_size == f->size && !f->other);
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const struct ckpt_snapshot *snap = ckpt_planner_snapshot(p);
	const Ckpt__File *f = (const void *)obj->msg;
	char who[CKPT_WHO];

	if (!is_sane(obj, f))
		return ckpt_fail(err, -EBADMSG, "file %u: bad path, size or content", obj->id);
	if (!S_ISREG(f->mode) && !S_ISDIR(f->mode) && !(obj->file.flags & O_PATH))
		return ckpt_fail(err, -EBADMSG, "file %u: bad type %#o", obj->id, f->mode);
	if (f->deleted)
		return plan_deleted(p, obj, f, err);
	if (!ckpt_planner_host(p))
		return 0;
	ckpt_path_who(p, obj, who, sizeof(who));
	/* A copy that somebody writes to would take what is written along into nothing. */
	if (obj->has_content && (ckpt_planner_opts(p)->rollback || !ckpt_inode_written(snap, obj)))
		plan_carried(p, obj, f, who);
	else
		plan_named(p, obj, f, who);
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
	bool given = f->other && !S_ISDIR(f->mode);
	const char *now, *old;
	CKPT_FD from = given ? ckpt_path_folder(f->other, &now) : -1;
	CKPT_FD to = given ? ckpt_path_folder(f->path, &old) : -1;
	int fd;

	if (from < 0 || to < 0 || linkat(from, now, to, old, 0) < 0)
		return ckpt_path_open(where(f), flags);
	fd = ckpt_path_open(f->path, flags);
	unlinkat(to, old, 0);
	return fd;
}

/* What differs the plan has found, and the user accepted. */
static bool may_differ(const struct ckpt_site *site)
{
	return site->opts &&
	       (site->opts->validation == CKPT_BY_NOTHING || site->opts->grown != CKPT_GROWN_FAIL);
}

static int create(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__File *f = (const void *)obj->msg;
	struct stat st;

	if (f->deleted)
		return create_deleted(site, obj, err);
	if (ckpt_carried_used(site, obj))
		return ckpt_carried_make(site, obj, f->path, f->size, err);
	CKPT_FD fd = open_named(f, (obj->file.flags & CKPT_OPEN_FLAGS & ~ANY_TMPFILE) | O_NOCTTY);
	if (fd < 0)
		return ckpt_fail(err, fd, "file %s: cannot open", f->path);
	if (fstat(fd, &st) < 0)
		return ckpt_fail(err, -errno, "file %s: cannot stat", f->path);
	if ((st.st_mode & S_IFMT) != (f->mode & S_IFMT) ||
	    (S_ISREG(f->mode) && (uint64_t)st.st_size != f->size && !may_differ(site)))
		return ckpt_refuse(err, CKPT_E_FILE_CHANGED, -ESTALE,
				   "file %s: it has just become another one", f->path);
	if (S_ISREG(f->mode) && (uint64_t)st.st_size > f->size && ckpt_writes(obj->file.flags) &&
	    site->opts->grown == CKPT_GROWN_TRUNCATE &&
	    site->ops->at_commit(
		    site, &(struct ckpt_at_commit){ .path = where(f), .size = f->size }, err) < 0)
		return err->code;
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

	if (!f->deleted && !ckpt_carried_used(site, obj))
		return 0;
	if (!f->deleted)
		return ckpt_in(
			err,
			ckpt_carried_settle(site, obj,
					    &(struct ckpt_carried_attributes){
						    f->path, f->uid, f->gid, f->mode, mtime },
					    err),
			"file %s", f->path);
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
