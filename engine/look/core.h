/* SPDX-License-Identifier: Apache-2.0 */
/* A process of an image as an ELF core file, for debuggers. */
#pragma once
#include "engine/look/look.h"

struct ckpt_core_stats {
	uint64_t bytes;   /* of the file, holes included */
	uint64_t written; /* without them */
	uint64_t missing; /* could not be known: holes, too */
	const char *why;  /* the first of them, NULL: none */
};

/* Writes TASK, which has memory, to PATH, which must not exist. What nobody had changed of mapped
 * files is left out, as the kernel does it: debuggers have the files. */
int ckpt_core_write(struct ckpt_look *look, const struct ckpt_task *task, const char *path,
		    struct ckpt_core_stats *stats, struct ckpt_err *err);

/* The notes of TASK, in the arena: core-notes.c */
void ckpt_core_notes(struct ckpt_look *look, const struct ckpt_task *task, unsigned char **notesp,
		     size_t *lenp);
