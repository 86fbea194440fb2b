/* SPDX-License-Identifier: Apache-2.0 */
/* The build-id of a program or library: what tells one build from another of the same size. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define CKPT_BUILD_ID_MAX 64

/* Of the ELF file FD, read with pread(2). Returns its length; 0: it is no ELF file, or it has none.
 */
size_t ckpt_build_id(int fd, uint8_t id[CKPT_BUILD_ID_MAX]);
