/* SPDX-License-Identifier: Apache-2.0 */
/* System calls without libc: no errno, no cancellation, nothing that a program could interpose. A
 * negative result is -errno. */
#pragma once
#include <stdint.h>
#include <sys/syscall.h>

static inline int64_t ckpt_sys6(long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
				uint64_t f)
{
	register uint64_t r10 __asm__("r10") = d;
	register uint64_t r8 __asm__("r8") = e;
	register uint64_t r9 __asm__("r9") = f;
	int64_t ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

#define CKPT_SYS_(nr, a, b, c, d, e, f, ...)                                                     \
	ckpt_sys6(nr, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d), (uint64_t)(e), \
		  (uint64_t)(f))
/* ckpt_sys(SYS_read, fd, buf, len) */
#define ckpt_sys(...) CKPT_SYS_(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)
