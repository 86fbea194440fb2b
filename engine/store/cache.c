/* SPDX-License-Identifier: Apache-2.0 */
/* Unused memory is what counts: what can be had back is the cache of others, too. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include "engine/store/cache.h"

#define DONTCACHE 0x80 /* RWF_DONTCACHE: Linux 6.14 */

uint64_t ckpt_meminfo(const char *key)
{
	uint64_t bytes = UINT64_MAX;
	size_t len = strlen(key);
	unsigned long long kib;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "re");

	while (f && bytes == UINT64_MAX && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, len) && sscanf(line + len, ": %llu", &kib) == 1)
			bytes = kib << 10;
	if (f)
		fclose(f);
	return bytes;
}

bool ckpt_cache_is_short(uint64_t bytes)
{
	uint64_t all = ckpt_meminfo("MemTotal"), unused = ckpt_meminfo("MemFree");

	return all != UINT64_MAX && unused < all && (bytes > unused || unused - bytes < all / 8);
}

ssize_t ckpt_cache_pwrite(int fd, const void *data, size_t len, uint64_t at, bool uncached)
{
	const struct iovec v = { (void *)data, len };
	ssize_t n;

	if (uncached) {
		n = pwritev2(fd, &v, 1, at, DONTCACHE);
		if (n >= 0 || (errno != EOPNOTSUPP && errno != EINVAL))
			return n;
	}
	return pwrite(fd, data, len, at);
}
