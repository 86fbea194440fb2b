/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many system calls of a thread for the price of one stop. All threads of a program are asked the
 * same questions. Those that the last thread was asked are asked the next one at once, by a chain
 * of return addresses through `pop`s of its own code, and are answered from memory when they come.
 * The chain ends with a signal that the thread sends to itself: the program does not catch it, so
 * that nobody but the tracer ever sees it. If the tracer is gone, the kernel drops the signal and
 * the chain runs into the same signal frame as a single call.
 */
#pragma once
#include <stdbool.h>
#include "engine/capture/source.h"
#include "injector/freeze.h"

struct ckpt_batch; /* what was learned */
struct ckpt_round; /* questions and answers of one thread */

struct ckpt_batch *ckpt_batch_open(struct ckpt_arena *arena);
struct ckpt_round *ckpt_round_open(struct ckpt_arena *arena);
/* Forgets what was learned: another freeze. */
void ckpt_batch_reset(struct ckpt_batch *batch);
/* The same for answers. */
void ckpt_round_forget(struct ckpt_round *round);

/* CALL was made by T and returned: if it only asks it is one for the next thread. */
void ckpt_batch_learn(struct ckpt_batch *batch, const struct ckpt_tracee *t,
		      const struct ckpt_call *call);
/* Has T been asked this already? Then the call is as if made. */
bool ckpt_round_answer(const struct ckpt_round *round, const struct ckpt_tracee *t,
		       struct ckpt_call *call);

/* What T is going to be asked, FIRST before all; NULL: while another one still is. Bytes that a
 * chain takes, 0: there is nothing to ask, or it cannot be done in this process. It begins with
 * zero in the registers of the first three arguments. */
size_t ckpt_round_begin(struct ckpt_round *round, struct ckpt_batch *batch, struct ckpt_tracee *t,
			const struct ckpt_call *first);
/* Bytes for questions and answers. */
size_t ckpt_round_data_len(const struct ckpt_round *round);

/* What is to follow a call whose result is a descriptor: closes it. The words that end at END,
 * whose address is END_AT. Returns their bytes; 0: the program has no code for that. */
size_t ckpt_chain_to_close(const struct ckpt_gadgets *g, void *end, uint64_t end_at);

struct ckpt_chain_room {
	void *chain_end; /* ours; where the last word of the chain leads is the caller's */
	uint64_t chain_end_at;
	void *data; /* data_len bytes */
	uint64_t data_at;
};
/* One chain asks what takes the same fourth argument. Fills DATA and the end of the chain. Returns
 * the bytes used of it, 0: nothing is left to ask. *FOURTHP: for its register. *SIGNALP: what ends
 * it. */
size_t ckpt_round_make(struct ckpt_round *round, struct ckpt_tracee *t,
		       const struct ckpt_chain_room *to, uint64_t *fourthp, int *signalp);
/* DATA after the chain has run. False: it did not come to its end. */
bool ckpt_round_take(struct ckpt_round *round, struct ckpt_tracee *t, const void *data);
