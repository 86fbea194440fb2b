/* SPDX-License-Identifier: Apache-2.0 */
/* The files that the pages of one image are in (struct ckpt_pages_files). */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "engine/model/pages.h"

/* "pages", "pages-2" and so on. */
const char *ckpt_pages_name(size_t i);
/* In how many files should SIZE bytes be here? 0: so little that all of it is in the first one,
 * however much more there will be. */
size_t ckpt_pages_useful(uint64_t size);
/* Of SIZE bytes in all: what is in the I-th, and how many have any. */
uint64_t ckpt_pages_size(const struct ckpt_pages_files *files, size_t i, uint64_t size);
size_t ckpt_pages_count(const struct ckpt_pages_files *files, uint64_t size);
/* There is room for SIZE bytes in all, or more than that. Returns 0 or -errno. */
int ckpt_pages_grow(const struct ckpt_pages_files *files, uint64_t size);
/* And no more. */
int ckpt_pages_settle(const struct ckpt_pages_files *files, uint64_t size);
/* Takes the first N out of a folder. The very first one goes last: who commits makes that one
 * before all others, so up to then none of them is somebody else's. */
void ckpt_pages_remove(int dirfd, size_t n);
