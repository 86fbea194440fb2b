/* SPDX-License-Identifier: Apache-2.0 */
/*
 * syscall(2): programs block signals, start programs and delete files by it, too. The number is on
 * the stack while the call runs, for the handler that interrupts it finds it nowhere else: rax
 * holds the result then, and in libc's own functions the number stands in the code in front. Calls
 * that make a process with a stack of its own get none of that: the new stack has no number on it.
 */
#include <errno.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <sys/times.h>
#include <unistd.h>
#include "libinproc/wrap.h"

#ifndef IORING_ENTER_EXT_ARG /* Linux 5.11 */
#define IORING_ENTER_EXT_ARG (1u << 3)
#endif

enum { WAY_RAW, WAY_FILTER, WAY_CLONE };
#define N_WAYS 512

__attribute__((used)) const unsigned char ckpt_syscall_ways[N_WAYS] = {
	[SYS_rt_sigprocmask] = WAY_FILTER,
	[SYS_rt_sigaction] = WAY_FILTER,
	[SYS_rt_sigsuspend] = WAY_FILTER,
	[SYS_rt_sigtimedwait] = WAY_FILTER,
	[SYS_signalfd] = WAY_FILTER,
	[SYS_signalfd4] = WAY_FILTER,
	[SYS_ppoll] = WAY_FILTER,
	[SYS_pselect6] = WAY_FILTER,
	[SYS_epoll_pwait] = WAY_FILTER,
	[SYS_epoll_pwait2] = WAY_FILTER,
	[SYS_io_pgetevents] = WAY_FILTER,
	[SYS_io_uring_enter] = WAY_FILTER,
	[SYS_execve] = WAY_FILTER,
	[SYS_execveat] = WAY_FILTER,
	[SYS_unlink] = WAY_FILTER,
	[SYS_unlinkat] = WAY_FILTER,
	[SYS_rename] = WAY_FILTER,
	[SYS_renameat] = WAY_FILTER,
	[SYS_renameat2] = WAY_FILTER,
	[SYS_getrusage] = WAY_FILTER,
	[SYS_times] = WAY_FILTER,
	[SYS_prctl] = WAY_FILTER,
	[SYS_clone] = WAY_CLONE,
	[SYS_clone3] = WAY_CLONE,
	[SYS_fork] = WAY_CLONE,
	[SYS_vfork] = WAY_CLONE,
};

/* The kernel's struct sigaction. */
struct action {
	uint64_t handler, flags, restorer, mask;
};
/* The last argument of pselect6 and of io_pgetevents. */
struct sized_set {
	const uint64_t *set;
	uint64_t len;
};
/* Of io_uring_enter with IORING_ENTER_EXT_ARG. */
struct ring_arg {
	const uint64_t *set;
	uint32_t len, min_wait;
	uint64_t limit;
};

/* clang-format off */
#define ARGUMENTS \
	"	movq %rdi, %rax\n" \
	"	movq %rsi, %rdi\n" \
	"	movq %rdx, %rsi\n" \
	"	movq %rcx, %rdx\n" \
	"	movq %r8, %r10\n" \
	"	movq %r9, %r8\n" \
	"	movq 8(%rsp), %r9\n"
#define RESULT \
	"	cmpq $-4095, %rax\n" \
	"	jae ckpt_syscall_failed\n" \
	"	ret\n"

__asm__(".text\n"
	".p2align 4\n"
	".globl syscall\n"
	".type syscall, @function\n"
	"syscall:\n"
	"	.cfi_startproc\n"
	"	endbr64\n"
	"	movl %edi, %eax\n" /* the kernel looks at no more of it */
	"	cmpl $512, %eax\n" /* N_WAYS */
	"	jae 1f\n"
	"	leaq ckpt_syscall_ways(%rip), %r10\n"
	"	movzbl (%r10,%rax), %r10d\n"
	"	testl %r10d, %r10d\n"
	"	jz 1f\n"
	"	cmpl $2, %r10d\n" /* WAY_CLONE */
	"	jne ckpt_syscall_filter\n"
	ARGUMENTS
	"	syscall\n"
	RESULT
	"1:\n"
	".globl ckpt_syscall_raw\n"
	".hidden ckpt_syscall_raw\n"
	".type ckpt_syscall_raw, @function\n"
	"ckpt_syscall_raw:\n"
	ARGUMENTS
	"	pushq %rax\n"
	"	.cfi_adjust_cfa_offset 8\n"
	".globl ckpt_syscall_insn, ckpt_syscall_insn_after\n"
	".hidden ckpt_syscall_insn, ckpt_syscall_insn_after\n"
	"ckpt_syscall_insn:\n"
	"	syscall\n"
	"ckpt_syscall_insn_after:\n"
	"	leaq 8(%rsp), %rsp\n"
	"	.cfi_adjust_cfa_offset -8\n"
	RESULT
	"ckpt_syscall_failed:\n"
	"	negl %eax\n"
	"	pushq %rax\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	call __errno_location@PLT\n"
	"	popq %rcx\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	movl %ecx, (%rax)\n"
	"	movq $-1, %rax\n"
	"	ret\n"
	"	.cfi_endproc\n"
	".size ckpt_syscall_raw, . - ckpt_syscall_raw\n"
	".size syscall, . - syscall\n");
