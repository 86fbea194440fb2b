/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scan returns when its vector is full and is gone on with from there. Whoever wants another area
 * waits for it meanwhile: one that protects, 12 ms for each GiB, is made in steps.
 */
#include <errno.h>
#include "engine/memory/scan.h"

#define N_REGIONS 512
#define STEP (128ull << 20) /* of whole huge pages, which would be split otherwise */

uint64_t ckpt_scan_step(int fd, uint64_t start, uint64_t end, uint64_t step)
{
	struct ckpt_page_region first = { .start = start };
	struct ckpt_pm_scan s = {
		.size = sizeof(s),
		.start = start,
		.end = end,
		.vec = (uintptr_t)&first,
		.vec_len = 1,
		.max_pages = 1,
		.category_anyof_mask = CKPT_PAGE_PRESENT | CKPT_PAGE_SWAPPED,
		.return_mask = CKPT_PAGE_PRESENT,
	};

	if (end - start <= step || !ioctl(fd, CKPT_PAGEMAP_SCAN, &s))
		return end;
	start = (first.start & ~(step - 1)) + step;
	return start < end ? start : end;
}

int ckpt_scan_each(int fd, const struct ckpt_pm_scan *scan,
		   void (*each)(void *arg, const struct ckpt_page_region *region), void *arg,
		   struct ckpt_err *err)
{
	struct ckpt_page_region region[N_REGIONS];
	struct ckpt_pm_scan s = *scan;

	s.size = sizeof(s);
	s.vec = (uintptr_t)region;
	s.vec_len = N_REGIONS;
	while (s.start < scan->end) {
		int n;

		if (s.flags & CKPT_SCAN_PROTECT)
			s.end = ckpt_scan_step(fd, s.start, scan->end, STEP);
		n = ioctl(fd, CKPT_PAGEMAP_SCAN, &s);
		if (n < 0)
			return ckpt_fail(err, -errno, "pagemap: cannot scan");
		for (int i = 0; i < n; i++)
			each(arg, &region[i]);
		if (s.walk_end <= s.start)
			return ckpt_fail(err, -EIO, "pagemap: cannot scan");
		s.start = s.walk_end;
	}
	return 0;
}
