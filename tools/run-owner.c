/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One job for a folder: two would restore each other's checkpoints. ckpt-run holds a lock while it
 * is there; where it is not (killed, or never stayed) the file "program" tells who was started.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "tools/run.h"

#define FILE_NAME "program"

static int read_text(int dir, const char *path, char *buf, size_t size)
{
	CKPT_FD fd = openat(dir, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n = fd < 0 ? -errno : read(fd, buf, size - 1);

	buf[n > 0 ? n : 0] = 0;
	buf[strcspn(buf, "\n")] = 0;
	return n > 0 ? 0 : -ENOENT;
}

/* "4711 123456 0d9e...": number, start in clock ticks after the boot, boot. False: it is gone. */
static bool identity(pid_t pid, char *buf, size_t size)
{
	char name[32], text[1024], boot[64], *p;
	unsigned long long start = 0;

	snprintf(name, sizeof(name), "/proc/%d/stat", pid);
	if (read_text(AT_FDCWD, name, text, sizeof(text)) < 0 ||
	    read_text(AT_FDCWD, "/proc/sys/kernel/random/boot_id", boot, sizeof(boot)) < 0)
		return false;
	p = strrchr(text, ')');
	if (!p || p[1] != ' ' || p[2] == 'Z' || p[2] == 'X')
		return false;
	/* Field 22; the state behind the name is the third. */
	for (int field = 2; field < 22 && p; field++)
		p = strchr(p + 1, ' ');
	if (p)
		start = strtoull(p, NULL, 10);
	snprintf(buf, size, "%d %llu %s", pid, start, boot);
	return p;
}

int ckpt_run_claim(struct ckpt_generations *g, int *fdp, struct ckpt_err *err)
{
	CKPT_FD fd = openat(g->fd, "run.lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	char was[128], is[128];

	if (fd < 0)
		return ckpt_refuse(err, CKPT_E_IMAGE_UNWRITABLE, -errno,
				   "%s/run.lock: cannot write: %s", g->path,
				   strerrordesc_np(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return ckpt_refuse(err, CKPT_E_FOLDER_BUSY, -EBUSY,
				   "%s: another ckpt-run works there", g->path);
	if (read_text(g->fd, FILE_NAME, was, sizeof(was)) >= 0 && atoi(was) > 0 &&
	    identity(atoi(was), is, sizeof(is)) && !strcmp(was, is) && atoi(was) != getpid())
		return ckpt_refuse(err, CKPT_E_FOLDER_BUSY, -EBUSY,
				   "%s: its program still runs as process %d", g->path, atoi(was));
	*fdp = ckpt_take_fd(&fd);
	return 0;
}

int ckpt_run_owner(struct ckpt_generations *g, pid_t pid, struct ckpt_err *err)
{
	char text[128];
	CKPT_FD fd = openat(g->fd, FILE_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
			    0600);

	if (!identity(pid, text, sizeof(text)))
		return 0; /* over already */
	if (fd < 0 || dprintf(fd, "%s\n", text) < 0)
		return ckpt_refuse(err, CKPT_E_IMAGE_UNWRITABLE, -errno,
				   "%s/" FILE_NAME ": cannot write: %s", g->path,
				   strerrordesc_np(errno));
	return 0;
}
