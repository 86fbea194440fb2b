/* SPDX-License-Identifier: Apache-2.0 */
/* The calls that replace this program's memory by a task's own. */
#pragma once
#include "engine/base/err.h"

struct ckpt_program_builder;

/* Emits them into the leader's first phase. */
int ckpt_emit_memory(struct ckpt_program_builder *b, struct ckpt_err *err);
