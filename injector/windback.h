/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With which registers a stopped thread goes on: here, in a copy of it elsewhere, and out of the
 * signal frame that remote.c leaves for the case of our death.
 */
#pragma once
#include "injector/freeze.h"

/* For a thread at its stop, before anything else: if the stop has made a call return EINTR the
 * thread gets the registers to make it again, for should we die the program is not to see that. The
 * call has all of its time then, and what is left of it comes with ckpt_tracee_settle(). What the
 * stop has left in a socket is taken out. */
void ckpt_tracee_hide_eintr(struct ckpt_tracee *t);
/* It goes on without having been settled: takes that back if a signal has come meanwhile. */
void ckpt_tracee_show_eintr(struct ckpt_tracee *t);
/* For a thread just found stopped, all others of its process being stopped too. Takes a thread out
 * of a restartable sequence and winds back calls that the stop would end with EINTR. MASK: its
 * signal mask. */
int ckpt_tracee_settle(const struct ckpt_tree *tree, struct ckpt_tracee *t, uint64_t mask,
		       struct ckpt_err *err);
/* With which of its registers the thread goes on here. */
const struct user_regs_struct *ckpt_tracee_goes_on(struct ckpt_tracee *t);
/* The registers that it has to go on with anywhere else: its call is made again there, unless a
 * signal is there that has interrupted it anyway. */
int ckpt_tracee_regs(struct ckpt_tree *tree, struct ckpt_tracee *t, struct user_regs_struct *gp,
		     struct ckpt_err *err);
