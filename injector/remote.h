/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls made by a stopped thread, so that our death at any instant does no harm: the thread
 * then finishes the call and returns from a signal, out of a frame with all that it was. The frame
 * lies in dead memory (scratch.h); it is put there for the first call of a thread and taken away
 * when something else is asked for.
 */
#pragma once
#include "engine/capture/source.h"
#include "injector/freeze.h"

struct ckpt_remote *ckpt_remote_open(struct ckpt_arena *arena);

/* CALL by thread T, which must not block. call->ret is what it returned. */
int ckpt_remote_call(struct ckpt_tree *tree, struct ckpt_tracee *t, struct ckpt_call *call,
		     struct ckpt_err *err);
/* T is ready for calls with a buffer as FIRST has it, at the start of *CP. */
struct ckpt_caller;
int ckpt_remote_caller(struct ckpt_tree *tree, struct ckpt_tracee *t, const struct ckpt_call *first,
		       const struct ckpt_caller **cp, struct ckpt_err *err);
/* The call that a thread makes with REGS, which are all that there is to it. 1: where clone(2) is
 * traced it stands in it, and t->born is there. */
int ckpt_remote_make(struct ckpt_tracee *t, const struct user_regs_struct *regs, int64_t *retp,
		     struct ckpt_err *err);
/* It comes out of that call. */
int ckpt_remote_made(struct ckpt_tracee *t, int64_t *retp, struct ckpt_err *err);
/* N threads, which nobody waits for, are going to be asked after the one that is being asked: they
 * begin with what that one was. They run meanwhile; only calls of these functions may come for
 * them. */
void ckpt_remote_ahead(struct ckpt_tree *tree, struct ckpt_tracee **t, size_t n);
/* T stands still again, if it was asked ahead. */
void ckpt_remote_await(struct ckpt_tree *tree, const struct ckpt_tracee *t);
/* Puts back registers, mask and memory of the threads that made calls last, if they are not yet. By
 * the tracer. */
void ckpt_remote_finish(struct ckpt_tree *tree);
/* The same if they are of the process of thread TID. */
void ckpt_remote_rest(struct ckpt_tree *tree, pid_t tid);
/* t->xstate is read. */
int ckpt_remote_xstate(struct ckpt_tree *tree, struct ckpt_tracee *t, struct ckpt_err *err);
/* Before another freeze: forgets what threads have answered. */
void ckpt_remote_reset(struct ckpt_tree *tree);
/* BUF holds LEN bytes of PID from ADDR on: as they would be had no call been made. By any thread.
 */
void ckpt_remote_hide(struct ckpt_tree *tree, pid_t pid, uint64_t addr, void *buf, size_t len);
