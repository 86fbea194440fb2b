/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the store: blocks of pages files go back to the file system. Who has them open may know
 * nothing yet of the record that says so (given-up.h): so nobody may have.
 */
#pragma once
#include <stdbool.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/model/pages.h"

struct ckpt_given_up;
struct ckpt_image;

/* The pages files of an image, packed or not, to be written to: also in place of those that IMG has
 * open. OWN is to be closed whatever it returns. */
int ckpt_free_open(const struct ckpt_image *img, struct ckpt_pages_files *own,
		   struct ckpt_err *err);
void ckpt_free_close(const struct ckpt_pages_files *own);
/* Refuses if somebody else has one of them. Where that cannot be told, too, if what is read of a
 * USABLE image could be wrong; of another one only checksums could. */
int ckpt_free_check(const struct ckpt_image *img, const struct ckpt_pages_files *own, bool usable,
		    struct ckpt_err *err);
/* What G says is given up. *FREEDP: bytes on disk. */
int ckpt_free_given_up(const struct ckpt_image *img, const struct ckpt_pages_files *own,
		       const struct ckpt_given_up *g, struct ckpt_arena *arena, uint64_t *freedp,
		       struct ckpt_err *err);
