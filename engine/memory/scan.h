/* SPDX-License-Identifier: Apache-2.0 */
/* PAGEMAP_SCAN, Linux 6.7. For the files of engine/memory/ only. */
#pragma once
#include <stdint.h>
#include <sys/ioctl.h>
#include "engine/base/err.h"

struct ckpt_page_region {
	uint64_t start, end, categories;
};

struct ckpt_pm_scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define CKPT_PAGEMAP_SCAN _IOWR('f', 16, struct ckpt_pm_scan)

enum {
	CKPT_PAGE_WP_ALLOWED = 1 << 0, /* it is tracked */
	CKPT_PAGE_WRITTEN = 1 << 1,    /* or not tracked */
	CKPT_PAGE_FILE = 1 << 2,
	CKPT_PAGE_PRESENT = 1 << 3,
	CKPT_PAGE_SWAPPED = 1 << 4,
	CKPT_PAGE_ZERO = 1 << 5,  /* the page of zeroes */
	CKPT_PAGE_GUARD = 1 << 8, /* Linux 6.16 */
};
enum {                             /* of flags */
       CKPT_SCAN_PROTECT = 1 << 0, /* what was found is protected again */
       CKPT_SCAN_CHECK = 1 << 1,   /* -EPERM where it comes to what is not tracked */
};

/* Calls EACH for every region that SCAN (all but its vector is set) finds from START to END.
 * Returns -ENOTTY where the kernel lacks it, -EINVAL for a category that it does not know. */
int ckpt_scan_each(int pagemap_fd, const struct ckpt_pm_scan *scan,
		   void (*each)(void *arg, const struct ckpt_page_region *region), void *arg,
		   struct ckpt_err *err);

/* Where a step that begins at START ends: STEP bytes (a power of two) behind what is empty, at END
 * at the latest. Terabytes may be reserved for some pages. */
uint64_t ckpt_scan_step(int pagemap_fd, uint64_t start, uint64_t end, uint64_t step);
