/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named files whose content is in the image, too. Nobody writes: the content stands in where this
 * machine's own file differs, in memory. Somebody writes: the file is put back (--files rollback).
 */
#pragma once
#include <sys/stat.h>
#include "engine/plan/plan.h"
#include "engine/plan/site.h"

/* Is the inode open for writing by anybody? */
bool ckpt_inode_written(const struct ckpt_snapshot *snap, const struct ckpt_object *obj);
/* The object of the same inode that has the content, the one with the lowest id. */
const struct ckpt_object *ckpt_carried_first(const struct ckpt_snapshot *snap,
					     const struct ckpt_object *obj);
/* Does the restore use the content of OBJ, which has a name? */
bool ckpt_carried_used(const struct ckpt_site *site, const struct ckpt_object *obj);

/* For create() of the first: makes it, SIZE bytes long, and hands over all others. */
int ckpt_carried_make(struct ckpt_site *site, const struct ckpt_object *obj, const char *path,
		      uint64_t size, struct ckpt_err *err);
struct ckpt_carried_attributes {
	const char *path;
	uid_t uid;
	gid_t gid;
	mode_t mode;
	struct timespec mtime;
};
/* For link() of each of them. */
int ckpt_carried_settle(struct ckpt_site *site, const struct ckpt_object *obj,
			const struct ckpt_carried_attributes *a, struct ckpt_err *err);
