/* SPDX-License-Identifier: Apache-2.0 */
/* What who dumps decides about files. All zero: what is best without being asked. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum ckpt_carry {
	CKPT_CARRY_NONE,
	CKPT_CARRY_MAPPED,  /* programs and libraries: what tasks have mapped */
	CKPT_CARRY_ALL,     /* and every other regular file that is open */
	CKPT_CARRY_WRITTEN, /* regular files that are open for writing */
};

struct ckpt_file_policy {
	uint64_t ghost_limit; /* bytes that a deleted file may have; 0: any number */
	bool no_link;         /* no file gets another name where all that are known are gone */
	bool only_look;       /* nothing is to be made: a check */
	bool hash;            /* a hash of every file, to compare with it */
	bool no_identity;     /* nothing to compare with at all */
	enum ckpt_carry carry;
	/* A name that was given to a file; to be taken back if there is no image in the end. */
	void (*made_name)(void *arg, const char *path);
	void *arg;
};
