/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc/TID/sched tells, and on which clock. */
#pragma once
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct ckpt_sched {
	uint64_t exec_start, switches; /* when it last ran; how often it has slept until then */
};
bool ckpt_sched_read(pid_t tid, struct ckpt_sched *s);

/* exec_start counts on a clock of each processor that leaves out what a hypervisor took: how far it
 * lags behind. */
struct ckpt_cpu_clocks {
	bool asked[CPU_SETSIZE], known[CPU_SETSIZE];
	int64_t behind[CPU_SETSIZE]; /* CLOCK_MONOTONIC minus it */
};
/* Is BEHIND of it known? The first time that is found out, within 0.1 s. */
bool ckpt_cpu_clock_known(struct ckpt_cpu_clocks *clocks, int cpu);
