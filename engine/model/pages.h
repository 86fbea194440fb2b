/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of pages of an address space or a file, and where in the pages file they are. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct ckpt_run {
	uint64_t at; /* address, or offset in the file; page-aligned */
	uint64_t n_pages;
	uint64_t offset; /* in the pages file, page-aligned */
};

/* Of all pages: those from offset BASE on, up to the next part, are in FD, the first at its start.
 */
struct ckpt_pages_part {
	uint64_t base;
	int fd;
};

/* Sorted by AT, not overlapping. */
struct ckpt_pages {
	struct ckpt_run *run;
	size_t n;
};

/* The part that has OFFSET. *ENDP: where the next one begins. There is at least one. */
static inline const struct ckpt_pages_part *
ckpt_pages_part_of(const struct ckpt_pages_part *part, size_t n, uint64_t offset, uint64_t *endp)
{
	*endp = UINT64_MAX;
	while (n > 1 && part[n - 1].base > offset)
		*endp = part[--n].base;
	return &part[n - 1];
}
