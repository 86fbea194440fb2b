/* SPDX-License-Identifier: Apache-2.0 */
/* One complete image of several that go on from each other. */
#pragma once
#include "engine/store/image.h"

/* Checks all of the chain, and writes what IMG is made of. GO_ON (or NULL) is asked between chunks.
 * *BYTESP: of the new image. */
int ckpt_image_flatten(struct ckpt_image *img, struct ckpt_image_writer *w,
		       struct ckpt_arena *arena, int (*go_on)(void *arg, struct ckpt_err *err),
		       void *arg, uint64_t *bytesp, struct ckpt_err *err);
