/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that have been killed: their end takes as long as the kernel needs for their memory. */
#pragma once

/* Frees memory of the process behind PIDFD beside its own end of it: a large one ends in two
 * thirds of the time. Does nothing to one that has not been killed, or shares its memory with one
 * that has not; nothing where it is not possible (before Linux 5.15). Returns when the memory is
 * gone. */
void ckpt_dying_release(int pidfd);
