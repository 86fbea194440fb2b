/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where signal handlers return to, the program's and ours. A handler that has interrupted a call
 * returns right behind it, with EINTR; a checkpoint's signal that comes in that very moment finds
 * what it would find had it interrupted the call itself, which would then be made again. So that
 * the two can be told apart such a return takes a way round, over one instruction: `syscall`
 * leaves the address behind it in rcx, and the program cannot count on that register.
 */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include "libinproc/inproc.h"
#include "libinproc/sys.h"

/* At the start of ckpt_restorer the stack pointer is at the ucontext. */
#define AT(reg) (offsetof(ucontext_t, uc_mcontext.gregs) + 8 * (reg))
_Static_assert(AT(REG_RAX) == 144 && AT(REG_RCX) == 152 && AT(REG_RIP) == 168, "layout");

/* DW_CFA_expression REGISTER, DW_OP_breg7 (rsp) OFFSET: unwinders have to find the way from a
 * handler into the code below it, as with libc's own restorer. */
#define SAVED(dwarf, offset)                                                                \
	"	.cfi_escape 0x10, " #dwarf ", 3, 0x77, (" #offset " & 127) | 128, " #offset \
	" >> 7\n"

/* They look for the description at the address before that which a handler returns to. */
__asm__(".text\n"
	"	.cfi_startproc\n"
	"	.cfi_signal_frame\n"
	/* DW_CFA_def_cfa_expression: the word at rsp + 160 */
	"	.cfi_escape 0x0f, 4, 0x77, 0xa0, 1, 0x06\n" SAVED(8, 40) /* r8 */
	SAVED(9, 48)                                                     /* r9 */
	SAVED(10, 56)                                                    /* r10 */
	SAVED(11, 64)                                                    /* r11 */
	SAVED(12, 72)                                                    /* r12 */
	SAVED(13, 80)                                                    /* r13 */
	SAVED(14, 88)                                                    /* r14 */
	SAVED(15, 96)                                                    /* r15 */
	SAVED(5, 104)                                                    /* rdi */
	SAVED(4, 112)                                                    /* rsi */
	SAVED(6, 120)                                                    /* rbp */
	SAVED(3, 128)                                                    /* rbx */
	SAVED(1, 136)                                                    /* rdx */
	SAVED(0, 144)                                                    /* rax */
	SAVED(2, 152)                                                    /* rcx */
	SAVED(7, 160)                                                    /* rsp */
	SAVED(16, 168)                                                   /* rip */
	"	nop\n"
	".globl ckpt_restorer\n"
	".hidden ckpt_restorer\n"
	".type ckpt_restorer, @function\n"
	"ckpt_restorer:\n"
	"	cmpq $-4, 144(%rsp)\n" /* -EINTR */
	"	jne 1f\n"
	"	mov 168(%rsp), %rax\n"
	"	cmp %rax, 152(%rsp)\n"
	"	jne 1f\n"
	"	lea ckpt_returned(%rip), %rax\n"
	"	mov %rax, 168(%rsp)\n"
	"1:	mov $15, %rax\n"
	"	syscall\n"
	"	.cfi_endproc\n"
	".size ckpt_restorer, . - ckpt_restorer\n"
	".type ckpt_returned, @function\n"
	"ckpt_returned:\n"
	"	.cfi_startproc\n"
	"	.cfi_register %rip, %rcx\n"
	"	.cfi_def_cfa %rsp, 0\n"
	"	jmp *%rcx\n"
	"	.cfi_endproc\n"
	".size ckpt_returned, . - ckpt_returned\n");
_Static_assert(EINTR == 4 && SYS_rt_sigreturn == 15, "as above");
extern const char ckpt_returned[];

bool ckpt_has_returned(ucontext_t *uc)
{
	greg_t *g = uc->uc_mcontext.gregs;

	if (g[REG_RIP] != (greg_t)(uintptr_t)ckpt_returned)
		return false;
	g[REG_RIP] = g[REG_RCX];
	return true;
}
