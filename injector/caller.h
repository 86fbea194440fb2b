/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that makes system calls for us: the frame in its memory that it returns out of should we
 * die, and what has to be put back. remote.c makes the calls.
 */
#pragma once
#include "injector/batch.h"
#include "injector/frame.h"
#include "injector/freeze.h"
#include "injector/scratch.h"

struct ckpt_caller {
	struct ckpt_batch *batch; /* of all callers, as are these: */
	struct ckpt_xstate_size *xstate_size;
	struct ckpt_scratch_map *map;
	struct ckpt_caller *next; /* in a ring: frames that are not to be overwritten */

	struct ckpt_tracee *t; /* NULL: nobody */
	const struct user_regs_struct *resting;
	uint64_t at;
	bool for_page;  /* it is asked ckpt_page_questions */
	size_t buf_len; /* room for a buffer, at its start */
	struct ckpt_frame_layout layout;
	size_t data_len;     /* of what is asked at once, 0: nothing is */
	bool chain_is_there; /* the frame has been put there with the first chain in it */
	bool runs;           /* that chain, and nobody has waited for it yet */
	bool stands;         /* it does not run any more, but not at the end of that chain */
	bool done;           /* nothing more is asked: it may be put back */
	unsigned int group;  /* those of one were started together */
	uint64_t fourth;     /* argument of all of that chain */
	size_t chain_used;
	int signal;               /* which ends it */
	struct ckpt_round *round; /* NULL: nobody has used it yet, and then it has no: */
	uint8_t *frame, *saved;   /* CKPT_FRAME_MAX each */
};

/* The memory of one that has none yet. */
void ckpt_caller_equip(struct ckpt_caller *c, struct ckpt_arena *arena);

/* Puts a frame into the memory of T, which is to make the call FIRST. NULL: it is ahead of its
 * time; then 0 where there is nothing to ask yet, and the frame is made, but not put. Else 1. */
int ckpt_caller_begin(struct ckpt_caller *c, struct ckpt_tree *tree, struct ckpt_tracee *t,
		      const struct ckpt_call *first, struct ckpt_err *err);
/* Puts the frames of N callers; who is not there any more is none. */
void ckpt_callers_put(struct ckpt_caller **v, size_t n);
/* Reads what chains have left. GOT: whose could be read. */
void ckpt_callers_get(struct ckpt_caller **v, size_t n, bool *got);
/* Puts back registers, mask and memory. They do not run. */
void ckpt_callers_end(struct ckpt_caller **v, size_t n);
/* take.c: CALL, which takes a descriptor, with REGS that make it. */
int ckpt_caller_take(struct ckpt_caller *c, struct ckpt_call *call, struct user_regs_struct regs,
		     struct ckpt_err *err);
/* BUF holds LEN bytes of PID from ADDR on: puts in what was where the frame is. */
void ckpt_caller_hide(const struct ckpt_caller *c, pid_t pid, uint64_t addr, void *buf, size_t len);
/* Makes the next chain in C->frame. False: nothing is left to ask. */
bool ckpt_caller_make_chain(struct ckpt_caller *c);
/* Its syscall user dispatch, asked for once. */
const struct ckpt_dispatch *ckpt_caller_dispatch(struct ckpt_tracee *t);
/* A sentence on why a request to T failed. Returns R. */
int ckpt_caller_lost(const struct ckpt_tracee *t, int r, const char *verb, struct ckpt_err *err);
