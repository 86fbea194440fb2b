/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors only, of which there may be thousands; and of the root only: the rest of the tree is
 * not known yet. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "injector/quiet.h"
#include "injector/warm.h"

/* Listing a folder makes all of its entries. */
static void list(int dir, const char *name)
{
	char buf[32768] __attribute__((aligned(8)));
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	while (syscall(SYS_getdents64, fd, buf, sizeof(buf)) > 0)
		;
	close(fd);
}

static void warm(struct ckpt_job *job, struct ckpt_arena *arena)
{
	const struct ckpt_warm *w = (struct ckpt_warm *)job;
	char name[32];
	int dir;

	snprintf(name, sizeof(name), "/proc/%d", w->pid);
	dir = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return;
	list(dir, "fd");
	list(dir, "fdinfo");
	close(dir);
	ckpt_helper_put(w->helper, ckpt_quiet_read(arena, w->pid));
}

void ckpt_warm_start(struct ckpt_warm *w, struct ckpt_helper *helper, pid_t pid)
{
	w->job.run = warm;
	w->helper = helper;
	w->pid = pid;
	ckpt_helper_start(helper, &w->job);
}
