/* SPDX-License-Identifier: Apache-2.0 */
/* A program or library that is mapped: its symbols, and where it says how to unwind. Through
 * libelf; the file may be hostile. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "engine/look/look.h"

struct ckpt_symbol {
	uint64_t value, size; /* SIZE 0: up to the next one */
	const char *name;
	uint8_t rank; /* of several at one place the highest is shown */
};

struct ckpt_elf_part {
	uint64_t offset, vaddr, size; /* PT_LOAD: in the file */
};

/* What is in a file, not in memory: call frames that no program header leads to. */
struct ckpt_elf_frames {
	const unsigned char *data;
	size_t len;
	uint64_t vaddr; /* of an .eh_frame; 0: it is a .debug_frame */
};

struct ckpt_elf {
	bool ok;            /* the others are only filled then */
	bool carried;       /* its content came with the image */
	bool carried_names; /* its symbols did */
	const char *path;
	int fd;                           /* -1: of memory */
	void *handle;                     /* Elf *; */
	struct ckpt_elf *debug;           /* separate debug file, NULL: none */
	struct ckpt_elf_inlined *inlined; /* NULL: not looked for yet */
	struct ckpt_elf_part *parts;
	size_t n_parts;
	uint64_t eh_frame_hdr; /* vaddr, 0: none */
	struct ckpt_elf_frames frames;
	bool has_symbols; /* they were read */
	struct ckpt_symbol *symbols;
	size_t n_symbols;
};

/* What AREA of the task is mapped from; the vDSO too. NULL: it is no ELF file, or it is not there.
 */
struct ckpt_elf *ckpt_elf_of(struct ckpt_look *look, const Ckpt__Area *area);
void ckpt_elf_close(struct ckpt_elf *elf);
/* The address in the file's own view of ADDR in AREA; false if no part of the file is there. */
bool ckpt_elf_vaddr(const struct ckpt_elf *elf, const Ckpt__Area *area, uint64_t addr,
		    uint64_t *vaddrp);
/* The function that VADDR is in, NULL if it is unknown. */
const struct ckpt_symbol *ckpt_elf_symbol(struct ckpt_look *look, struct ckpt_elf *elf,
					  uint64_t vaddr);
#define CKPT_INLINED_MAX 32
/* The functions whose code at VADDR the compiler put into others, the innermost first; they belong
 * to the arena. 0: none, or nothing tells. inlined.c */
size_t ckpt_elf_inlined(struct ckpt_look *look, struct ckpt_elf *elf, uint64_t vaddr,
			const char *const **namesp);
void ckpt_elf_inlined_close(struct ckpt_elf *elf);
/* As people write it (C++, Rust), in the arena; the name itself if it is no such name. */
const char *ckpt_elf_demangle(struct ckpt_arena *arena, const struct ckpt_elf *elf,
			      const char *name);
