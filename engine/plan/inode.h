/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several open files of one inode that has no name (pipe, memfd, deleted file): the one with the
 * lowest id makes the inode, the others are opened again through /proc/self/fd.
 */
#pragma once
#include <fcntl.h>
#include <sys/stat.h>
#include "engine/plan/plan.h"
#include "engine/plan/site.h"

/* What open(2) is given again; the rest is set by the engine or must not happen twice. */
#define CKPT_OPEN_FLAGS (O_ACCMODE | O_PATH | O_DIRECTORY | O_NOFOLLOW | O_SYNC | O_DSYNC)

static inline bool ckpt_reads(uint32_t flags)
{
	return (flags & O_ACCMODE) != O_WRONLY;
}

static inline bool ckpt_writes(uint32_t flags)
{
	return (flags & O_ACCMODE) != O_RDONLY;
}

/* By the message: an object that was refused at the dump has a kind without functions. */
static inline bool ckpt_same_inode(const struct ckpt_object *a, const struct ckpt_object *b)
{
	return a->kind->message == b->kind->message && a->file.dev == b->file.dev &&
	       a->file.ino == b->file.ino;
}

/* The object with the lowest, or the highest, id of the same inode and kind: maybe OBJ itself. */
const struct ckpt_object *ckpt_inode_first(const struct ckpt_snapshot *snap,
					   const struct ckpt_object *obj);
const struct ckpt_object *ckpt_inode_last(const struct ckpt_snapshot *snap,
					  const struct ckpt_object *obj);

/* Opens the inode behind FD again, with the access mode in FLAGS. */
int ckpt_inode_reopen(int fd, uint32_t flags, struct ckpt_err *err);
/* For create() of the first one, which made FD (read and write): hands over all others. Those with
 * content stay open for writing until ckpt_inode_settle(). */
int ckpt_inode_put_others(struct ckpt_site *site, const struct ckpt_object *obj, int fd,
			  struct ckpt_err *err);
/* For link(), when the content is there: gives the bank's descriptor of OBJ the access mode it had.
 */
int ckpt_inode_settle(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err);
/* Owner (where that may be set), permissions and time of modification of the inode behind the
 * bank's descriptor. */
int ckpt_inode_attributes(struct ckpt_site *site, const struct ckpt_object *obj, uid_t uid,
			  gid_t gid, mode_t mode, const struct timespec *mtime,
			  struct ckpt_err *err);
