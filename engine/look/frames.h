/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How to unwind at an address. libunwind reads tables in the memory of the process; what is only in
 * a file (.debug_frame, an .eh_frame without an index) is put into a window of made-up memory near
 * the code.
 */
#pragma once
#include "engine/look/elf.h"

#define CKPT_WINDOW_MAX 65536

struct ckpt_window {
	uint64_t at; /* 0: not placed */
	size_t len;  /* a table of one entry, a CIE, an FDE */
	unsigned char *bytes;
};

/* What libunwind's dwarf_search_unwind_table() wants to know. */
struct ckpt_unwind_table {
	uint64_t start, end; /* code that it is for */
	uint64_t base;
	uint64_t entries; /* address of the first */
	uint64_t n;
};

/* The index at address HDR (.eh_frame_hdr): READ reads LEN bytes of the process. False: it is none.
 */
bool ckpt_frames_index(bool (*read)(void *arg, uint64_t addr, void *buf, size_t len), void *arg,
		       uint64_t hdr, struct ckpt_unwind_table *table);
/* Looks for the code at VADDR in FRAMES; fills WINDOW, placed already, so that it is right for a
 * file loaded at BIAS, and TABLE. */
bool ckpt_frames_find(const struct ckpt_elf_frames *frames, uint64_t vaddr, uint64_t bias,
		      struct ckpt_window *window, struct ckpt_unwind_table *table);
