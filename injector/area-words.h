/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The word in which the kernel keeps the flags of an area, from the kernel itself: a BPF program
 * that is run for each area of a process. It takes microseconds where smaps takes 18 ms for each
 * GiB, and holds nobody up. What its bits mean differs between kernels, so that words can only be
 * compared with each other.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ckpt_area_word {
	uint64_t start, end, word;
};

/* How to ask. */
struct ckpt_area_words {
	int program; /* -1: not open */
};

/* False: not here. It takes Linux 6.1 with its types in /sys/kernel/btf, and CAP_BPF and
 * CAP_PERFMON. To be closed. */
bool ckpt_area_words_open(struct ckpt_area_words *w);
void ckpt_area_words_close(struct ckpt_area_words *w);
/* All areas of PID as they are now, in order; while it runs, each at an instant of its own. At most
 * MAX. False if there are more, or none (its first thread has ended), or it cannot be asked. */
bool ckpt_area_words_read(const struct ckpt_area_words *w, pid_t pid, struct ckpt_area_word *v,
			  size_t max, size_t *np);
