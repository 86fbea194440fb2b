/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials as /proc/PID/status tells them; securebits are not among them. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"

enum { CKPT_ID_REAL, CKPT_ID_EFFECTIVE, CKPT_ID_SAVED, CKPT_ID_FS, CKPT_N_IDS };

struct ckpt_creds {
	uint32_t uid[CKPT_N_IDS], gid[CKPT_N_IDS];
	uint32_t *groups; /* supplementary, ascending */
	size_t n_groups;
	uint64_t inheritable, permitted, effective, bounding, ambient; /* bit CAP_* */
	uint32_t securebits; /* SECBIT_*; left alone by the parser */
	bool no_new_privs;
};

/* Fills all but SECUREBITS from the text of a status file. The groups live in the arena. */
int ckpt_creds_parse(struct ckpt_arena *arena, const char *status, struct ckpt_creds *creds,
		     struct ckpt_err *err);
