/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dead memory in a target: bytes that the program cannot miss, should we die before they are put
 * back. Memory of its stack that was never touched is best; just below the stack pointer is not
 * always good: Go has tiny stacks in its heap.
 */
#pragma once
#include "injector/freeze.h"

struct ckpt_scratch {
	uint64_t addr;
	bool touched; /* there are bytes to be put back; else all of it was zero */
};

/* The page map of the process that was looked at last, kept open. */
struct ckpt_scratch_map {
	pid_t pid; /* 0: none */
	int fd;
};
void ckpt_scratch_map_close(struct ckpt_scratch_map *map);

/* The Nth choice for LEN bytes that thread T can use. 1 and SCRATCH, 0: this one does not exist,
 * -ENOENT: no more. */
int ckpt_scratch_choice(struct ckpt_scratch_map *map, const struct ckpt_tracee *t, size_t len,
			unsigned int n, struct ckpt_scratch *scratch);
/* Puts a few bytes where they outlast the restore of the thread, and no handler overwrites them.
 * Their address, 0: no place. */
uint64_t ckpt_scratch_keep(const struct ckpt_tracee *t, const void *bytes, size_t len);
