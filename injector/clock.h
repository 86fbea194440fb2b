/* SPDX-License-Identifier: Apache-2.0 */
/* A time namespace in which the clocks of a restored tree go on where they were. */
#pragma once
#include "engine/base/err.h"
#include "engine/plan/plan.h"

/* What this process forks from here on is in it. *OLDP: to be given back. */
int ckpt_clock_enter(const struct ckpt_plan *plan, int *oldp, struct ckpt_err *err);
/* What it forks from here on is in its own again, where that is allowed. Takes OLD; -1 is fine. */
void ckpt_clock_leave(int old);
