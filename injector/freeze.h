/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process tree that ptrace(2) holds: who is in it, and stopping and letting go of all of it. All
 * but the reading of memory has to be done by the thread that froze the tree: the kernel takes
 * requests from the tracer alone.
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/base/filter.h"
#include "injector/areas.h"
#include "injector/asleep.h"
#include "injector/gadget.h"
#include "engine/base/interrupted.h"
#include "injector/ptrace.h"
#include "injector/source-ptrace.h"
#include "injector/tick.h"

#define CKPT_TREE_BUCKETS 1024

enum ckpt_tracee_state {
	CKPT_TRACEE_WAITED, /* asked to stop */
	CKPT_TRACEE_STOPPED,
	CKPT_TRACEE_GONE,
};

struct ckpt_proc;

/* A thread. */
struct ckpt_tracee {
	pid_t tid;
	struct ckpt_proc *proc;
	struct ckpt_tracee *bucket; /* next of the same hash */
	enum ckpt_tracee_state state;
	unsigned int tries; /* how often it was let go because it was in the vDSO */
	int children;       /* its list of them, opened before the freeze, or -1 */
	bool children_seen;
	uint64_t stopped_at; /* CLOCK_MONOTONIC, ns */

	enum ckpt_interrupted by; /* what interrupted its system call */
	uint64_t mask;            /* of signals, as the program has set it */
	uint64_t waits_with;      /* MASK, or what the call puts in its place as long as it waits */
	struct user_regs_struct found; /* at the stop; out of restartable sequences */
	struct user_regs_struct back;  /* the same, with an interrupted call wound back, to be made
					  again by anybody */
	bool hidden; /* that its call was interrupted: it already has the registers to make it again
		      */
	const struct user_regs_struct *now; /* which of the two it has at the moment, NULL: those of
					       a remote call, and these signals: */
	uint64_t blocked;
	bool mask_lost;    /* the kernel has forgotten WAITS_WITH */
	bool waits_longer; /* BACK has more time left than FOUND, see struct ckpt_regs */
	uint64_t rest_at;  /* where a struct timespec of ours lies in its memory, 0: nowhere */

	bool lifted; /* its seccomp filters are suspended and known: */
	struct ckpt_filter *filters;
	size_t n_filters, filters_room;

	pid_t born;      /* what its last clone(2) has made, where that is traced */
	bool prepared;   /* caller.c has looked whether calls can be made */
	uint8_t *xstate; /* vector registers, NULL: not read yet */
	size_t xstate_len;
	struct ckpt_rseq_conf rseq;
	bool dispatch_is_known; /* caller.c has asked: */
	struct ckpt_dispatch dispatch;
};

struct ckpt_proc {
	struct ckpt_proc *next;
	pid_t pid, ppid;
	bool zombie, gone;
	bool ended; /* its main thread, with EXIT_STATUS; others go on */
	int exit_status;
	unsigned int doubts; /* looks at it that told nothing */
	bool stopped;        /* by a signal */
	int stop_signal;
	bool settled;                 /* all its threads are known and stopped */
	struct ckpt_tracee **threads; /* the leader first */
	size_t n, room;
	struct ckpt_vm_areas areas;
	bool has_gadgets;
	struct ckpt_gadgets gadgets;
	bool knows_queue, queue_empty; /* of signals, looked at once */
	int silent_signal; /* one that nobody will see, -1: there is none, 0: not looked for */
};

struct ckpt_reaper;
struct ckpt_remote;

struct ckpt_tree {
	struct ckpt_arena *arena;
	const struct ckpt_ptrace_opts *opts;
	pid_t root;
	bool held; /* by our thread TRACER, which froze it */
	pthread_t tracer;
	uint64_t frozen_at, deadline; /* 0: none */
	struct ckpt_proc *procs, **last;
	size_t n_procs;
	struct ckpt_tracee *bucket[CKPT_TREE_BUCKETS];
	size_t n_lists; /* of children that are open */
	bool somebody_died;
	bool has_threads; /* seen before the freeze: a process with several */
	struct ckpt_reaper *reaper;
	struct ckpt_tick tick;
	struct ckpt_asleep *asleep[CKPT_TREE_BUCKETS]; /* before the freeze */
	struct ckpt_gadget_cache *cache;
	struct ckpt_tree_ahead *ahead; /* what the helper does, NULL: there is none */
	struct ckpt_remote *remote;
	bool may_not_suspend; /* seccomp filters: only the privileged may */
	bool no_shadow_stack; /* nobody can have one here */
	unsigned int seed;
};

/* Stops every thread of the tree. On failure all go on as they were. */
int ckpt_tree_freeze(struct ckpt_tree *tree, struct ckpt_err *err);
/* Lets go of all; registers and masks are as found, those that a signal had stopped stay stopped.
 */
