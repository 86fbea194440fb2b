/* SPDX-License-Identifier: Apache-2.0 */
/* All problems that were found, to be reported together. */
#pragma once
#include <stddef.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"

struct ckpt_problem {
	enum ckpt_code number;
	const char *text;
};

struct ckpt_problems {
	struct ckpt_arena *arena;
	struct ckpt_problem *v;
	size_t n, room;
};

/* Adds one; the same text twice is kept once. */
void ckpt_problem_add(struct ckpt_problems *all, enum ckpt_code number, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Adds the error as it stands. */
void ckpt_problem_add_err(struct ckpt_problems *all, const struct ckpt_err *err);
/* Turns a list that is not empty into one error: the first problem, and how many more there are.
 * Returns 0 if empty. */
int ckpt_problems_err(const struct ckpt_problems *all, struct ckpt_err *err);
