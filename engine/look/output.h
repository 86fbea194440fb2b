/* SPDX-License-Identifier: Apache-2.0 */
/* A file that is written whole or not at all, and never over another one. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "engine/base/err.h"

struct ckpt_output {
	int fd;
	const char *path; /* borrowed */
	bool named;       /* it has its name already: where a file cannot be made without one */
};

/* PATH must not exist. Mode 0600: it holds memory of programs. */
int ckpt_output_open(struct ckpt_output *out, const char *path, struct ckpt_err *err);
/* Is there room for BYTES? For a clear word before the work. */
int ckpt_output_room(const struct ckpt_output *out, uint64_t bytes, struct ckpt_err *err);
/* All of it, at AT. */
int ckpt_output_write(const struct ckpt_output *out, const void *data, size_t len, uint64_t at,
		      struct ckpt_err *err);
/* Gives it its name. */
int ckpt_output_commit(struct ckpt_output *out, struct ckpt_err *err);
/* Always: what was not committed is gone. */
void ckpt_output_close(struct ckpt_output *out);
