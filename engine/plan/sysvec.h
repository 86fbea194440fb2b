/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last system calls of a restored thread, as data. They run in
 * injector/blob/sysvec.c, when nothing of this program is mapped any more.
 */
#pragma once
#include <stdint.h>

enum {
	CKPT_SV_EQUAL = 1 << 0,  /* must return WANT; otherwise must not fail */
	CKPT_SV_AWAIT = 1 << 1,  /* no call: wait until the word at ARG[0] reaches ARG[1] */
	CKPT_SV_ARRIVE = 1 << 2, /* no call: add one to the word at ARG[0] and wake who waits */
	CKPT_SV_CLONE = 1 << 3,  /* clone3: the child goes on with the vector at WANT */
	CKPT_SV_TILES = 1 << 4,  /* no call: use the AMX tiles with the tile configuration at ARG[0]
				  */
	CKPT_SV_MAY_FAIL = 1 << 5, /* the result does not matter */
};

struct ckpt_sv_call {
	int32_t nr;
	uint32_t flags;
	int64_t arg[6];
	int64_t want;
};

/* In memory that the coordinator shares: where a vector failed, and with what. */
struct ckpt_sv_status {
	uint32_t failed; /* 1 + index of the entry; 0: none */
	uint32_t thread; /* which thread of the task, from 0 */
	int64_t ret;
};

struct ckpt_sysvec {
	uint32_t n_calls;
	uint32_t thread;
	uint64_t status; /* address of the task's struct ckpt_sv_status */
	struct ckpt_sv_call call[];
};

/* Words in the shared page on which threads and the coordinator meet. */
struct ckpt_gates {
	uint32_t forked;    /* tasks that have forked all their children */
	uint32_t made;      /* tasks that have made what needs all processes */
	uint32_t installed; /* tasks that have their descriptors */
	uint32_t ready;     /* threads for which all is in place */
	uint32_t commit;    /* 1: the restore is decided */
	uint32_t done;      /* threads that have nothing more to do */
	uint32_t never;     /* stays 0: where a thread waits to be given its registers */
	uint32_t failed;    /* tasks that gave up */
	uint32_t leave;     /* 1: main threads that others outlive end */
	uint32_t mapped;    /* tasks whose areas can be filled */
	uint32_t filled;    /* 1: all of them are */
	uint32_t decided;   /* 1: the tree is on its own, whatever becomes of the coordinator */
};
