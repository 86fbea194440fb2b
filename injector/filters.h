/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads with seccomp filters. While we trace them the filters are suspended; should we die in a
 * system call of ours they no longer are. So nothing is asked that a filter would end the thread
 * for, or tell others of.
 */
#pragma once
#include "injector/freeze.h"

/* Suspends the filters of T and reads them: t->filters. Refused where we may not. */
int ckpt_filters_lift(struct ckpt_tree *tree, struct ckpt_tracee *t, struct ckpt_err *err);
/* Could T make that call by itself, and go on? */
bool ckpt_filters_bear(const struct ckpt_tracee *t, long nr, const uint64_t arg[6]);
