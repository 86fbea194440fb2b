/* SPDX-License-Identifier: Apache-2.0 */
/* Pages in several files. */
#pragma once
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>
#include "engine/model/pages.h"
#include "engine/store/image.h"
#include "tests/lib/tap.h"

/* N of them, of a chunk each but the last. */
static inline struct ckpt_pages_files test_pages_files(uint64_t size, size_t n)
{
	struct ckpt_pages_files files = { 0 };

	for (; files.n < n && (!files.n || files.n * CKPT_CHUNK < size); files.n++)
		files.part[files.n] =
			(struct ckpt_pages_part){ files.n * CKPT_CHUNK, memfd_create("pages", 0) };
	return files;
}

/* All into the first one. Returns how many bytes there are. */
static inline uint64_t test_pages_join(const struct ckpt_pages_files *files)
{
	int to = files->part[0].fd;

	for (size_t i = 1; i < files->n; i++) {
		int from = files->part[i].fd;
		off_t left = lseek(from, 0, SEEK_END);

		is(lseek(to, 0, SEEK_END), files->part[i].base, "the file before ends there");
		lseek(from, 0, SEEK_SET);
		for (ssize_t n; left > 0 && (n = sendfile(to, from, NULL, left)) > 0;)
			left -= n;
		close(from);
	}
	return lseek(to, 0, SEEK_END);
}
