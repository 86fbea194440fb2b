/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel makes its table of descriptors larger now, while we have one thread: with two it waits
 * for all processors to notice, some 10 ms, each time that it doubles it. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "injector/fd-room.h"

#define MAX_FDS 16384

void ckpt_fd_room_take(int fd, struct rlimit *oldp)
{
	struct rlimit most;
	int top;

	memset(oldp, 0, sizeof(*oldp));
	if (getrlimit(RLIMIT_NOFILE, oldp) < 0)
		return;
	most = *oldp;
	most.rlim_cur = most.rlim_max;
	setrlimit(RLIMIT_NOFILE, &most);
	top = fcntl(fd, F_DUPFD_CLOEXEC,
		    most.rlim_max < MAX_FDS ? (int)most.rlim_max - 1 : MAX_FDS - 1);
	if (top >= 0)
		close(top);
}

void ckpt_fd_room_give_back(const struct rlimit *old)
{
	if (old->rlim_max)
		setrlimit(RLIMIT_NOFILE, old);
}
