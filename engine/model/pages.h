/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of pages of an address space or a file, and where in the pages file they are. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "engine/base/arch/x86-64.h"

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

/* The pages of one image, from offset 0 on: in one file, or in several, each a whole number of
 * chunks but the last. A file has one writer at a time (Linux: the inode is locked for all of a
 * write(2)), so as many threads can write. N of 0: there are none. */
#define CKPT_PAGES_FILES 4
struct ckpt_pages_files {
	size_t n;
	struct ckpt_pages_part part[CKPT_PAGES_FILES];
};

/* Sorted by AT, not overlapping. */
struct ckpt_pages {
	struct ckpt_run *run;
	size_t n;
};

static inline uint64_t ckpt_run_end(const struct ckpt_run *run)
{
	return run->at + run->n_pages * CKPT_PAGE;
}

/* Index of the first run that ends behind AT. */
static inline size_t ckpt_run_behind(const struct ckpt_run *run, size_t n, uint64_t at)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (ckpt_run_end(&run[mid]) <= at)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* The part that has OFFSET. *ENDP: where the next one begins. There is at least one. */
static inline const struct ckpt_pages_part *
ckpt_pages_part_of(const struct ckpt_pages_part *part, size_t n, uint64_t offset, uint64_t *endp)
{
	*endp = UINT64_MAX;
	while (n > 1 && part[n - 1].base > offset)
		*endp = part[--n].base;
	return &part[n - 1];
}

/* The descriptor of the file that has *OFFSETP, which is one of that file then, and of *LENP bytes
 * from there what is in it; -1: there is none. */
static inline int ckpt_pages_piece(const struct ckpt_pages_files *files, uint64_t *offsetp,
				   uint64_t *lenp)
{
	const struct ckpt_pages_part *part;
	uint64_t end;

	if (!files->n)
		return -1;
	part = ckpt_pages_part_of(files->part, files->n, *offsetp, &end);
	*lenp = *lenp < end - *offsetp ? *lenp : end - *offsetp;
	*offsetp -= part->base;
	return part->fd;
}

/* The same of what is known to be in one, like a chunk. */
static inline int ckpt_pages_at(const struct ckpt_pages_files *files, uint64_t *offsetp)
{
	uint64_t any = 0;

	return ckpt_pages_piece(files, offsetp, &any);
}
