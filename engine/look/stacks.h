/* SPDX-License-Identifier: Apache-2.0 */
/* Back-traces of the threads of an image, by libunwind, which reads registers and memory from it.
 */
#pragma once
#include <stdio.h>
#include "engine/look/look.h"

#define CKPT_FRAMES_MAX 4096 /* of a stack; what is deeper is said to be there */

struct json_object;

struct ckpt_frame {
	uint64_t ip, sp;
	const char *function;       /* NULL: unknown */
	uint64_t offset;            /* in it */
	const char *const *inlined; /* functions that are part of FUNCTION there, the innermost
				       first */
	size_t n_inlined;
	const char *file; /* that IP is mapped from, NULL: none */
	bool own;         /* FILE is the program itself */
	bool signal;      /* the kernel's return from a handler, no call */
	bool guessed;     /* by the frame pointer: nothing says how to unwind the one before */
};

struct ckpt_stack {
	const struct ckpt_task *task;
	const struct ckpt_thread *thread;
	struct ckpt_frame *frames; /* the innermost first */
	size_t n_frames;
	const char *end; /* why it is incomplete, NULL: it is not */
	size_t same_as;  /* index of the first one of its group, itself if it is the first */
};

struct ckpt_stacks {
	struct ckpt_stack *v; /* in the order of processes and threads */
	size_t n;
};

/* Of all processes, or of TASK if that is not NULL. */
void ckpt_stacks_make(struct ckpt_look *look, const struct ckpt_task *task,
		      struct ckpt_stacks *stacks);
/* As gdb does it; threads of a process that are at the same place share one. */
void ckpt_stacks_print(const struct ckpt_stacks *stacks, FILE *out);
struct json_object *ckpt_stacks_json(const struct ckpt_stacks *stacks);

/* ---- one stack: unwind.c ---- */
struct ckpt_unwinder;

/* For the threads of TASK. BUDGETP: words that may still be read, by all. NULL: no memory. */
struct ckpt_unwinder *ckpt_unwinder_open(struct ckpt_look *look, const struct ckpt_task *task,
					 uint64_t *budgetp);
void ckpt_unwinder_close(struct ckpt_unwinder *u);
/* Fills frames and end of STACK, whose task and thread are set; functions are not named yet. */
void ckpt_unwind(struct ckpt_unwinder *u, struct ckpt_stack *stack);
