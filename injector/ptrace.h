/* SPDX-License-Identifier: Apache-2.0 */
/* ptrace(2) and the small files of /proc in our conventions: a negative errno, no errno.
 * Descriptions are the callers'. */
#pragma once
#include <linux/filter.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/user.h>
#include "engine/base/arch/x86-64.h"
#include "engine/base/clocks.h"

/* Requests and codes that not every libc header has, or has next to names that clash with the
 * kernel's. */
#define CKPT_PTRACE_GET_RSEQ 0x420f     /* Linux 5.13 */
#define CKPT_PTRACE_GET_DISPATCH 0x4211 /* Linux 6.4: PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG */
#define CKPT_PTRACE_SET_DISPATCH 0x4210
#define CKPT_PTRACE_O_SUSPEND_SECCOMP (1 << 21) /* Linux 4.3 */
#define CKPT_NT_X86_SHSTK 0x204                 /* Linux 6.6 */
#define CKPT_EVENT_STOP 128                     /* PTRACE_EVENT_STOP */
#define CKPT_SYSCALL_STOP (SIGTRAP | 0x80)      /* with PTRACE_O_TRACESYSGOOD */

struct ckpt_rseq_conf {
	uint64_t addr;
	uint32_t size, signature, flags, pad;
};

/* With PTRACE_O_TRACESYSGOOD: without it the death of the tracer during a syscall-stop kills by
 * SIGTRAP. */
int ckpt_pt_seize(pid_t tid);
int ckpt_pt_interrupt(pid_t tid);
int ckpt_pt_options(pid_t tid, long options); /* PTRACE_O_* of a stopped thread, all of them */
/* REQUEST: PTRACE_CONT, PTRACE_SYSCALL, PTRACE_LISTEN or PTRACE_DETACH; SIG is delivered, 0: none.
 */
int ckpt_pt_resume(int request, pid_t tid, int sig);
int ckpt_pt_get_regs(pid_t tid, struct user_regs_struct *regs);
int ckpt_pt_set_regs(pid_t tid, const struct user_regs_struct *regs);
int ckpt_pt_get_mask(pid_t tid, uint64_t *mask);
/* Ends what rt_sigsuspend(2) and its like do to the mask: the kernel forgets the one to go back to.
 */
int ckpt_pt_set_mask(pid_t tid, uint64_t mask);
/* *LENP: room before, length after. */
int ckpt_pt_get_set(pid_t tid, int set, void *buf, size_t *lenp);
/* 1 and INFO, or 0 when there are no more. */
int ckpt_pt_peek_signal(pid_t tid, bool of_process, unsigned int n, siginfo_t *info);
/* All zero where none is registered. */
int ckpt_pt_rseq(pid_t tid, struct ckpt_rseq_conf *conf);
/* What PTRACE_GETEVENTMSG says as a pid. */
int ckpt_pt_event(pid_t tid, pid_t *pidp);
/* The result of the system call at whose exit the thread is stopped; -EPROTO if it is not. */
int ckpt_pt_result(pid_t tid, int64_t *retp);
/* All zero where it is off, or the kernel does not tell. */
void ckpt_pt_dispatch(pid_t tid, struct ckpt_dispatch *conf);
/* Switches it on. */
int ckpt_pt_set_dispatch(pid_t tid, const struct ckpt_dispatch *conf);
/* 0: it is on; -EINVAL: nobody can have one here; else it is off. */
int ckpt_pt_shadow_stack(pid_t tid);
/* Instructions of the Nth seccomp filter, the oldest is 0; PROG (may be NULL) has room for them.
 * -ENOENT: there are no more, -EINVAL: it is not filtered. */
int ckpt_pt_filter(pid_t tid, size_t n, struct sock_filter *prog);
int ckpt_pt_filter_flags(pid_t tid, size_t n, uint64_t *flags);
/* 1 and a status, 0 (not BLOCK) if there is none yet, -ECHILD. */
int ckpt_pt_wait(pid_t tid, bool block, int *statusp);

/* All N ranges or an error. */
int ckpt_vm_read(pid_t pid, const struct iovec *local, const struct iovec *remote, size_t n);
int ckpt_vm_write(pid_t pid, const struct iovec *local, const struct iovec *remote, size_t n);
int ckpt_vm_get(pid_t pid, uint64_t addr, void *buf, size_t len);
int ckpt_vm_put(pid_t pid, uint64_t addr, const void *buf, size_t len);

/* Reads up to SIZE - 1 bytes of /proc/TID/NAME and ends them with NUL. Returns the length. NAME is
 * a file that the kernel prints as one record: it comes with one read(2), which nothing interrupts.
 */
int ckpt_proc_read(pid_t tid, const char *name, char *buf, size_t size);
/* The state letter and fields of /proc/TID/stat. */
struct ckpt_proc_stat {
	char state;
	pid_t ppid;
	uint32_t flags;
	int cpu;
	int64_t n_threads;
};
int ckpt_proc_stat(pid_t tid, struct ckpt_proc_stat *st);
/* How an ended thread did, as wait(2) gives it. */
int ckpt_proc_exit_status(pid_t tid, int *statusp);
/* A number of /proc/TID/status; 0 if there is no such line. */
uint64_t ckpt_status_number(const char *status, const char *key, int base);
