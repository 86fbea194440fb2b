/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random programs: a list of operations as text, "PROCESS OPERATION ARG ARG ARG", one line
 * "---" where ckpt comes. Every operation may be done at any time: what makes no sense fails,
 * with the same error before and after.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define PROGRAM_MOST 64
#define PROGRAM_PROCESSES 3 /* the root and its children */

struct program_line {
	int process;
	const struct operation *op; /* NULL: here ckpt comes */
	int arg[3];
};
struct program {
	struct program_line v[PROGRAM_MOST];
	size_t n;
};

struct operation {
	const char *name;
	int weight;
	int most[3]; /* arguments are below that; 0: it has none */
	long (*run)(const int *arg);
};
struct operations {
	const struct operation *v;
	size_t n;
};
extern const struct operations file_operations, task_operations, more_operations;

/* Numbers of descriptors that operations use. */
#define PROGRAM_SLOT 20
#define PROGRAM_SLOTS 8

void program_make(struct program *p, unsigned long seed);
void program_print(const struct program *p, FILE *f);
bool program_read(struct program *p, const char *path);
/* In the target: what stands before ckpt comes, and what stands behind, for process PROCESS.
 * Results are appended to the text LOG of LOG_ROOM bytes. */
void program_run(const struct program *p, int process, bool behind, char *log, size_t log_room);
