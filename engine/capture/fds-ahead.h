/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What shows the descriptors of a process, looked up before it is stopped: an open file of
 * /proc/PID/fdinfo prints what is true when it is read, and a link is believed again if what it
 * named is still there.
 */
#pragma once
#include <sys/types.h>
#include "engine/base/arena.h"

struct ckpt_fd_ahead {
	int number;
	int info;         /* /proc/PID/fdinfo/NUMBER, not read yet */
	const char *link; /* as it was then */
};

struct ckpt_fds_ahead {
	struct ckpt_fds_ahead *next; /* of another process */
	pid_t pid;
	struct ckpt_fd_ahead *v; /* by number */
	size_t n;
};

/* How many descriptors may be kept open for one purpose: a PARTth of those we may have, MOST at
 * most. */
size_t ckpt_fds_to_keep(unsigned int part, size_t most);

/* /proc/PID/fdinfo/NAME, where FD_DIR is /proc/PID/fd, or the same of a thread. Returns a
 * descriptor, or -1 with errno. */
int ckpt_fdinfo_open(int fd_dir, const char *name);

/* As many as all processes together may keep open. */
size_t ckpt_fds_ahead_most(void);
/* MOST at most. NULL: there is nothing to be seen. */
struct ckpt_fds_ahead *ckpt_fds_ahead_open(struct ckpt_arena *arena, pid_t pid, size_t most);
/* NULL: it was not there. */
const struct ckpt_fd_ahead *ckpt_fds_ahead_find(const struct ckpt_fds_ahead *ahead, int number);
/* NULL is fine. */
void ckpt_fds_ahead_close(struct ckpt_fds_ahead *ahead);
