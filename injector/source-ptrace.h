/* SPDX-License-Identifier: Apache-2.0 */
/* A process tree as seen from outside, by ptrace(2). */
#pragma once
#include <stdbool.h>
#include <sys/types.h>
#include <sys/user.h>
#include "engine/base/arena.h"
#include "engine/base/log.h"
#include "engine/capture/source.h"

struct ckpt_helper;

struct ckpt_ptrace_opts {
	unsigned int timeout_s; /* until all is stopped; 0: none */
	struct ckpt_log *log;
	struct ckpt_helper *helper; /* works ahead from now on, and lives as long; NULL: nobody */
	bool one;                   /* without its children */
};

/* Checks that PID can be dumped by this process at all (exists, no kernel thread, not ckpt itself
 * or its ancestors in the tree, not traced); stops nothing yet. */
int ckpt_source_ptrace_open(struct ckpt_source **srcp, struct ckpt_arena *arena, pid_t pid,
			    const struct ckpt_ptrace_opts *opts, struct ckpt_err *err);
/* What it has frozen; NULL: SRC is another sort of source. */
struct ckpt_tree *ckpt_source_ptrace_tree(const struct ckpt_source *src);
