/* SPDX-License-Identifier: Apache-2.0 */
/* What is peculiar to x86-64: registers, addresses, the extended state. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/user.h>

/* Syscall user dispatch as PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG shows it: calls that are made
 * outside of the LEN bytes from OFFSET on become SIGSYS, as the byte at SELECTOR says. */
struct ckpt_dispatch {
	uint64_t mode; /* 0: off */
	uint64_t selector, offset, len;
};

struct ckpt_regs {
	struct user_regs_struct gp; /* fs and gs bases among them */
	uint64_t sigmask;
	void *xstate; /* NT_X86_XSTATE as the kernel sizes it (AMX: over 8 KiB) */
	size_t xstate_len;
	struct ckpt_dispatch dispatch;
	/* At a capture: in a call with a time limit that something had interrupted before. How long
	 * it had waited until then cannot be told, and a copy waits for that time again. */
	bool waits_longer;
};

#define CKPT_TASK_SIZE 0x7ffffffff000ull
#define CKPT_PAGE 4096ull

/* Parts of the extended state in use: XSTATE_BV of the header at 512. */
static inline uint64_t ckpt_xstate_bv(const void *xstate, size_t len)
{
	return len >= 520 ? *(const uint64_t *)((const char *)xstate + 512) : 0;
}
#define CKPT_XFEATURE_TILEDATA 18
