/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the store: files without a name, for pages on their way. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "engine/base/err.h"

/* In memory, for SIZE bytes if that much is free; else in the folder DIRFD (-1: there is none) if
 * that can be. What is a failure names DIR. */
int ckpt_scratch_open(uint64_t size, int dirfd, const char *dir, struct ckpt_err *err);
/* Another SIZE bytes of memory may be used. */
bool ckpt_scratch_fits(uint64_t size);
