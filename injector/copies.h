/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of processes that ptrace(2) has frozen, made by themselves by fork(2) and seen by nobody
 * in them, so that they need not stand still until their memory is written.
 */
#pragma once
#include "engine/memory/pages.h"
#include "engine/model/snapshot.h"

struct ckpt_copies;

/* Which tasks of SNAP are to have a copy: those of which there is much to be written. Nothing is
 * done yet. *STANDINGP: bytes that are in no copy. */
struct ckpt_copies *ckpt_copies_plan(struct ckpt_arena *arena, const struct ckpt_snapshot *snap,
				     const struct ckpt_memory_work *work, uint64_t *standingp);
/* Makes them; WORK reads from them. CKPT_E_NO_COPY where there can be none. */
int ckpt_copies_make(struct ckpt_copies *copies, struct ckpt_source *src,
		     struct ckpt_memory_work *work, struct ckpt_err *err);
/* Right after the thaw: they let go of what they have in common with those that they are copies of.
 */
int ckpt_copies_settle(struct ckpt_copies *copies, struct ckpt_err *err);
/* They are to end; waits for none of them. */
void ckpt_copies_kill(struct ckpt_copies *copies);
/* Ends them. By the same thread; should it die they end as well. NULL is fine. */
void ckpt_copies_end(struct ckpt_copies *copies);
