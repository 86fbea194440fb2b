/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls that a stop has interrupted, as their registers show it. Pure functions: nothing
 * here touches a process. For the kernel's side see arch_do_signal_or_restart(): it winds a call
 * back only if the thread is woken by the very signal machinery, with these registers and in this
 * task. Anything else has to do it by itself.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/user.h>
#include <time.h>

enum ckpt_interrupted {
	CKPT_NOT_INTERRUPTED,
	CKPT_INTERRUPTED_ALWAYS, /* -ERESTARTNOINTR: restarted in any case */
	CKPT_INTERRUPTED_SYS, /* -ERESTARTSYS: a handler without SA_RESTART turns it into EINTR */
	CKPT_INTERRUPTED_NOHAND, /* -ERESTARTNOHAND: any handler does */
	CKPT_INTERRUPTED_BLOCK,  /* -ERESTART_RESTARTBLOCK: so, and the kernel keeps the time it has
				    to end at */
	CKPT_INTERRUPTED_EINTR,  /* -EINTR of a call that any stop ends so, and that can be made
				    again */
};

enum ckpt_interrupted ckpt_interrupted_by(const struct user_regs_struct *regs);
/* At the `syscall` by which the kernel goes on with a wait: as before it was put there. */
void ckpt_interrupted_once_more(struct user_regs_struct *regs);
/* Makes the thread execute call NR, with the arguments it has in the registers, once more. */
void ckpt_interrupted_wind_back(struct user_regs_struct *regs, long nr);
/* The call comes back as a signal handler would find it: interrupted. */
void ckpt_interrupted_give_up(struct user_regs_struct *regs);
/* May the call change the signal mask as long as it waits? */
bool ckpt_interrupted_swaps_mask(long nr);

/* Has such a call, which returned RET, left in its socket that it was interrupted? The next call on
 * that socket would fail with an error that no program knows: it has to be taken out, as
 * getsockopt(SO_ERROR) does. */
bool ckpt_interrupted_leaves_error(long nr, const uint64_t arg[6], int64_t ret);

enum ckpt_time_form { CKPT_TIME_NONE, CKPT_TIME_MS, CKPT_TIME_SPEC };

/* How a call says for how long it waits. */
struct ckpt_time_arg {
	enum ckpt_time_form form; /* CKPT_TIME_NONE: it does not, or until an absolute time, or the
				     kernel writes back what is left */
	int arg;  /* which argument: milliseconds, or the address of a struct timespec */
	int rest; /* which one says where the kernel wrote what is left; -1: none, or none given */
};
struct ckpt_time_arg ckpt_interrupted_time(long nr, const uint64_t arg[6]);

void ckpt_interrupted_args(const struct user_regs_struct *regs, uint64_t arg[6]);
/* Where argument I is held. */
unsigned long long *ckpt_interrupted_arg(struct user_regs_struct *regs, int i);
/* What is left after ELAPSED ns; never negative, never too short. */
int32_t ckpt_ms_left(int32_t ms, uint64_t elapsed);
struct timespec ckpt_timespec_left(struct timespec t, uint64_t elapsed);

/* The call behind restart_syscall(2): what a thread executes that was stopped in a timed call
 * before. The kernel does not tell; mostly the number is in the N bytes of CODE in front of its
 * `syscall`, else WCHAN and arguments give it away. */
long ckpt_interrupted_behind_restart(const struct user_regs_struct *regs, const uint8_t *code,
				     size_t n, const char *wchan);
