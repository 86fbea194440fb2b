/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of one operation: progress and detail, never needed to understand a
 * failure. Lines are "(seconds) text". Levels as for -v: 1 warnings, 2 notes
 * (the default), 3 steps, 4 detail.
 */
#pragma once
#include <stdbool.h>
#include <time.h>

struct ckpt_log {
	int fd;    /* -1: no log; borrowed */
	int level; /* lines above it are dropped */
	struct timespec start;
};

void ckpt_log_init(struct ckpt_log *log, int fd, int level);
/* LOG may be NULL. A line is one write(2); errors are ignored. */
void ckpt_logf(struct ckpt_log *log, int level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
