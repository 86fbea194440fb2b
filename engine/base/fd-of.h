/* SPDX-License-Identifier: Apache-2.0 */
/* Open files of others. */
#pragma once
#include <sys/types.h>

/*
 * A close-on-exec duplicate of the descriptor NUMBER of the thread TID, the caller's; -1 with
 * errno. Of a thread that does not lead its process only kernels since 6.9 tell. Needs what
 * ptrace needs.
 */
int ckpt_fd_of(pid_t tid, int number);
