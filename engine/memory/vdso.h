/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vDSO of another kernel: the old one stays where it was as plain memory, and each of its
 * functions jumps to the same one of this kernel. Pure; hostile input.
 */
#pragma once
#include <stdint.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"

/* Writes the jumps into OLD (OLD_LEN bytes, modified). NOW are the bytes of this kernel's, which
 * will be at NOW_AT. */
int ckpt_vdso_patch(uint8_t *old, size_t old_len, const uint8_t *now, size_t now_len,
		    uint64_t now_at, struct ckpt_err *err);
