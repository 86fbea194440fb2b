/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fidelity oracle: all that can be learned of a tree of processes, from /proc, from duplicates of
 * its descriptors and from calls that its threads make themselves, as lines "process/what: value",
 * and its memory. What may differ after a restore is listed with its reason in rules.c; everything
 * else has to be equal.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "engine/capture/source.h"

struct oracle;

/* Memory that changes by itself: where a process waits for the harness. Its main thread runs. */
struct oracle_busy {
	pid_t name; /* of the process, innermost number */
	uint64_t start, end;
};

struct oracle_look {
	const struct oracle *like; /* what it will be compared with: its pages are read, too */
	bool stop;                 /* stop it for a moment, and ask it all that only it can tell */
	const struct oracle_busy *busy;
	size_t n_busy;
};

/* Of these processes (numbers as this process sees them; they are sorted). Processes are named
 * by their innermost number. */
struct oracle *oracle_take(pid_t *pids, size_t n, const struct oracle_look *how);
/* Prints every difference that no rule allows, after PREFIX (NULL: prints nothing); returns their
 * number. BOXED: the second one lives in namespaces of its own; ALSO: patterns of what may differ,
 * ends with NULL; may be NULL. */
size_t oracle_compare(const struct oracle *before, const struct oracle *after, bool boxed,
		      const char *const *also, const char *prefix);
void oracle_free(struct oracle *o);

/* For the parts. */
#define ORACLE_PAGE 4096
struct oracle_line {
	char *key, *value;
};
struct oracle_page {
	pid_t name;
	bool anonymous; /* one that is not there is zero */
	uint64_t addr, hash;
	char where[32];       /* the area: its permissions, the end of its name */
	unsigned char *bytes; /* NULL where there are many */
};
/* Memory that is not compared. */
struct oracle_gap {
	pid_t name;
	struct ckpt_span at;
};
struct oracle {
	const struct oracle_look *how;
	struct oracle_line *v;
	size_t n, room;
	struct oracle_page *pages; /* those that are there and not zero */
	size_t n_pages, pages_room, n_kept;
	struct oracle_gap *gaps;
	size_t n_gaps;
	unsigned long inodes[4096]; /* of pipes and sockets, in order of appearance: their numbers
				       do not stay */
	size_t n_inodes;
};
struct oracle_area {
	uint64_t start, end, offset;
	char perms[8], name[512], flags[160];
};

void oracle_add(struct oracle *o, const char *value, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* As hexadecimal digits; what is long as a hash. */
void oracle_add_bytes(struct oracle *o, const void *value, size_t len, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
uint64_t oracle_hash(const void *data, size_t len);
/* "pipe:[123]" as "pipe:[#1]", and without names that a deleted file has only for a moment. */
void oracle_plain_link(struct oracle *o, char *link);

void oracle_add_process(struct oracle *o, pid_t pid, const pid_t *pids, size_t n); /* proc.c */
void oracle_add_maps(struct oracle *o, pid_t pid, pid_t name);                     /* maps.c */
/* Calls SEE for each area; neighbours that differ in nothing are one. */
void oracle_each_area(pid_t pid, void (*see)(void *to, const struct oracle_area *a), void *to);
void oracle_add_descriptors(struct oracle *o, pid_t pid, pid_t name); /* descriptors.c */
/* FD is a duplicate of descriptor NUMBER of the process. */
void oracle_add_options(struct oracle *o, int fd, pid_t name, int number); /* options.c */
/* Which of them share what. */
void oracle_add_same(struct oracle *o, const pid_t *pids, size_t n); /* same.c */
/* What they tell when they stand still. */
void oracle_add_stopped(struct oracle *o, const pid_t *pids, size_t n); /* stopped.c */
void oracle_add_pages(struct oracle *o, struct ckpt_source *src, const struct ckpt_frozen *task,
		      pid_t name); /* pages.c */
/* Zeros in PAGE, which is at ADDR, where it is not compared. */
void oracle_blank(const struct oracle *o, pid_t name, uint64_t addr, unsigned char *page);
bool oracle_allowed(const char *key, bool boxed, const char *const *also);
