/* SPDX-License-Identifier: Apache-2.0 */
/* The calls that replace this program's memory by a task's own. */
#pragma once
#include <string.h>
#include "engine/base/err.h"
#include "engine/plan/planner.h"
#include "engine/plan/program-builder.h"

/* Emits them into the leader's first phase. */
int ckpt_emit_memory(struct ckpt_program_builder *b, struct ckpt_err *err);

/* memory-settings.c: what the program said of an area. The first before its pages are read, the
 * second when it has its protection; the other two at the very end. */
void ckpt_emit_area_first(struct ckpt_program_builder *b, const Ckpt__Area *a);
void ckpt_emit_area_settings(struct ckpt_program_builder *b, const Ckpt__Area *a);
void ckpt_emit_seals(struct ckpt_program_builder *b);
void ckpt_emit_future_locks(struct ckpt_program_builder *b);
/* What this machine cannot set. */
void ckpt_check_area_settings(struct ckpt_planner *p, const struct ckpt_task *task);

static inline void ckpt_emit_call(struct ckpt_program_builder *b, uint32_t flags, long nr,
				  const int64_t arg[6], int64_t want)
{
	struct ckpt_sv_call call = { .nr = nr, .flags = flags, .want = want };

	memcpy(call.arg, arg, sizeof(call.arg));
	ckpt_program_call(b, 0, CKPT_BEFORE_THREADS, &call);
}
#define EMIT(b, flags, want, nr, ...) \
	ckpt_emit_call(b, flags, nr, (const int64_t[6]){ __VA_ARGS__ }, want)
