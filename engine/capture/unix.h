/* SPDX-License-Identifier: Apache-2.0 */
/* The collecting half of engine/kinds/unix.c. */
#pragma once
#include <sys/stat.h>
#include "engine/capture/collect.h"
#include "proto/unix.pb-c.h"

/* Another name, in the same folder, of the socket file with that inode, which was bound as PATH;
 * what it is in *ST. NULL: there is none that a socket can be called by. */
char *ckpt_unix_file_moved(struct ckpt_arena *arena, const char *path, uint32_t ino,
			   struct stat *st);
int ckpt_unix_collect(struct ckpt_collect *c, Ckpt__Unix *m, struct ckpt_err *err);
