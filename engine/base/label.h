/* SPDX-License-Identifier: Apache-2.0 */
/* What a security module (SELinux, AppArmor, Smack) calls this process. */
#pragma once
#include "engine/base/arena.h"

/* NULL: no module gives labels here. */
const char *ckpt_label_own(struct ckpt_arena *arena);
/* A label ends at a newline or with its text: what follows is cut off. */
void ckpt_label_cut(char *text);
