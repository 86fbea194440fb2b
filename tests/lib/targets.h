/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that notice when something is done to them. Each runs in a child of a test and counts its rounds. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct target_shared {
	volatile uint64_t rounds;       /* that went as they should */
	volatile uint64_t bad;          /* that did not */
	char what[200];                 /* about the first of those */
};

struct target {
	const char *name;
	void (*run)(struct target_shared *sh);  /* never returns */
};

extern const struct target targets[];
extern const size_t n_targets;

struct target_shared *target_shared_new(void);
/* Starts it and waits until it has made a round. */
pid_t target_start(const struct target *t, struct target_shared *sh);
/* NULL if it lives, makes rounds (waits some seconds for one), and none of them was bad; else what is wrong. */
const char *target_trouble(pid_t pid, struct target_shared *sh);
void target_end(pid_t pid);
