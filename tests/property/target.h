/* SPDX-License-Identifier: Apache-2.0 */
/* A random program as a story: its processes, what they write down. */
#pragma once
#include "tests/lib/case.h"

/* The environment says which program, and where the results go: FILE.0 and so on. */
#define TARGET_PROGRAM "CKPT_PROPERTY_PROGRAM"
#define TARGET_LOG "CKPT_PROPERTY_LOG"

extern const struct story target_story;

/* Process number INDEX; 0, or -1: there has been one. */
long target_fork(int index);
/* The number of the one that asks; 0: the root. */
int target_process(void);
