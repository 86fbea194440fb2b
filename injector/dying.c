/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/syscall.h>
#include <unistd.h>
#include "injector/dying.h"

#ifndef SYS_process_mrelease
#define SYS_process_mrelease 448 /* Linux 5.15 */
#endif

void ckpt_dying_release(int pidfd)
{
	if (pidfd >= 0)
		syscall(SYS_process_mrelease, pidfd, 0);
}
