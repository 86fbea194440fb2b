/* SPDX-License-Identifier: Apache-2.0 */
/* What tells one build of a file from another. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "engine/base/build-id.h"
#include "engine/base/err.h"

#define CKPT_SHA256 32

/* SHA-256 of the first SIZE bytes; fewer are an error. */
int ckpt_sha256(int fd, uint64_t size, uint8_t hash[CKPT_SHA256], struct ckpt_err *err);
/* "a3f0...": at most 2 * CKPT_BUILD_ID_MAX characters; "none" of nothing. */
const char *ckpt_hex(char buf[2 * CKPT_BUILD_ID_MAX + 1], const uint8_t *bytes, size_t len);
