/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of pages of an address space or a file, and where in the pages file they are. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct ckpt_run {
	uint64_t at; /* address, or offset in the file; page-aligned */
	uint64_t n_pages;
	uint64_t offset; /* in the pages file, page-aligned */
};

/* Sorted by AT, not overlapping. */
struct ckpt_pages {
	struct ckpt_run *run;
	size_t n;
};
