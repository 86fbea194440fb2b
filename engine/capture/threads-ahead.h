/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What shows threads in /proc, opened before they are stopped: an open file prints what is true
 * when it is read, and an open link leads to where it leads then. Whose descriptor tells nothing
 * any more is looked up again.
 */
#pragma once
#include <stdbool.h>
#include <sys/types.h>
#include "engine/base/arena.h"

#define CKPT_N_NAMESPACES 10
#define CKPT_NS_TIME 8 /* that of the process; 9: that of its children */
/* Of a process; a thread cannot leave the user namespace or the clock of its process, which come
 * last. */
extern const char *const ckpt_namespaces[CKPT_N_NAMESPACES];
#define CKPT_N_OF_THREAD 6

/* Of a process: what others are going to ask for, and the helper has the time to read. */
#define CKPT_N_TEXTS 6
extern const char *const ckpt_texts_ahead[CKPT_N_TEXTS];

/* Descriptors; -1: there is none. */
struct ckpt_thread_ahead {
	pid_t tid;
	int status, ns[CKPT_N_NAMESPACES], text[CKPT_N_TEXTS];
};

struct ckpt_threads_ahead {
	struct ckpt_thread_ahead *v;
	size_t n, room, n_open, most;
	size_t n_seen; /* threads, also those whose descriptors are not kept */
};

struct ckpt_threads_ahead *ckpt_threads_ahead_open(struct ckpt_arena *arena);
void ckpt_threads_ahead_add(struct ckpt_threads_ahead *ahead, struct ckpt_arena *arena, pid_t pid,
			    pid_t tid);
/* When all have been added: for the search. */
void ckpt_threads_ahead_sort(struct ckpt_threads_ahead *ahead);
/* NULL: nothing is open of it. AHEAD may be NULL. */
const struct ckpt_thread_ahead *ckpt_threads_ahead_find(const struct ckpt_threads_ahead *ahead,
							pid_t tid);
/* NULL is fine. */
void ckpt_threads_ahead_close(struct ckpt_threads_ahead *ahead);