void ckpt_tree_thaw(struct ckpt_tree *tree);
/* Ends all of them and waits until they are dead. */
int ckpt_tree_kill(struct ckpt_tree *tree, struct ckpt_err *err);
/* Leaves all of them stopped as by SIGSTOP, with no instruction executed. */
int ckpt_tree_stop(struct ckpt_tree *tree, struct ckpt_err *err);

/* What was opened for it is closed, which nobody has to wait for. */
void ckpt_tree_close(struct ckpt_tree *tree);

/* Lets go of one process, while the others stay. */
void ckpt_proc_release(struct ckpt_proc *proc);

/* A thread of it that lives: the leader, if that has not ended. What only a living thread has
 * (memory, descriptors) is asked for by its number. */
pid_t ckpt_proc_acts(const struct ckpt_proc *proc);

/* NULL if there is none. */
struct ckpt_tracee *ckpt_tree_thread(const struct ckpt_tree *tree, pid_t tid);
struct ckpt_proc *ckpt_tree_proc(const struct ckpt_tree *tree, pid_t pid);

/* seize.c: asks a thread to stop. 0: there is nothing to ask, or it was asked before, or one of: */
enum { CKPT_SEIZED = 1, CKPT_SEIZE_DOUBT }; /* doubt: another look will tell */
int ckpt_tree_seize(struct ckpt_tree *tree, struct ckpt_proc *proc, pid_t tid,
		    struct ckpt_err *err);

/* Asks all threads of PROC that were not asked before; counts them. */
struct ckpt_seized {
	unsigned int n_new, n_doubts;
};
int ckpt_tree_seize_all(struct ckpt_tree *tree, struct ckpt_proc *proc, struct ckpt_seized *n,
			struct ckpt_err *err);

/* await.c: waits until all that were asked have stopped. */
int ckpt_tree_await(struct ckpt_tree *tree, struct ckpt_err *err);
/* Waits for this one alone, but not for long. */
int ckpt_tracee_await(struct ckpt_tree *tree, struct ckpt_tracee *t, struct ckpt_err *err);
/* Have all its threads that are known? */
bool ckpt_proc_stands(const struct ckpt_proc *proc);

/* windback.c: what it waited in before the freeze; NULL: in nothing of interest. */
const struct ckpt_asleep *ckpt_tree_asleep(const struct ckpt_tree *tree, pid_t tid);

/* members.c: what can be found out about the tree from /proc. */
struct ckpt_proc *ckpt_tree_add(struct ckpt_tree *tree, pid_t pid, pid_t ppid);
struct ckpt_tracee *ckpt_proc_add(struct ckpt_tree *tree, struct ckpt_proc *proc, pid_t tid);
/* Threads of PID, 0: it is gone. The folder of them has a link for each, beside two of its own;
 * reading it takes a hundred times as long. */
size_t ckpt_count_threads(pid_t pid);
/* Calls FN for each number in /proc/PID/task. The folder being gone is no failure. FN stops it by
 * returning negative. */
int ckpt_each_thread(pid_t pid, int (*fn)(void *arg, pid_t tid, struct ckpt_err *err), void *arg,
		     struct ckpt_err *err);
/* The same for each child that is in an open list. */
int ckpt_each_in_list(int fd, int (*fn)(void *arg, pid_t child, struct ckpt_err *err), void *arg,
		      struct ckpt_err *err);
/* The same for each child that thread TID of PID has. TASK_DIR: /proc/PID/task, which saves time
 * for many threads, or -1. */
int ckpt_each_child(int task_dir, pid_t pid, pid_t tid,
		    int (*fn)(void *arg, pid_t child, struct ckpt_err *err), void *arg,
		    struct ckpt_err *err);
/* Everything that can be seen now of ROOT and below; either may be NULL. Who is gone is passed
 * over.
 */
struct ckpt_each {
	void (*thread)(void *arg, pid_t pid, pid_t tid);
	void (*process)(void *arg, pid_t pid); /* after its threads */
	void *arg;
};
void ckpt_each_below(struct ckpt_arena *arena, pid_t root, const struct ckpt_each *each);
/* Before the freeze: reads what will be needed of all that can be seen of the tree then. Never
 * fails: it saves time. */
void ckpt_tree_look_ahead(struct ckpt_tree *tree);
/* Any time before: what of that takes long is begun, by the helper, if there is one. */
void ckpt_tree_work_ahead(struct ckpt_tree *tree);
/* A sentence on why a thread that was asked to stop does not. */
int ckpt_tracee_stuck(const struct ckpt_tracee *t, struct ckpt_err *err);
