/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a snapshot is taken from: a stopped process seen from outside
 * (injector/source-ptrace.c), from inside (over a socket), or a recorded one
 * (tests/lib/fake-source.c). Kinds see only this.
 */
#pragma once
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/base/filter.h"

struct ckpt_span {
	uint64_t start, end;
};

struct ckpt_regs; /* engine/base/arch/x86-64.h: general and extended registers of a thread */
struct ckpt_source;

/* One system call to be made by a thread of the target. */
struct ckpt_call {
	long nr;
	uint64_t arg[6];
	int buf_arg; /* index of the argument that points to BUF, or -1 */
	void *buf;   /* copied in before and out after the call; at most CKPT_CALL_BUF bytes */
	size_t buf_len;
	int64_t ret;
	/* It makes a descriptor: TAKEN becomes a duplicate of it, and it is closed there again,
	 * also should we die meanwhile. (From outside only.) */
	bool takes;
	int taken; /* -1: RET is a failure */
};
#define CKPT_CALL_BUF 1024

#define CKPT_SOON 16

/* A task as freeze() found it. */
struct ckpt_frozen {
	pid_t pid, ppid;
	bool zombie;
	bool stopped;    /* by a stop signal, before the freeze */
	int stop_signal; /* which one, where STOPPED */
	bool ended; /* its main thread, with EXIT_STATUS; others go on. Asked for the process, a
		       source asks one of those */
	int exit_status;
	pid_t *tids; /* the leader first, unless it has ended; of a zombie just the leader */
	size_t n_tids;
	/* From inside: */
	int own_fd;                       /* a descriptor that is not the program's; 0: none */
	const struct ckpt_span *excluded; /* memory that comes back as zeros, by address */
	size_t n_excluded;
};

struct ckpt_source_ops {
	const char *name;
	/* Stops every thread of the tree; afterwards nothing in it changes. The list has parents
	 * before children. */
	int (*freeze)(struct ckpt_source *src, struct ckpt_arena *arena,
		      struct ckpt_frozen **tasksp, size_t *np, struct ckpt_err *err);
	void (*thaw)(struct ckpt_source *src);
	/* NULL: cannot. Waits for copies of all memory, which are made from the stop on, and of
	 * which nothing is seen any more but processes of their own. 0: there are none. */
	int (*copied)(struct ckpt_source *src, struct ckpt_err *err);
	/* Then: lets everybody go on, and from then on shows the copies: memory, areas and mapped
	 * files are as they were, anything else is not asked for any more. */
	int (*snapshot)(struct ckpt_source *src, struct ckpt_err *err);
	/* Instead: ends all of it and waits until it is dead; or leaves all of it stopped as by
	 * SIGSTOP (NULL: cannot). */
	int (*kill)(struct ckpt_source *src, struct ckpt_err *err);
	int (*stop)(struct ckpt_source *src, struct ckpt_err *err);
	/* Thaws, if none of the three has been done, and gives back what it holds. */
	void (*close)(struct ckpt_source *src);
	/* Opens /proc/TID/NAME, or a recording of it. Returns a descriptor. */
	int (*open_proc)(struct ckpt_source *src, pid_t tid, const char *name,
			 struct ckpt_err *err);
	/* Reads the link /proc/TID/NAME; returns its length; NUL-terminated. */
	int (*read_link)(struct ckpt_source *src, pid_t tid, const char *name, char *buf,
			 size_t size, struct ckpt_err *err);
	/* Returns a duplicate of the task's descriptor FD. */
	int (*dup_fd)(struct ckpt_source *src, pid_t pid, int fd, struct ckpt_err *err);
	/* kcmp(2): 0 same, 1 or 2 an order, negative: error. TYPE is KCMP_*. */
	int (*compare)(struct ckpt_source *src, pid_t pid1, pid_t pid2, int type, uint64_t idx1,
		       uint64_t idx2);
	bool compares_anywhere; /* by several threads at once, too */
	/* Reads the ranges one after the other into BUF; all or an error. May be called by several
	 * threads at once. */
	int (*read_mem)(struct ckpt_source *src, pid_t pid, const struct iovec *range, size_t n,
			void *buf, struct ckpt_err *err);
	int (*call)(struct ckpt_source *src, pid_t tid, struct ckpt_call *call,
		    struct ckpt_err *err);
	/* NULL: cannot. These are some of the next CKPT_SOON that calls are made by, after the one
	 * that makes them now, and nothing forbids it: they may begin. */
	void (*call_soon)(struct ckpt_source *src, const pid_t *tids, size_t n);
	/* Registers as they have to be restored: interrupted calls wound back, out of critical
	 * sections and the vDSO. */
	int (*regs)(struct ckpt_source *src, pid_t tid, struct ckpt_arena *arena,
		    struct ckpt_regs *regs, struct ckpt_err *err);
	/* The Nth pending signal of the thread (or of the process); 1 and INFO, or 0 when there are
	 * no more. */
	int (*peek_signal)(struct ckpt_source *src, pid_t tid, bool of_process, unsigned int n,
			   siginfo_t *info, struct ckpt_err *err);
	/* rseq(2) registration of the thread; all zero where there is none. */
	int (*rseq)(struct ckpt_source *src, pid_t tid, uint64_t *addr, uint32_t *size,
		    uint32_t *signature, struct ckpt_err *err);
	/* NULL: cannot. The seccomp filters of a thread that has some, the oldest first. */
	int (*seccomp)(struct ckpt_source *src, pid_t tid, const struct ckpt_filter **filterp,
		       size_t *np, struct ckpt_err *err);
	/* NULL: no need to know. It has none. */
	void (*unfiltered)(struct ckpt_source *src, pid_t tid);
};

struct ckpt_source {
	const struct ckpt_source_ops *ops;
	uint64_t frozen_at; /* when the first task was stopped, CLOCK_MONOTONIC in ns; 0 before */
	uint64_t thawed_at; /* when a snapshot let them go on; 0: not yet */
	const struct ckpt_err *why; /* it is closed after a failure: for who asked; may be NULL */
};

static inline void ckpt_source_close(struct ckpt_source *src)
{
	if (src)
		src->ops->close(src);
}
