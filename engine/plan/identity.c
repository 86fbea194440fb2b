/* SPDX-License-Identifier: Apache-2.0 */
/* Files are read, not mapped: one that is cut meanwhile is an error then, no SIGBUS. */
#include "engine/base/file.h"
#include "engine/plan/identity.h"
#include <errno.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "engine/base/cleanup.h"

#define BLOCK (1u << 18)

int ckpt_sha256(int fd, uint64_t size, uint8_t hash[CKPT_SHA256], struct ckpt_err *err)
{
	CKPT_FREE char *buf = malloc(BLOCK);
	struct sha256_ctx ctx;

	if (!buf)
		return ckpt_fail(err, -ENOMEM, "hash: no memory");
	sha256_init(&ctx);
	for (uint64_t at = 0; at < size;) {
		ssize_t n = ckpt_pread(fd, buf, size - at < BLOCK ? size - at : BLOCK, at);

		if (n <= 0)
			return ckpt_fail(err, n ? n : -EIO, "hash: cannot read all of it");
		sha256_update(&ctx, n, (uint8_t *)buf);
		at += n;
	}
	sha256_digest(&ctx, CKPT_SHA256, hash);
	return 0;
}

const char *ckpt_hex(char buf[2 * CKPT_BUILD_ID_MAX + 1], const uint8_t *bytes, size_t len)
{
	if (!len || len > CKPT_BUILD_ID_MAX)
		return "none";
	for (size_t i = 0; i < len; i++)
		sprintf(buf + 2 * i, "%02x", bytes[i]);
	return buf;
}
