/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is free is what the kernel says it can give without swapping. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include "engine/base/cleanup.h"
#include "engine/store/cache.h"
#include "engine/store/scratch.h"

bool ckpt_scratch_fits(uint64_t size)
{
	uint64_t free = ckpt_meminfo("MemAvailable");

	/* The machine has to go on. */
	return size < free - free / 16;
}

static bool folder_has(int fd, uint64_t size)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && size / fs.f_bsize < fs.f_bavail;
}

int ckpt_scratch_open(uint64_t size, int dirfd, const char *dir, struct ckpt_err *err)
{
	/* The program that comes back needs as much again. */
	bool memory = ckpt_scratch_fits(2 * size);
	CKPT_FD fd = -1;

	if (!memory && dirfd >= 0)
		fd = openat(dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0 && folder_has(fd, size))
		return ckpt_take_fd(&fd);
	if (!memory && !ckpt_scratch_fits(size))
		return ckpt_refuse(err, CKPT_E_NO_UNPACK_ROOM, -ENOSPC,
				   "%s: cannot unpack %llu MiB of pages: there is neither the "
				   "memory nor the space in the folder",
				   dir, (unsigned long long)size >> 20);
	ckpt_close_fd(&fd);
	fd = memfd_create("ckpt-pages", MFD_CLOEXEC);
	if (fd < 0)
		return ckpt_fail(err, -errno, "%s: cannot unpack its pages", dir);
	return ckpt_take_fd(&fd);
}
