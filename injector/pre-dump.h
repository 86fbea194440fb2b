/* SPDX-License-Identifier: Apache-2.0 */
/* A dump of memory only, to go on from. */
#pragma once
#include "injector/dump.h"

/* Called by ckpt_dump(). On failure no image is left, and nothing is tracked any more. */
int ckpt_pre_dump(const struct ckpt_dump_opts *opts, struct ckpt_arena *arena,
		  struct ckpt_dump_stats *stats, struct ckpt_err *err);
