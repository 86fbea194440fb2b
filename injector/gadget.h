/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code of the target itself that runs a system call and comes back, and that returns from a signal:
 * remote calls need nothing else of it, and nothing of it is ever changed.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "injector/areas.h"

struct ckpt_gadgets {
	uint64_t call;     /* `syscall`, something that only pops, `ret` */
	uint32_t pops;     /* bytes between the stack pointer and the return address */
	uint64_t restorer; /* `mov $15,%eax; syscall`, 0: none */
	uint64_t pop_rax;  /* `pop %rax; ret`, which with CALL does the same; 0: none */
	/* What chains of calls (batch.h) need besides; 0: none. */
	uint64_t pop_rdi, pop_rsi, pop_rdx;
	uint64_t store;    /* `mov %rax,(%rdi); ret`, or %rsi, or %rdx */
	uint32_t store_in; /* which of them: 0, 1, 2 */
};

/* What is known of mapped files, by content and not by address: processes share it. */
struct ckpt_gadget_cache;
struct ckpt_gadget_cache *ckpt_gadget_cache_open(struct ckpt_arena *arena);

/* CKPT_E_NO_GADGET if there are none. May be asked while the target runs, to fill the cache. ARENA
 * is of the calling thread, and lives as long as CACHE. */
int ckpt_gadgets_find(struct ckpt_gadget_cache *cache, struct ckpt_arena *arena, pid_t pid,
		      const struct ckpt_vm_areas *areas, struct ckpt_gadgets *g,
		      struct ckpt_err *err);
/* Are they still there? Somebody may have patched the code. What is only good to have is dropped if
 * it is not. */
bool ckpt_gadgets_hold(pid_t pid, struct ckpt_gadgets *g);

/* Pure: a `syscall` with nothing but pops between it and `ret` at the start of CODE? Bytes popped,
 * or -1. */
int ckpt_gadget_call_at(const uint8_t *code, size_t n);
bool ckpt_gadget_restorer_at(const uint8_t *code, size_t n);
