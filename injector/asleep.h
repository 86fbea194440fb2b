/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Since when a thread has been waiting in a system call with a time limit. The kernel does not
 * tell, but it shows when the thread last ran (se.exec_start of /proc/TID/sched), which is when it
 * fell asleep. Has to be read before the thread is stopped: the stop makes it run.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>
#include "engine/base/arena.h"
#include "injector/cpu-clocks.h"

struct ckpt_asleep {
	pid_t tid;
	long nr;
	uint64_t arg[6], sp;
	uint64_t since;    /* CLOCK_MONOTONIC in ns */
	uint64_t switches; /* how often it has slept until then */
	char wchan[48];
	bool exposed;
	struct ckpt_asleep *next;
};

/* Is the thread in a call that any stop ends with EINTR? */
bool ckpt_asleep_exposed(pid_t tid);
/* NULL: the thread does not wait so nor is exposed, or it cannot be told. SOCKETS: also who waits
 * to receive; the socket may have a limit. */
struct ckpt_asleep *ckpt_asleep_read(struct ckpt_arena *arena, struct ckpt_cpu_clocks *clocks,
				     pid_t tid, bool sockets);
/* The thread is stopped now, since STOPPED_AT, with REGS: for how long had it been waiting? 0:
 * cannot be told. */
uint64_t ckpt_asleep_for(const struct ckpt_asleep *a, const struct user_regs_struct *regs,
			 uint64_t stopped_at);
