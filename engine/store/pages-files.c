/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/processors.h"
#include "engine/store/pages-files.h"
#include "engine/store/record.h"

#define LEAST (16ull << 20) /* in each: for less it is not worth the trouble */

const char *ckpt_pages_name(size_t i)
{
	static const char *const name[] = { CKPT_PAGES_NAME, CKPT_PAGES_NAME "-2",
					    CKPT_PAGES_NAME "-3", CKPT_PAGES_NAME "-4" };

	return name[i];
}

uint64_t ckpt_pages_size(const struct ckpt_pages_files *files, size_t i, uint64_t size)
{
	uint64_t from = files->part[i].base, end = size;

	if (i + 1 < files->n && files->part[i + 1].base < end)
		end = files->part[i + 1].base;
	return end > from ? end - from : 0;
}

size_t ckpt_pages_count(const struct ckpt_pages_files *files, uint64_t size)
{
	size_t n = 0;

	while (n < files->n && ckpt_pages_size(files, n, size))
		n++;
	return n;
}

/* More than there are threads are of no use. */
size_t ckpt_pages_useful(uint64_t size)
{
	uint64_t n = ckpt_processors();

	n = n < size / LEAST ? n : size / LEAST;
	return n < CKPT_PAGES_FILES ? n : CKPT_PAGES_FILES;
}

static int set_sizes(const struct ckpt_pages_files *files, uint64_t size, bool exactly)
{
	for (size_t i = 0; i < files->n; i++) {
		uint64_t want = ckpt_pages_size(files, i, size), is;
		struct stat st;

		if (fstat(files->part[i].fd, &st) < 0)
			return -errno;
		is = st.st_size;
		if ((exactly ? is != want : is < want) && ftruncate(files->part[i].fd, want) < 0)
			return -errno;
	}
	return 0;
}

int ckpt_pages_grow(const struct ckpt_pages_files *files, uint64_t size)
{
	return set_sizes(files, size, false);
}

int ckpt_pages_settle(const struct ckpt_pages_files *files, uint64_t size)
{
	return set_sizes(files, size, true);
}

void ckpt_pages_remove(int dirfd, size_t n)
{
	while (n)
		unlinkat(dirfd, ckpt_pages_name(--n), 0);
}
