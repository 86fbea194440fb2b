/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the store: an image that was opened. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "engine/base/arena.h"

struct ckpt_image {
	struct ckpt_arena *arena;
	const char *image_path, *pages_path; /* for messages */
	int image_fd, pages_fd;              /* PAGES_FD -1: there are none */
	uint64_t image_size, pages_size;
	uint64_t content_id, n_records;
	const uint32_t *crc; /* of each started chunk of the pages */
	size_t n_crc;
};
