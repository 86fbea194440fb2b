/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What another machine has at the paths of an image: made there by `ckpt show --file-list`, asked
 * here by `ckpt plan --on-files`. A line each, with tabs between: mode (octal; 0: nothing is
 * there), size (of a device: its number), time of modification, build-id, SHA-256 ("-": none),
 * path. Before it, where the package is known that it belongs to: "#package", tab, name and
 * version.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/model/snapshot.h"
#include "engine/plan/identity.h"

struct ckpt_file_entry {
	const char *path;
	struct stat st; /* mode, size, time of modification; the mode is 0 where there is no file */
	uint8_t build_id[CKPT_BUILD_ID_MAX], sha256[CKPT_SHA256];
	size_t build_id_len;
	bool has_sha256;
	const char *package; /* that it belongs to; NULL: not known */
};

struct ckpt_file_list {
	struct ckpt_file_entry *v; /* by path */
	size_t n;
};

/* Reads the list in FD, called NAME. */
int ckpt_file_list_read(struct ckpt_file_list **listp, struct ckpt_arena *arena, int fd,
			const char *name, struct ckpt_err *err);
/* NULL: the list does not say. */
const struct ckpt_file_entry *ckpt_file_list_find(const struct ckpt_file_list *list,
						  const char *path);
/* The line of PATH as this machine has it, with a hash if HASH; no end of line. In the arena. */
const char *ckpt_file_list_line(struct ckpt_arena *arena, const char *path, bool hash);
