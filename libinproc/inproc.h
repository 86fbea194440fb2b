/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the preloaded library share. It lives in other people's processes: no malloc,
 * no stdio, no thread of its own, nothing that may fail loudly. Everything is hidden but what
 * ckpt.h and the C library's names export.
 */
#pragma once
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>
#include <ucontext.h>
#include "libinproc/wire.h"

#define CKPT_SIGNAL_DEFAULT 64 /* the last of the real-time ones */
#define CKPT_LOWEST_FD 900     /* own descriptors are not below */
#define CKPT_EXPORT __attribute__((visibility("default")))
/* Written at the start of the program: layout.ld puts it all on one page. */
#define CKPT_EARLY __attribute__((section(".early")))
#define CKPT_TEXT 512
#define CKPT_N_AGAIN 16
#define CKPT_N_STACKS 512 /* of threads beyond these, in the handler, their own are used */
#define CKPT_STACK 32768

/* What is fixed at the start of the program, but for ON_STACK. */
struct ckpt_config {
	bool on;       /* the handler is installed, */
	bool on_stack; /* since the program asked for it on alternate stacks: ckpt_take_signal() */
	int signal;    /* the reserved one */
	uint64_t vdso; /* its address */
	char **engine_env; /* environment for the engine */
	const char *engine;
};
extern struct ckpt_config ckpt_config;
extern char *ckpt_stacks; /* CKPT_N_STACKS of them, for the handler; NULL: none */

static inline bool ckpt_is_reserved(int sig)
{
	return ckpt_config.on && sig == ckpt_config.signal;
}
static inline uint64_t ckpt_reserved_bit(void)
{
	return ckpt_config.on ? 1ull << (ckpt_config.signal - 1) : 0;
}
/* Takes the reserved signal out of a mask. */
static inline void ckpt_strip(sigset_t *set)
{
	*(uint64_t *)set &= ~ckpt_reserved_bit();
}

/* What a parked thread is to do next; the word that it waits on. */
enum ckpt_order { CKPT_WAIT, CKPT_RUN };

struct ckpt_again; /* below */

/* A thread's place for a time limit, with which its call is made again when it leaves the handler.
 */
struct ckpt_rest {
	struct timespec left;
	uint64_t since; /* CLOCK_MONOTONIC when it left, ns */
};

/* A thread in the handler; on its stack. */
struct ckpt_parked {
	struct ckpt_parked *next;
	pid_t tid;
	ucontext_t *uc;    /* what it was doing: the kernel's frame */
	uint64_t came;     /* CLOCK_MONOTONIC when it came, ns */
	uint64_t switches; /* voluntary ones until then */
	long interrupted;  /* the call that only our signal interrupted, to be made again; -1 */
	bool as_is;        /* our own wait, which goes on by itself, or none any more */
	uint64_t waited;   /* in it, before, ns; 0: not known */
	bool led;          /* this thread, a checkpoint: its stack was needed */
	long cut;          /* a call that has transferred a part; -1 */
	struct ckpt_rest *rest; /* for that call */
	uint64_t others;        /* signals pending for the process that other threads will take */
	struct user_regs_struct regs; /* here, in the handler */
	struct ckpt_wire_answer answer[CKPT_WIRE_N_QUESTIONS];
	uint32_t order; /* enum ckpt_order; futex of who waits for the function's return */
	uint32_t round; /* of the session, when it came */
	int64_t (*function)(void *arg);
	void *arg;
	int64_t ret;
};

