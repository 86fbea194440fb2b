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

struct ckpt_batch;

struct ckpt_batch *ckpt_batch_open(struct ckpt_arena *arena);
/* Forgets what was learned: another freeze. */
void ckpt_batch_reset(struct ckpt_batch *batch);

/* CALL was made by T and returned: if it only asks it is one for the next thread. */
void ckpt_batch_learn(struct ckpt_batch *batch, const struct ckpt_tracee *t,
		      const struct ckpt_call *call);
/* Has T been asked this already? Then the call is as if made. */
bool ckpt_batch_answer(const struct ckpt_batch *batch, const struct ckpt_tracee *t,
		       struct ckpt_call *call);

/* Bytes that questions and answers for T take, 0: there is nothing to ask, or it cannot be done in
 * this process. */
size_t ckpt_batch_chain_len(struct ckpt_batch *batch, struct ckpt_tracee *t);
size_t ckpt_batch_data_len(const struct ckpt_batch *batch);

/* One chain asks what takes the same fourth argument. Fills DATA (data_len bytes, for address
 * DATA_AT) and the end of CHAIN, of LEN bytes: where its last word leads is the caller's. Returns
 * the bytes used of CHAIN, 0: nothing is left to ask. *FOURTHP: for its register. *SIGNALP: what
 * ends it. */
size_t ckpt_batch_make(struct ckpt_batch *batch, struct ckpt_tracee *t, void *chain, size_t len,
		       void *data, uint64_t data_at, uint64_t *fourthp, int *signalp);
/* DATA after the chain has run. False: it did not come to its end. */
bool ckpt_batch_take(struct ckpt_batch *batch, struct ckpt_tracee *t, const void *data);
