/* SPDX-License-Identifier: Apache-2.0 */
/* Room for descriptors: those of a tree are held, so that none has to be opened twice. */
#pragma once
#include <sys/resource.h>

/* As many as ckpt may have. FD is any that is open. OLDP is for giving back. */
void ckpt_fd_room_take(int fd, struct rlimit *oldp);
void ckpt_fd_room_give_back(const struct rlimit *old);
