/* SPDX-License-Identifier: Apache-2.0 */
/* The address space of a target, as little of it as remote calls need. Read from maps: smaps costs
 * twenty times as much. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"

enum ckpt_area_what {
	CKPT_AREA_ANON,
	CKPT_AREA_FILE,
	CKPT_AREA_STACK,
	CKPT_AREA_VDSO,
	CKPT_AREA_OTHER
};

struct ckpt_vm_area {
	uint64_t start, end, offset, ino;
	uint32_t major, minor;
	uint8_t prot; /* PROT_* */
	bool shared;
	bool nameless; /* a file that has lost its name, or never had one: all shared memory but
			  that of named files */
	uint8_t what;  /* enum ckpt_area_what */
};

struct ckpt_vm_areas {
	struct ckpt_vm_area *v; /* sorted */
	size_t n;
};

int ckpt_vm_areas_read(struct ckpt_arena *arena, pid_t pid, struct ckpt_vm_areas *areas,
		       struct ckpt_err *err);
/* The one that holds ADDR, NULL if there is none. */
const struct ckpt_vm_area *ckpt_vm_area_at(const struct ckpt_vm_areas *areas, uint64_t addr);
/* Private, readable and writable memory. */
bool ckpt_vm_area_is_plain(const struct ckpt_vm_area *area);
/* The stack of the main thread, or what looks like that of another one: plain, with a guard area
 * below it. */
bool ckpt_vm_area_is_stack(const struct ckpt_vm_areas *areas, const struct ckpt_vm_area *area);