/* clang-format on */
_Static_assert(N_WAYS == 512 && WAY_CLONE == 2, "as in the code above");

/* What the kernel would not read it refuses by itself. */
static bool is_readable(uint64_t addr)
{
	return addr >= 4096 && addr < 1ull << 47;
}

/* The set that is in force: *SETP, or a copy of it. */
static void strip(long *setp, uint64_t len, uint64_t *copy)
{
	if (len != 8 || !is_readable(*setp))
		return;
	*copy = *(const uint64_t *)*setp & ~ckpt_reserved_bit();
	*setp = (long)copy;
}

static long set_action(long nr, long sig, long act, long old, long len, long e, long f)
{
	struct action own, *was = (struct action *)old;
	struct sigaction theirs = { 0 }, before;
	long ret;

	if (len == 8 && ckpt_is_reserved(sig)) {
		if (act) {
			own = *(const struct action *)act;
			theirs.sa_handler = (__sighandler_t)own.handler;
			theirs.sa_flags = (int)own.flags;
			theirs.sa_restorer = (void (*)(void))own.restorer;
			theirs.sa_mask.__val[0] = own.mask;
		}
		sigaction(sig, act ? &theirs : NULL, &before);
		if (old)
			*was = (struct action){ (uint64_t)before.sa_handler,
						(unsigned int)before.sa_flags,
						(uint64_t)before.sa_restorer,
						before.sa_mask.__val[0] };
		return 0;
	}
	if (len == 8 && is_readable(act)) {
		own = *(const struct action *)act;
		own.mask &= ~ckpt_reserved_bit();
		act = (long)&own;
		ckpt_child_begin(sig, own.handler > (uintptr_t)SIG_IGN);
	}
	ret = ckpt_syscall_raw(nr, sig, act, old, len, e, f);
	ckpt_child_end(sig);
	return ret;
}

/* Calls that have functions of their own here. */
static long call_ours(long nr, long a, long b, long c, long d, long e)
{
	switch (nr) {
	case SYS_execve:
		return execve((char *)a, (char **)b, (char **)c);
	case SYS_execveat:
		return execveat(a, (char *)b, (char **)c, (char **)d, e);
	case SYS_unlink:
		return unlink((char *)a);
	case SYS_unlinkat:
		return unlinkat(a, (char *)b, c);
	case SYS_rename:
		return rename((char *)a, (char *)b);
	case SYS_renameat:
		return renameat(a, (char *)b, c, (char *)d);
	case SYS_renameat2:
		return renameat2(a, (char *)b, c, (char *)d, e);
	case SYS_getrusage:
		return getrusage(a, (struct rusage *)b);
	case SYS_prctl:
		return prctl(a, b, c, d, e);
	default:
		return times((struct tms *)a);
	}
}

static long with_sized_set(long nr, long a, long b, long c, long d, long e, long f)
{
	struct sized_set own;
	uint64_t set;
	long at;

	if (is_readable(f)) {
		own = *(const struct sized_set *)f;
		at = (long)own.set;
		strip(&at, own.len, &set);
		own.set = (const uint64_t *)at;
		f = (long)&own;
	}
	return ckpt_syscall_raw(nr, a, b, c, d, e, f);
}

static long enter_ring(long nr, long a, long b, long c, long d, long e, long f)
{
	struct ring_arg own;
	uint64_t set;
	long at;

	if (!(d & IORING_ENTER_EXT_ARG)) {
		strip(&e, f, &set);
	} else if (f == sizeof(own) && is_readable(e)) {
		own = *(const struct ring_arg *)e;
		at = (long)own.set;
		strip(&at, own.len, &set);
		own.set = (const uint64_t *)at;
		e = (long)&own;
	}
	return ckpt_syscall_raw(nr, a, b, c, d, e, f);
}

__attribute__((used)) long ckpt_syscall_filter(long number, long a, long b, long c, long d, long e,
					       long f)
{
	int nr = (int)number;
	uint64_t set;

	if (!ckpt_config.on)
		return ckpt_syscall_raw(nr, a, b, c, d, e, f);
	switch (nr) {
	case SYS_rt_sigaction:
		return set_action(nr, a, b, c, d, e, f);
	case SYS_rt_sigprocmask:
		strip(&b, d, &set);
		break;
	case SYS_rt_sigsuspend:
		strip(&a, b, &set);
		break;
	case SYS_rt_sigtimedwait:
		strip(&a, d, &set);
		break;
	case SYS_signalfd:
	case SYS_signalfd4:
		strip(&b, c, &set);
		break;
	case SYS_ppoll:
		strip(&d, e, &set);
		break;
	case SYS_epoll_pwait:
	case SYS_epoll_pwait2:
		strip(&e, f, &set);
		break;
	case SYS_pselect6:
	case SYS_io_pgetevents:
		return with_sized_set(nr, a, b, c, d, e, f);
	case SYS_io_uring_enter:
		return enter_ring(nr, a, b, c, d, e, f);
	default:
		return call_ours(nr, a, b, c, d, e);
	}
	return ckpt_syscall_raw(nr, a, b, c, d, e, f);
}
