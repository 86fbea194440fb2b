/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The path of an open file that is longer than PATH_MAX: links in /proc end there. Of a folder
 * libc finds it step by step; of a file that can be read maps tells it, which has no such limit.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/capture/path.h"

#define ONE_BYTE 1

static const char *of_folder(struct ckpt_arena *arena, int fd)
{
	CKPT_FD back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	CKPT_FREE char *path = NULL;

	if (back < 0 || fchdir(fd) < 0)
		return NULL;
	path = getcwd(NULL, 0);
	if (fchdir(back) < 0)
		return NULL;
	return path && path[0] == '/' ? ckpt_strdup(arena, path) : NULL;
}

/* The path in the line of the area that begins at ADDRESS; it is the last thing there. */
static const char *of_area(struct ckpt_arena *arena, const void *address)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;
	char start[40], *text, *path;

	CKPT_FD maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	if (maps < 0 || ckpt_read_all(arena, maps, &text, NULL, &ignored) < 0)
		return NULL;
	snprintf(start, sizeof(start), "%08lx-", (unsigned long)address);
	for (char *line; (line = strsep(&text, "\n"));)
		if (!strncmp(line, start, strlen(start)))
			return (path = strchr(line, '/')) ? ckpt_plain_name(arena, path) : NULL;
	return NULL;
}

static const char *of_file(struct ckpt_arena *arena, int fd)
{
	const char *path;
	char link[40];
	void *area;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	CKPT_FD again = open(link, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (again < 0)
		return NULL;
	area = mmap(NULL, ONE_BYTE, PROT_READ, MAP_PRIVATE, again, 0);
	if (area == MAP_FAILED)
		return NULL;
	path = of_area(arena, area);
	munmap(area, ONE_BYTE);
	return path;
}

const char *ckpt_long_path(struct ckpt_arena *arena, int fd)
{
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return NULL;
	return S_ISDIR(st.st_mode) ? of_folder(arena, fd) :
	       S_ISREG(st.st_mode) ? of_file(arena, fd) :
				     NULL;
}
