/* SPDX-License-Identifier: Apache-2.0 */
/* What is put back is made beside the file and takes its name when the restore is decided: until
 * then nothing has changed. */
#include "engine/plan/carried.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/plan/inode.h"
#include "engine/plan/path.h"

bool ckpt_inode_written(const struct ckpt_snapshot *snap, const struct ckpt_object *obj)
{
	for (size_t i = 0; i < snap->n_objects; i++) {
		const struct ckpt_object *o = snap->objects[i];

		if (ckpt_same_inode(o, obj) && ckpt_writes(o->file.flags) &&
		    !(o->file.flags & O_PATH))
			return true;
	}
	return false;
}

const struct ckpt_object *ckpt_carried_first(const struct ckpt_snapshot *snap,
					     const struct ckpt_object *obj)
{
	for (size_t i = 0; i < snap->n_objects; i++)
		if (ckpt_same_inode(snap->objects[i], obj) && snap->objects[i]->has_content)
			return snap->objects[i];
	return obj;
}

bool ckpt_carried_used(const struct ckpt_site *site, const struct ckpt_object *obj)
{
	return obj->has_content && site->content_unused && !site->content_unused[obj->id];
}

static char *beside(const char *path, const struct ckpt_object *obj)
{
	char *name;

	return asprintf(&name, "%s.ckpt-back-%u", path, obj->id) < 0 ? NULL : name;
}

static int make_beside(struct ckpt_site *site, const struct ckpt_object *obj, const char *path,
		       struct ckpt_err *err)
{
	CKPT_FREE char *name = beside(path, obj);
	const char *last = "";
	CKPT_FD folder = name ? ckpt_path_folder(name, &last) : -ENOMEM;
	CKPT_FD fd = folder < 0 ? folder :
				  openat(folder, last,
					 O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return ckpt_fail(err, folder < 0 ? folder : -errno,
				 "file %s: cannot be put back: %s", path, last);
	if (site->ops->made_path(site, name, NULL, err) < 0)
		return err->code;
	return ckpt_take_fd(&fd);
}

static int put_others(struct ckpt_site *site, const struct ckpt_object *obj, int fd,
		      struct ckpt_err *err)
{
	for (size_t i = obj->id; i < site->snap->n_objects; i++) {
		const struct ckpt_object *other = site->snap->objects[i];
		int r;

		if (!ckpt_same_inode(other, obj) || !ckpt_carried_used(site, other))
			continue;
		r = ckpt_inode_reopen(fd, O_RDWR, err);
		if (r >= 0)
			r = site->ops->put(site, other->id, r, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int ckpt_carried_make(struct ckpt_site *site, const struct ckpt_object *obj, const char *path,
		      uint64_t size, struct ckpt_err *err)
{
	CKPT_FD fd = -1;
	int r;

	if (ckpt_inode_written(site->snap, obj))
		r = fd = make_beside(site, obj, path, err);
	else if ((r = fd = memfd_create(strrchr(path, '/') + 1, MFD_CLOEXEC)) < 0)
		r = ckpt_fail(err, -errno, "file %s: cannot make memory for it", path);
	if (r >= 0 && ftruncate(fd, size) < 0)
		r = ckpt_fail(err, -errno, "file %s: cannot make it %llu bytes long", path,
			      (unsigned long long)size);
	if (r >= 0)
		r = put_others(site, obj, fd, err);
	return r < 0 ? r : ckpt_take_fd(&fd);
}

static const struct ckpt_object *last_used(const struct ckpt_site *site,
					   const struct ckpt_object *obj)
{
	for (size_t i = site->snap->n_objects; i > 0; i--)
		if (ckpt_same_inode(site->snap->objects[i - 1], obj) &&
		    ckpt_carried_used(site, site->snap->objects[i - 1]))
			return site->snap->objects[i - 1];
	return obj;
}

int ckpt_carried_settle(struct ckpt_site *site, const struct ckpt_object *obj,
			const struct ckpt_carried_attributes *a, struct ckpt_err *err)
{
	const struct ckpt_object *first = ckpt_carried_first(site->snap, obj);
	bool written = ckpt_inode_written(site->snap, obj);
	struct ckpt_at_commit commit = { .path = a->path };
	int r = ckpt_inode_settle(site, obj, err);

	if (r < 0 || last_used(site, obj) != obj)
		return r;
	/* In memory: readable and executable is all that counts. */
	r = ckpt_inode_attributes(site, obj, written ? a->uid : geteuid(),
				  written ? a->gid : getegid(), a->mode, written ? &a->mtime : NULL,
				  err);
	CKPT_FREE char *name = written ? beside(a->path, first) : NULL;
	if (r < 0 || !name)
		return r;
	commit.from = name;
	return site->ops->at_commit(site, &commit, err);
}
