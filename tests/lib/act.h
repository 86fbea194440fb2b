/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For stories that work while checkpoints come: acts are done over and over, each in a thread of
 * its own, until check() ends them. An act notices by itself (CHECK) that something was done to it.
 */
#pragma once
#include <pthread.h>
#include "tests/lib/case.h"

struct act {
	const char *name;
	void (*once)(struct act *a); /* may return at any time; is called again */
	long own[4];                 /* the act's */
	unsigned long rounds, until;
	pthread_t thread;
};

/* Returns when each has been done once. */
void act_start(struct act *v, size_t n);
/* Each is done some more times, then all end. */
void act_end(struct act *v, size_t n);
/* Should an act that goes on for long stop now? */
bool act_is_over(void);

/* For calls with a time limit: what the clock showed before, and whether the call took as long as
 * it should, standing still not counted. NAME is told otherwise. */
struct act_clock {
	int64_t start, gaps;
};
struct act_clock act_clock(void);
void act_took(const struct act_clock *c, const char *name, int ms);
/* CALL returns WANT, or -1 with errno -WANT, after MS; A is told otherwise. */
void act_returned(const struct act *a, const struct act_clock *c, long r, long want, int ms);
#define ACT_TIMED(a, ms, want, call)                                    \
	do {                                                            \
		struct act_clock c_ = act_clock();                      \
		long r_ = (call);                                       \
		act_returned(a, &c_, r_ == -1 ? -errno : r_, want, ms); \
	} while (0)

#define ACTS(acts)                                 \
	static void setup_##acts(void)             \
	{                                          \
		act_start(acts, ARRAY_SIZE(acts)); \
	}                                          \
	static void check_##acts(void)             \
	{                                          \
		act_end(acts, ARRAY_SIZE(acts));   \
	}
