/* SPDX-License-Identifier: Apache-2.0 */
/* A stopped thread runs for a moment, by PTRACE_CONT or PTRACE_SYSCALL. */
#pragma once
#include <stdint.h>
#include <sys/user.h>
#include "engine/base/err.h"
#include "injector/freeze.h"

#define CKPT_ALL_SIGNALS (~0ull) /* as a mask */

/* It gets REGS and MASK of signals: from now on a frame is what it comes back to. */
int ckpt_tracee_enter(struct ckpt_tracee *t, const struct user_regs_struct *regs, uint64_t mask,
		      struct ckpt_err *err);
int ckpt_tracee_resume(struct ckpt_tracee *t, int request, struct ckpt_err *err);
/* Waits until T, which goes on by REQUEST, stops with WANT. 1: it stands where it has made t->born.
 */
int ckpt_tracee_ran(struct ckpt_tracee *t, int request, int want, struct ckpt_err *err);
/* Both. */
int ckpt_tracee_run(struct ckpt_tracee *t, int request, int want, struct ckpt_err *err);
