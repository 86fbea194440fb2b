/* SPDX-License-Identifier: Apache-2.0 */
/* Does an open file still lie where its link says? */
#pragma once
#include "engine/capture/collect.h"

enum ckpt_path_state {
	CKPT_PATH_SAME,    /* the path leads to it */
	CKPT_PATH_DELETED, /* no name of it is left anywhere */
	CKPT_PATH_LOST,    /* it has a name, but none that is known; or another file has taken its
			      place */
};

bool ckpt_same_file(const struct stat *a, const struct stat *b);
/* Does PATH, whose last part is no link, lead to the file of ST? */
bool ckpt_path_leads_to(const char *path, const struct stat *st);

/* The path of FD where a link of /proc cannot hold it, in the arena; NULL: it cannot be found out.
 * The working directory of this process changes meanwhile. */
const char *ckpt_long_path(struct ckpt_arena *arena, int fd);
/* maps shows a newline of a path as "\012", and nothing else in that way. */
const char *ckpt_plain_name(struct ckpt_arena *arena, const char *name);

/* The path of c's file without the " (deleted)" of the kernel, in the arena, and what it is worth.
 */
enum ckpt_path_state ckpt_path_of(struct ckpt_collect *c, const char **pathp);
/* A name that an NFS client gave a deleted file, which goes with the last who has it open. */
bool ckpt_is_silly(const struct ckpt_probe *probe);
/* A file of a file system that the kernel makes up: times and sizes say nothing. */
bool ckpt_is_made_up(const struct ckpt_probe *probe);
/* A description of our own of c's file; -1: it may not be read. */
int ckpt_open_to_read(struct ckpt_collect *c);
