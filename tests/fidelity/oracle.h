/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fidelity oracle: all that /proc tells of a tree of processes, as lines "process/what: value"
 * that can be compared. What may differ after a restore is listed with its reason in
 * rules.c; everything else has to be equal.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct oracle;

/* Of these processes (numbers as this process sees them). Processes are named by their innermost
 * number. */
struct oracle *oracle_take(const pid_t *pids, size_t n);
/* Prints every difference that no rule allows, after PREFIX (NULL: prints nothing); returns their
 * number. BOXED: the second one lives in namespaces of its own. */
size_t oracle_compare(const struct oracle *before, const struct oracle *after, bool boxed,
		      const char *prefix);
void oracle_free(struct oracle *o);

/* For the rules: the parts. */
struct oracle_line {
	char *key, *value;
};
struct oracle {
	struct oracle_line *v;
	size_t n, room;
	unsigned long inodes[4096]; /* of pipes and sockets, in order of appearance: their numbers
				       do not stay */
	size_t n_inodes;
};
void oracle_add(struct oracle *o, const char *value, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void oracle_add_maps(struct oracle *o, pid_t pid, pid_t name);
bool oracle_allowed(const char *key, bool boxed);
