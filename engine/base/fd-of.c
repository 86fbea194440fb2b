/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/fd-of.h"

#define THREAD O_EXCL /* PIDFD_THREAD, Linux 6.9 */

int ckpt_fd_of(pid_t tid, int number)
{
	CKPT_FD leader = syscall(SYS_pidfd_open, tid, 0);
	CKPT_FD thread = leader < 0 ? syscall(SYS_pidfd_open, tid, THREAD) : -1;

	if (leader < 0 && thread < 0)
		return -1;
	return syscall(SYS_pidfd_getfd, leader < 0 ? thread : leader, number, 0);
}
