/* SPDX-License-Identifier: Apache-2.0 */
/* For tests that freeze a tree: a process to be frozen, freezing it, saying what came out. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/capture/source.h"

/* Shared by the test and its processes. */
struct frozen_page {
	volatile uint64_t count, other;
	volatile pid_t pid[8];
};

extern struct frozen {
	struct ckpt_err err;
	struct ckpt_arena *arena;
	struct ckpt_source *src;
	struct ckpt_frozen *task;
	size_t n;
	struct frozen_page *page;
	int n_tests;
	bool failed;
} frozen;

void report(bool ok, const char *name);
/* Prints the plan. For the exit status. */
int report_end(void);

bool open_source(pid_t pid, unsigned int timeout_s);
bool freeze_tree(pid_t pid);
void let_go(void);
/* The thread says what its number is. */
bool call_something(pid_t tid);

/* RUN in a child that ends with the test. The shared page is cleared before. */
pid_t spawn(void (*run)(void));
/* Kills and reaps it. */
void end_process(pid_t pid);
/* All of these wait for seconds. */
bool wait_count(uint64_t n);
bool wait_state(pid_t pid, char state);
char state_of(pid_t pid);
bool gone(pid_t pid);
/* Counts one and sleeps. */
void idle(void);
/* The same with a second thread, which counts too and says its number in pid[0] of the page. */
void with_thread(void);
