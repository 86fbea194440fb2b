/* SPDX-License-Identifier: Apache-2.0 */
/* Where is the inode that inotify or fanotify watches? The kernel tells its number and a handle. */
#pragma once
#include "engine/capture/collect.h"

#define CKPT_HANDLE_MAX 128

struct ckpt_watched {
	uint64_t ino;
	dev_t dev; /* of the file system */
	int handle_type;
	unsigned int handle_len; /* 0: it has none */
	uint8_t handle[CKPT_HANDLE_MAX];
};

/* Takes "... ino:2b sdev:1b ... fhandle-bytes:c fhandle-type:1 f_handle:b8d8" apart. */
bool ckpt_watched_parse(const char *line, struct ckpt_watched *w);
/* The number in hex after KEY in that line. */
bool ckpt_watched_number(const char *line, const char *key, uint64_t *valuep);
/* A path to it, in the arena, and its type; NULL: there is none, or an ordinary user cannot find
 * it. */
const char *ckpt_watched_path(struct ckpt_collect *c, const struct ckpt_watched *w, mode_t *modep);
/* An open file of the tree that is it: it may have lost its names. 0: none. */
uint32_t ckpt_watched_object(struct ckpt_collect *c, const struct ckpt_watched *w);
/* A mount by its number, or (ID 0) one of that file system; in the arena, NULL: none. */
const char *ckpt_watched_mount(struct ckpt_collect *c, int id, dev_t dev);
