/* SPDX-License-Identifier: Apache-2.0 */
/* Is a file of this machine what it was at the dump? */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include "engine/plan/plan.h"

/* What was kept of it. */
struct ckpt_seen {
	uint64_t size;
	bool has_mtime;
	struct timespec mtime;
	const uint8_t *build_id; /* of a program or library; NULL: none, or not kept */
	size_t build_id_len;
	const uint8_t *sha256; /* NULL: not kept */
	const char *package;   /* that it belonged to; NULL: not kept */
};

struct ckpt_verdict {
	enum ckpt_code number; /* CKPT_E_NONE: it is the same, or may pass for it */
	char text[900];        /* what differs; or, of the same, what a user should know; "" */
};

/* ST is what lstat(2) says of PATH now; a list of another machine (opts->on_files) is asked instead
 * of the file. */
void ckpt_validate(const struct ckpt_restore_opts *opts, const char *path,
		   const struct ckpt_seen *then, const struct stat *st, struct ckpt_verdict *v);
