/* SPDX-License-Identifier: Apache-2.0 */
/* The signal frame that a thread returns out of when its tracer is gone. x86-64. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/user.h>
#include "injector/gadget.h"

#define CKPT_FRAME_MAX (80u << 10)

/* Where what lies in a frame: offsets from its start, which has to be a multiple of 64. The front
 * is used twice, for it counts whether a frame takes one page or two: chains of calls lie there,
 * and when they have run a buffer. */
struct ckpt_frame_layout {
	size_t front; /* bytes before what is popped last, which leads into the frame */
	size_t sp;    /* what the stack pointer is to be at ckpt_gadgets.call */
	size_t context, xstate, xstate_len;
	size_t data, len; /* DATA_LEN bytes for the caller */
};

/* How much of an xsave area such features take: asked once, since CPUID is slow on virtual
 * machines. */
struct ckpt_xstate_size {
	uint64_t features;
	size_t size;
};

/* XSTATE, of XSTATE_LEN bytes: NT_X86_XSTATE of the thread. FRONT: bytes that the caller wants
 * there at least. */
void ckpt_frame_lay_out(struct ckpt_frame_layout *l, struct ckpt_xstate_size *known,
			const struct ckpt_gadgets *g, const void *xstate, size_t xstate_len,
			size_t front, size_t data_len);
/* Fills FRAME (layout->len zeros) so that the thread goes on with REGS, MASK and XSTATE. AT: its
 * address in the target. */
void ckpt_frame_make(void *frame, uint64_t at, const struct ckpt_frame_layout *l,
		     const struct ckpt_gadgets *g, const struct user_regs_struct *regs,
		     uint64_t mask, const void *xstate);

#define CKPT_SMALL_FRAME 640
/* Fills FRAME (CKPT_SMALL_FRAME zeros, in the target at a multiple of 16) so that a thread that
 * runs into it makes the call of REGS with all signals blocked and its vector registers gone.
 * Returns the offset that the stack pointer is to have at ckpt_gadgets.call; *FIRSTP: that of the
 * argument. */
size_t ckpt_frame_make_small(void *frame, const struct ckpt_gadgets *g,
			     const struct user_regs_struct *regs, size_t *firstp);
