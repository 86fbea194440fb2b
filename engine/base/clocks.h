/* SPDX-License-Identifier: Apache-2.0 */
/* What time it is. Time namespaces (Linux 5.6): CLOCK_MONOTONIC and CLOCK_BOOTTIME of some
 * processes are ahead of, or behind, those of the machine. */
#pragma once
#include <stdint.h>
#include <sys/types.h>
#include <time.h>
#include "engine/base/err.h"

enum { CKPT_MONOTONIC, CKPT_BOOTTIME, CKPT_N_CLOCKS };

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

/* Now, in ns, as this process sees it. */
uint64_t ckpt_clock_ns(clockid_t clock);
uint64_t ckpt_now_ns(void); /* CLOCK_MONOTONIC */
int64_t ckpt_clock_now(int clock);
/* By how many ns a clock of that process is ahead of ours; 0 if that cannot be told. */
int64_t ckpt_clock_ahead(pid_t pid, int clock);
/* Reads a timens_offsets of /proc: by how many ns each is ahead of the machine's. */
int ckpt_clock_offsets(int fd, int64_t offset[CKPT_N_CLOCKS], struct ckpt_err *err);
