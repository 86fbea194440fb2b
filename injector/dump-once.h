/* SPDX-License-Identifier: Apache-2.0 */
/* One attempt at a dump; dump-again.c decides on another one. */
#pragma once
#include "engine/model/snapshot.h"
#include "injector/drain.h"
#include "injector/dump.h"
#include "injector/increment.h"

struct ckpt_attempt {
	const struct ckpt_drain *drain; /* to await before the freeze; or NULL */
	/* What became of it: */
	const struct ckpt_snapshot *snap; /* what was captured; NULL: it did not come to that */
	bool sent;                        /* some of it has left us, and cannot be sent again */
	struct ckpt_known known;          /* what it tracked; the next one takes that */
};

/* As ckpt_dump(), of a tree here. */
int ckpt_dump_once(const struct ckpt_dump_opts *opts, struct ckpt_attempt *attempt,
		   struct ckpt_arena *arena, struct ckpt_dump_stats *stats,
		   struct ckpt_problems *problems, struct ckpt_err *err);
