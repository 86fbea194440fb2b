/* SPDX-License-Identifier: Apache-2.0 */
/* The packages that files belong to, as far as dpkg or rpm of this machine can tell. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "engine/base/arena.h"

#define CKPT_OWNER_MAX 128

struct ckpt_owned {
	const char *path;    /* NULL: not asked for */
	const char *package; /* its name and version, in the arena; NULL: nobody's, or nobody knows
			      */
};

/* All of them in one go; a few seconds at most. */
void ckpt_owners_of(struct ckpt_arena *arena, struct ckpt_owned *v, size_t n);
/* "libc6:amd64 2.36-9", or "". */
const char *ckpt_owner_of(const char *path, char buf[CKPT_OWNER_MAX]);
/* Can it be what the two said, elsewhere? */
bool ckpt_owner_sane(const char *package);