/* The state of one checkpoint, in memory that a fork finds cleared. */
struct ckpt_session {
	/* Whose it is: a child of vfork(2) sees its parent's. 0: of a fork's child that has not had
	 * our signal yet; to write it at each fork would cost a page fault. */
	pid_t pid;
	uint32_t lock;
	uint32_t opening; /* a lock: no fork as long as something of ours is at a low number */
	bool stopping;    /* whoever comes is to be parked */
	struct ckpt_parked *leader, *parked; /* the others */
	uint32_t n_parked;                   /* futex: the leader waits on it */
	uint32_t n_wanted;                   /* until so many are there */
	uint32_t turn;                       /* futex of the parked: counts their orders */
	uint32_t round;                      /* those of another one may leave */
	pid_t again[CKPT_N_AGAIN];           /* threads that came at a bad moment */
	bool stack_used[CKPT_N_STACKS];
	int dumpable;      /* as the program has it */
	uint64_t spent;    /* the last token whose checkpoint has had its end */
	uint32_t starting; /* the engine is being started */
	uint32_t now;      /* futex of ckpt_now(): checkpoints that ended */
	int now_result;
	struct ckpt_wire_request request __attribute__((aligned(16)));
	char in[CKPT_WIRE_DATA] __attribute__((aligned(16)));
	struct ckpt_wire_reply reply __attribute__((aligned(16)));
	char out[CKPT_WIRE_DATA] __attribute__((aligned(16)));
};
extern struct ckpt_session *ckpt_session;

uint64_t ckpt_now_ns(void);
void ckpt_futex_wake(uint32_t *word);
/* Returns also without any change, and after MS. */
void ckpt_futex_wait(uint32_t *word, uint32_t value, int ms);

/* Held for a few instructions, by threads that no signal can interrupt. */
void ckpt_lock(uint32_t *word);
void ckpt_unlock(uint32_t *word);

/* ---- stop.c: the handler; parking all threads ---- */
void ckpt_on_signal(int sig, siginfo_t *info, void *uc);
/* Returns 0, and 1 once more in the program that a restore put back here. */
int ckpt_context_save(struct user_regs_struct *regs) __attribute__((returns_twice));
/* Threads of this process, or -1. */
long ckpt_n_threads(void);
/* One of the stacks, or -1. */
int ckpt_stack_take(struct ckpt_session *s);
void ckpt_stack_give_back(struct ckpt_session *s, int i);
static inline void *ckpt_stack_top(int i)
{
	return ckpt_stacks + (size_t)(i + 1) * CKPT_STACK;
}

/* ---- child.c: SIGCHLD is not to wake others as long as a thread is in the handler ---- */
bool ckpt_is_caught(int sig);
/* Installs the handler: not on alternate stacks, which may be as small as the program's own
 * handlers allow; but there if the program would handle this very signal so. Its other stacks may
 * be too small for the frame alone then (goroutines have 2 KiB). */
bool ckpt_take_signal(int sig, bool child_is_caught);
/* Around a change of SIG's action. */
void ckpt_child_begin(int sig, bool catches);
void ckpt_child_end(int sig);
/* In the handler: that action may have been changed without us. */
void ckpt_child_look(void);

/* ---- park.c: those who are in the handler ---- */
enum ckpt_role { CKPT_PASSER, CKPT_LEADER, CKPT_PARKED };
enum ckpt_role ckpt_enter(struct ckpt_session *s, struct ckpt_parked *me, bool may_lead);
/* Waits for orders until one is to leave. */
void ckpt_park(struct ckpt_session *s, struct ckpt_parked *me);
/* Has one of them run the function, be it the leader, who we are. */
int64_t ckpt_parked_run(struct ckpt_parked *p, int64_t (*function)(void *arg), void *arg);
/* All but the leader go on. */
void ckpt_release(struct ckpt_session *s);

/* ---- deaf.c: threads that are called in another way ---- */
/* By the leader: in between the signal of libc's own parks, too. */
void ckpt_deaf_begin(void);
void ckpt_deaf_end(void);
/* By a thread that could not be held where it was: it goes on for a moment. */
void ckpt_ask_again(struct ckpt_session *s);
/* By the leader; was there any? */
bool ckpt_call_again(struct ckpt_session *s);

/* ---- apart.c ---- */
/* Has the function called where no descriptor is open, and nobody sees what it opens. False: it was
 * not; there is nobody else, or there is no way. */
bool ckpt_apart(void (*function)(void *arg), void *arg);

