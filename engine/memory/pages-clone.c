/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large files on the file system of the image: where that can, both share the blocks until the file
 * is written to again. What is shared is read for its checksum, but need not be written.
 */
#include <linux/fs.h>
#include <sys/ioctl.h>
#include "engine/memory/pages-work.h"

#define LEAST (1u << 20) /* bytes: below that copying is as fast */

/* Whole pages of the file only: what is behind its end cannot be shared. */
static uint64_t shareable(const struct ckpt_memory_part *p, const struct ckpt_run *run)
{
	uint64_t end = p->size / CKPT_PAGE * CKPT_PAGE, stop = ckpt_run_end(run);

	return end < run->at ? 0 : (end < stop ? end : stop) - run->at;
}

/* LEN bytes of FROM, to be at OFFSET of the pages: as much of it as is in one file. 0: it cannot be
 * done. */
static uint64_t clone_piece(const struct ckpt_pages_files *files, int from, uint64_t at,
			    uint64_t offset, uint64_t len)
{
	int to = ckpt_pages_piece(files, &offset, &len);
	const struct file_clone_range range = { .src_fd = from,
						.src_offset = at,
						.src_length = len,
						.dest_offset = offset };

	return ioctl(to, FICLONERANGE, &range) < 0 ? 0 : len;
}

static void clone_part(struct ckpt_memory_work *w, struct ckpt_memory_part *p,
		       const struct ckpt_pages_files *files)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct ckpt_run *run = &p->run[i];
		uint64_t len = shareable(p, run), done = 0, n;

		if (run->offset < p->base || len < LEAST)
			continue;
		if (!p->cloned)
			p->cloned = ckpt_alloc(w->arena, p->n * sizeof(*p->cloned));
		for (; done < len; done += n) {
			n = clone_piece(files, p->fd, run->at + done, run->offset - w->base + done,
					len - done);
			/* Another file system, or one that cannot: nor will it the next time. */
			if (!n)
				return;
			p->cloned[i] += n / CKPT_PAGE;
		}
	}
}

void ckpt_pages_clone(struct ckpt_memory_work *w, const struct ckpt_pages_files *files)
{
	for (size_t i = 0; i < w->n; i++)
		if (w->part[i].sort == CKPT_PART_FILE)
			clone_part(w, &w->part[i], files);
}
