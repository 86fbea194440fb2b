/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frees in the images that one goes on from what no image needs any more: pages that newer ones
 * override. An image that can be restored stays so; what a pre-dump has, which cannot, is freed
 * where nothing refers to it. What is freed is recorded first (given-up.h).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "engine/store/image.h"

struct ckpt_dedup_opts {
	/* Dumps on the way that could be restored become none, where TIP has newer pages. */
	bool give_up_parents;
	/* They stay as they are, too; are closed. */
	struct ckpt_image *const *other;
	size_t n_others;
};

struct ckpt_dedup_done {
	const char *folder;
	uint64_t freed; /* bytes on disk */
	uint64_t more;  /* bytes that could be given up if it need not be restored by itself */
	bool whole;     /* it can be restored by itself, as before */
};

/* TIP was opened by ckpt_image_open_whole(). Everything is compared with its checksums first.
 * *DONEP: one for each image that it goes on from, the youngest first, in the arena. */
int ckpt_image_dedup(struct ckpt_image *tip, const struct ckpt_dedup_opts *opts,
		     struct ckpt_arena *arena, struct ckpt_dedup_done **donep, size_t *np,
		     struct ckpt_err *err);
