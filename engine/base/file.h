/* SPDX-License-Identifier: Apache-2.0 */
/* Of files that are open. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* LEN bytes at AT, less only where the file ends: how many, or -errno. */
ssize_t ckpt_pread(int fd, void *buf, size_t len, uint64_t at);
/* Is it nowhere but in memory? */
bool ckpt_is_on_tmpfs(int fd);
