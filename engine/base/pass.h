/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Long work beside a program whose threads wake up for a moment now and then: they would wait for
 * the end of our time slice, up to 4 ms on a machine without an idle processor.
 */
#pragma once
#include <stdint.h>

/* Of the thread that does the work; zeroes at first. */
struct ckpt_pass {
	uint64_t slice; /* before, 0: the kernel does not say */
	uint64_t next;  /* when others are let pass again; CLOCK_MONOTONIC */
};

/* Between steps, well below a millisecond each. */
void ckpt_pass(struct ckpt_pass *p);
/* The thread's time slice is again what it was before the first step. */
void ckpt_pass_end(const struct ckpt_pass *p);
/* All work of this thread, and of those that it starts, is beside the program: a long call into the
 * kernel lets those pass who wake up. */
void ckpt_pass_always(void);