/* ---- connect.c ---- */
/* Connects to the requester with that token: a descriptor, not below CKPT_LOWEST_FD, or -errno. */
int ckpt_connect(uint64_t token);
/* Is it worth it? A token that nobody waits for any more is not. */
bool ckpt_token_is_fresh(uint64_t token);
/* A new one. */
uint64_t ckpt_token_make(uint32_t random);

/* ---- serve.c ---- */
struct ckpt_end {
	bool said; /* by the requester or a hook: nothing more will come with that token */
	enum ckpt_wire_outcome outcome;
	char text[CKPT_TEXT]; /* why it failed */
};
/* False: nobody listens any more. */
bool ckpt_serve_hello(int fd, enum ckpt_wire_excuse excuse, int32_t value);
/* Answers requests until the end. */
void ckpt_serve(int fd, struct ckpt_end *end);
/* An answer without data: VALUE, and a descriptor (-1: none). False: nobody listens any more. */
bool ckpt_answer(int sock, int64_t value, int fd);
/* ---- serve-signals.c ---- */
/* Fills session->out; the number of those found, of which *LENP bytes come from the FROMth on. */
int64_t ckpt_serve_signals(struct ckpt_parked *p, bool of_process, uint64_t from, uint32_t *lenp);
/* Opens a file of a thread's in /proc: a descriptor or -errno. */
int ckpt_open_task(pid_t tid, const char *name);
/* A set of signals in the status of a thread, by KEY ("\nSigPnd:\t"). */
uint64_t ckpt_status_set(pid_t tid, const char *key);

/* ---- copy.c ---- */
/* Forks a copy that stays as long as its connection, and answers over SOCK with both, or returns
 * -errno. It has the N areas as well, with their advice. */
int64_t ckpt_serve_copy(int sock, const struct ckpt_wire_kept *kept, size_t n);

/* ---- spawn.c: processes that the program does not see ---- */
/* Starts the engine for this process. Returns its number or -errno. */
pid_t ckpt_spawn_engine(const char *option);
/* What is called in a copy, and in the process between, which shares our memory, when there is one:
 * SOCK is connected with the copy's descriptor 0. */
struct ckpt_copier {
	void (*copy)(void *arg);
	void (*made)(void *arg, pid_t pid, int sock);
	void *arg;
};
/* Forks a copy of this process. It has a session that nobody else needs the number of, and of its
 * descriptors none: a pipe that the program closes has to be at its end then. The process between
 * has FD. Returns its number or -errno. */
pid_t ckpt_spawn_copy(int fd, const struct ckpt_copier *copier);

/* Writes N in front of END; returns where it starts. */
char *ckpt_number(char *end, uint32_t n);

/* ---- now.c: checkpoints that the process asks for by itself ---- */
/* By the signal without a requester: kill(1). */
void ckpt_now_plain(void);
/* ckpt_now(): a negative errno, or 1 after a checkpoint, 2 after a restore from it. */
int ckpt_checkpoint_now(void);
/* Waits a moment for a requester who was told to ask again. */
void ckpt_give_way(void);
/* The end of a checkpoint, for who waits in there. */
void ckpt_now_ended(const struct ckpt_end *end);

/* ---- again.c ---- */
struct ckpt_again {
	enum {
		CKPT_AGAIN_NOT,
		CKPT_AGAIN_WAIT,
		CKPT_AGAIN_SOCKET,
		CKPT_AGAIN_SEND,
		CKPT_AGAIN_TRANSFER
	} sort;
	long nr;
	uint64_t arg[6];
	uint64_t mask; /* to wait with */
	bool limited;
	struct timespec left;
	uint64_t rest_at; /* where the program wants to know what was left; 0: nowhere */
	bool rest_is_timeval;
	struct pollfd socket; /* that is waited for */
	int over;             /* what the call returns when the limit is over */
};
/* Did the signal meet a call that is gone on with? It has been told so then. */
bool ckpt_again_is_here(const ucontext_t *uc);
/* How the interrupted call, or the one that was cut short, is gone on with. */
void ckpt_again_plan(struct ckpt_again *a, const struct ckpt_parked *p, uint64_t mask);
/* Does it, and sets what the frame returns. */
void ckpt_again_run(struct ckpt_again *a, ucontext_t *uc);
/* Any call, made where the handler knows it again: behind its `syscall` its number is on the stack.
 */
