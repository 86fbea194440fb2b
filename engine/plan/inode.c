/* SPDX-License-Identifier: Apache-2.0 */
/* A descriptor is replaced by dup3(2), so that the bank's number stays what it is. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/plan/inode.h"

#define REOPEN_FLAGS (O_ACCMODE | O_PATH | O_SYNC | O_DSYNC)
#define ANY_TMPFILE (O_TMPFILE & ~O_DIRECTORY)

/* A file that was made with O_TMPFILE keeps that, and O_DIRECTORY with it, among its flags. */
static uint32_t reopen_flags(uint32_t flags)
{
	return (flags & REOPEN_FLAGS) | (flags & ANY_TMPFILE ? 0 : flags & O_DIRECTORY);
}

const struct ckpt_object *ckpt_inode_first(const struct ckpt_snapshot *snap,
					   const struct ckpt_object *obj)
{
	for (size_t i = 0; i < snap->n_objects; i++)
		if (ckpt_same_inode(snap->objects[i], obj))
			return snap->objects[i];
	return obj;
}

const struct ckpt_object *ckpt_inode_last(const struct ckpt_snapshot *snap,
					  const struct ckpt_object *obj)
{
	for (size_t i = snap->n_objects; i > 0; i--)
		if (ckpt_same_inode(snap->objects[i - 1], obj))
			return snap->objects[i - 1];
	return obj;
}

int ckpt_inode_reopen(int fd, uint32_t flags, struct ckpt_err *err)
{
	char link[40];
	int copy;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	copy = open(link, reopen_flags(flags) | O_CLOEXEC | O_NOCTTY);
	return copy >= 0 ? copy : ckpt_fail(err, -errno, "%s: cannot open it again", link);
}

int ckpt_inode_put_others(struct ckpt_site *site, const struct ckpt_object *obj, int fd,
			  struct ckpt_err *err)
{
	for (size_t i = obj->id; i < site->snap->n_objects; i++) {
		const struct ckpt_object *other = site->snap->objects[i];
		int copy, r;

		if (!ckpt_same_inode(other, obj))
			continue;
		copy = ckpt_inode_reopen(fd, other->has_content ? O_RDWR : other->file.flags, err);
		r = copy < 0 ? copy : site->ops->put(site, other->id, copy, err);
		if (r < 0)
			return ckpt_in(err, r, "%s %u", other->kind->name, other->id);
	}
	return 0;
}

int ckpt_inode_settle(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	int bank = site->ops->fd_of(site, obj->id, err),
	    old = bank < 0 ? bank : fcntl(bank, F_GETFL);
	off_t pos;

	if (bank < 0)
		return bank;
	if (old < 0)
		return ckpt_fail(err, -errno, "%s %u: cannot ask for its flags", obj->kind->name,
				 obj->id);
	if (reopen_flags(old) == reopen_flags(obj->file.flags))
		return 0;
	CKPT_FD fd = ckpt_inode_reopen(bank, obj->file.flags, err);
	if (fd < 0)
		return ckpt_in(err, fd, "%s %u", obj->kind->name, obj->id);
	pos = lseek(bank, 0, SEEK_CUR);
	if (!(obj->file.flags & O_PATH) &&
	    (fcntl(fd, F_SETFL, old) < 0 || lseek(fd, pos, SEEK_SET) < 0))
		return ckpt_fail(err, -errno, "%s %u: cannot set flags or position",
				 obj->kind->name, obj->id);
	if (dup3(fd, bank, O_CLOEXEC) < 0)
		return ckpt_fail(err, -errno, "%s %u: cannot take its number", obj->kind->name,
				 obj->id);
	return 0;
}

/* By the link: a descriptor for a path only (O_PATH) takes no fchmod(2). */
int ckpt_inode_attributes(struct ckpt_site *site, const struct ckpt_object *obj, uid_t uid,
			  gid_t gid, mode_t mode, const struct timespec *mtime,
			  struct ckpt_err *err)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_OMIT } };
	int fd = site->ops->fd_of(site, obj->id, err);
	char link[40];

	if (fd < 0)
		return fd;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	/* EPERM, and EINVAL for ids that this user namespace has not: the plan has called it a
	 * loss. */
	if ((uid != geteuid() || gid != getegid()) && chown(link, uid, gid) < 0 && errno != EPERM &&
	    errno != EINVAL)
		return ckpt_fail(err, -errno, "%s %u: cannot give it to its owner %u",
				 obj->kind->name, obj->id, uid);
	if (chmod(link, mode & 07777) < 0)
		return ckpt_fail(err, -errno, "%s %u: cannot set its mode", obj->kind->name,
				 obj->id);
	if (mtime)
		times[1] = *mtime;
	if (mtime && utimensat(AT_FDCWD, link, times, 0) < 0)
		return ckpt_fail(err, -errno, "%s %u: cannot set its time of modification",
				 obj->kind->name, obj->id);
	return 0;
}
