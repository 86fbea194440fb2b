/* SPDX-License-Identifier: Apache-2.0 */
/* A thread is asked all that others were, by a chain (batch.h); or several threads are, which wait
 * for each other and are written to and read in one go. */
#pragma once
#include "injector/caller.h"

/* The next chain of C. 1: it runs, 0: nothing is left to ask. */
int ckpt_ask_start(struct ckpt_caller *c, struct ckpt_err *err);
/* It has run, and its answers are there. */
int ckpt_ask_await(struct ckpt_caller *c, struct ckpt_err *err);
/* One chain after the other, until nothing is left. */
int ckpt_ask_all(struct ckpt_caller *c, struct ckpt_err *err);
/* At most CKPT_SOON that were started together. Who still runs then has not answered yet. */
void ckpt_ask_await_group(struct ckpt_caller **v, size_t n);