int64_t ckpt_again_call(long nr, const uint64_t arg[6]);
extern const char ckpt_again_after[];
/* Our signal, and nothing before it, has interrupted that call. */
extern __thread volatile bool ckpt_again_met;

/* ---- limit.c ---- */
/* In ns; 0: none. OPTION: SO_RCVTIMEO, SO_SNDTIMEO. */
int64_t ckpt_socket_limit(int fd, int option);
/* A call on a socket that sends or connects, or readv(2) or recvmsg(2): what it returns when no
 * more than LEFT ns are left of its limit. It waits with MASK (NULL: the mask there is). */
int64_t ckpt_try_until(long nr, const uint64_t arg[6], int64_t left, const uint64_t *mask);

/* ---- transfer.c ---- */
/* Has the call, which returned DONE, transferred less than it would have without us? */
bool ckpt_transfer_is_cut(long nr, const uint64_t arg[6], int64_t done);
/* Transfers the rest; what the call returns then. */
int64_t ckpt_transfer_finish(long nr, const uint64_t arg[6], int64_t done);

/* ---- returned.c ---- */
/* For rt_sigaction(2): the kernel's struct sigaction, and the restorer of all handlers. */
struct ckpt_action {
	void *handler;
	uint64_t flags;
	const void *restorer;
	uint64_t mask;
};
#define CKPT_RESTORER 0x04000000ul /* SA_RESTORER, of the flags */
extern const char ckpt_restorer[];
/* Has a handler of the program's just returned into a call that it has interrupted? The frame then
 * goes on behind the call. */
bool ckpt_has_returned(ucontext_t *uc);

/* ---- vdso.c ---- */
void ckpt_vdso_init(uint64_t vdso);
/* Is it in there? */
bool ckpt_vdso_has(const ucontext_t *uc);
/* It comes back with the signal and TOKEN as soon as it has left. False: nobody knows how. */
bool ckpt_vdso_leave(const ucontext_t *uc, uint64_t token);

/* ---- windback.c ---- */
/* Memory of the program, of which nobody knows whether it is there: all of it, or false. */
bool ckpt_own_read(uint64_t from, void *to, size_t len);
bool ckpt_own_write(uint64_t to, const void *from, size_t len);
/* At the start of the handler: if our signal alone interrupted a system call, the frame is changed
 * so that it is made again. */
void ckpt_wind_back(struct ckpt_parked *p);
/* The same, knowing since when it had waited; as the signal says. */
void ckpt_wind_back_sleep(struct ckpt_parked *p, const siginfo_t *info);
/* The same, knowing what the thread waited in before: with what is left of its time. */
void ckpt_wind_back_rest(struct ckpt_parked *p, const struct ckpt_wire_look *look);
/* By the leader, before anybody goes on: which signals of the program are pending for whom. */
void ckpt_wind_back_share(struct ckpt_session *s);
/* Right before the end: how the call goes on, if it does so from the handler; else a signal of the
 * program's own may have come meanwhile. */
void ckpt_wind_back_end(struct ckpt_parked *p, struct ckpt_again *again);

/* ---- api.c ---- */
enum ckpt_hook_event { CKPT_HOOK_BEFORE, CKPT_HOOK_AFTER, CKPT_HOOK_RESTORED };
bool ckpt_has_hooks(void);
/* 0, or what the hook that said no returned (only BEFORE). */
int ckpt_run_hooks(enum ckpt_hook_event event);
bool ckpt_is_disabled(void);
/* Somebody was told so, and asks again: the next ckpt_enable() gives way to him. */
void ckpt_disabled_note(void);
/* Areas that the program excluded; fills at most MAX. */
size_t ckpt_excluded(struct ckpt_wire_range *range, size_t max);
/* What ckpt_error() returns. */
void ckpt_set_error(const char *text, size_t len);
