/* SPDX-License-Identifier: Apache-2.0 */
/* The page cache, and files that nobody is going to read soon: they are not to push out what others
 * read. As long as there is memory that nobody uses, nothing is done. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Of /proc/meminfo, in bytes; UINT64_MAX: it cannot be told. */
uint64_t ckpt_meminfo(const char *key);
/* Would BYTES more leave less than an eighth of the memory unused? */
bool ckpt_cache_is_short(uint64_t bytes);
/* pwrite(2). UNCACHED: what is written leaves the cache as soon as it is on disk, where the kernel
 * (Linux 6.14) and the file system can. */
ssize_t ckpt_cache_pwrite(int fd, const void *data, size_t len, uint64_t at, bool uncached);
