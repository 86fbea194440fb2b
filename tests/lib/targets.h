/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that notice when something is done to them. Each runs in a child of a test and counts
 * its rounds. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct target_shared {
	volatile uint64_t rounds; /* that went as they should */
	volatile uint64_t bad;    /* that did not */
	char what[200];           /* about the first of those */
	volatile int sem[8];      /* semaphore sets to be removed, plus one */
	volatile int n_sem;
};

struct target {
	const char *name;
	void (*run)(struct target_shared *sh); /* never returns */
	bool alone;                            /* cannot be done by several threads */
};

extern const struct target targets[];
extern const size_t n_targets;

struct target_shared *target_shared_new(void);
/* Starts it and waits until it has made a round. With CROWD several threads do the same. */
pid_t target_start(const struct target *t, struct target_shared *sh, bool crowd);
/* NULL if it lives, makes rounds (waits some seconds for one), and none of them was bad; else what
 * is wrong. */
const char *target_trouble(pid_t pid, struct target_shared *sh);
void target_end(pid_t pid, struct target_shared *sh);
