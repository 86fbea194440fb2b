/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine and the preloaded library say to each other, over a Unix socket that keeps
 * messages apart (SOCK_SEQPACKET). The requester listens on the abstract name CKPT_WIRE_NAME of a
 * random token and sends the process the reserved signal with the token as its value. The library
 * parks all threads, connects, says hello, and then answers requests in their order until
 * CKPT_WIRE_GO or the end of the connection, whichever comes first: then everybody goes on. The
 * program stands meanwhile, and each wait of one side for the other is two switches: what can be
 * asked in one go is.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/user.h>

#define CKPT_WIRE_VERSION 2
#define CKPT_WIRE_NAME "ckpt-%016llx" /* behind a NUL byte */
#define CKPT_WIRE_DATA 32768          /* bytes at most behind a request or a reply */
#define CKPT_WIRE_LIBC_SIGNAL 33      /* of glibc, which its own threads do not block */

enum ckpt_wire_verb {
	CKPT_WIRE_LOOK = 1, /* data: struct ckpt_wire_look for threads in a call with a time limit.
			       No reply. */
	CKPT_WIRE_CALL,  /* a system call by TID: nr, arg, buf_arg; data in and out: the buffer */
	CKPT_WIRE_CALLS, /* several of them by TID; data in and out: struct ckpt_wire_asked */
	CKPT_WIRE_OPEN,  /* data: a path below /proc, NUL at its end; a descriptor comes with the
			    reply */
	CKPT_WIRE_LINK,  /* data: the same; the target of the link comes back */
	CKPT_WIRE_FD,    /* arg[0]: a number; a duplicate of that descriptor comes with the reply */
	CKPT_WIRE_READ,  /* arg[0], arg[1]: address and length of memory; it comes back */
	CKPT_WIRE_THREADS,  /* struct ckpt_wire_thread, each with its extended state behind it; the
			       value is how many there are in all. Replies until all are sent. */
	CKPT_WIRE_SIGNALS,  /* of TID, or of the process (arg[0] = 1): siginfo_t of those pending,
			       from the arg[1]th on */
	CKPT_WIRE_EXCLUDED, /* struct ckpt_wire_range of the areas that the program left out */
	CKPT_WIRE_FORK, /* makes a copy of the process, which is the value; it sends a byte when it
			   can be read, and stays until its connection, the descriptor that comes
			   with the reply, is closed. Data: struct ckpt_wire_kept[],
			   areas that a fork would not find as they are */
	CKPT_WIRE_GO,   /* everybody goes on; arg[0]: enum ckpt_wire_outcome. No reply. */
	CKPT_WIRE_TAKE, /* the same as CKPT_WIRE_CALL, without a buffer; the descriptor that the
			   call returns comes with the reply, and is closed */
};

enum ckpt_wire_outcome {
	CKPT_WIRE_FAILED, /* data: why */
	CKPT_WIRE_DONE,
	CKPT_WIRE_RESTORED, /* not sent: so it ends in the process that comes back */
};

/* Why the threads cannot be parked. */
enum ckpt_wire_excuse {
	CKPT_WIRE_PARKED,   /* they are */
	CKPT_WIRE_DISABLED, /* the program is in a critical section: ask again */
	CKPT_WIRE_STUCK,    /* some thread does not come: ask again */
	CKPT_WIRE_HOOK,     /* a hook of the program said no: VALUE */
	CKPT_WIRE_AGAIN,    /* hooks have run, and everybody with them: the threads have to be
			       called again, and another hello comes over the same connection */
};

/* The library's first message; the numbers of all threads (int32_t) behind it, the leader first. */
struct ckpt_wire_hello {
	uint32_t version;
	uint32_t excuse; /* with others than PARKED and AGAIN the connection ends here */
	int32_t pid;     /* as the process sees itself */
	int32_t own_fd;  /* its end of the socket, which is not the program's */
	int32_t value;
	uint32_t n_threads;
	int32_t dumpable; /* as prctl(2) says it, before the library made it 1 for the requester */
	uint32_t childless;  /* 1: it has no children, not even dead ones; 0: not known */
	uint32_t n_excluded; /* areas that CKPT_WIRE_EXCLUDED tells */
	uint32_t pad;
};

struct ckpt_wire_request {
	uint32_t verb;
	int32_t tid;
	int64_t nr;
	uint64_t arg[6];
	int32_t buf_arg; /* index of the argument that points to the data, -1: none */
	uint32_t len;    /* of the data behind this */
};

struct ckpt_wire_reply {
	int64_t ret; /* a negative errno if it failed */
	uint32_t len;
	uint32_t pad;
};

/* What a thread was seen waiting in before it was interrupted. */
struct ckpt_wire_look {
	int32_t tid;
	int32_t nr;
	uint64_t sp;
	uint64_t arg[6];
	uint64_t since;    /* CLOCK_MONOTONIC, ns; 0: not known */
	uint64_t switches; /* voluntary ones in its sched */
};

/* Comes with the signal, behind the token (Linux 4.20; before, nothing does): since when the thread
 * was seen waiting. Where a try fails before anybody connects the call that it goes on with has
 * what is left, too. */
#define CKPT_WIRE_SLEEP_AT 32 /* in siginfo_t */
struct ckpt_wire_sleep {
	uint64_t since; /* CLOCK_MONOTONIC, ns; 0: not known */
	uint64_t seal;  /* the token ^ voluntary switches until then */
};

/* As an argument: who has sent the signal, whose number then stands in the buffer of the answer. */
#define CKPT_WIRE_ASKER (~1ull)
/* What every thread is asked: it answers by itself when it comes. All change nothing. */
struct ckpt_wire_question {
	int64_t nr;
	uint64_t arg;    /* the first one */
	int32_t buf_arg; /* index of the argument that points to a buffer, -1: none */
	uint32_t buf_len;
	uint64_t second; /* argument, where that is not the buffer */
};
/* clang-format off */
#define CKPT_WIRE_QUESTIONS \
	{ SYS_prctl, 2 /* PR_GET_PDEATHSIG */, 1, 4, 0 }, \
	{ SYS_prctl, 25 /* PR_GET_TSC */, 1, 4, 0 }, \
	{ SYS_prctl, 27 /* PR_GET_SECUREBITS */, -1, 0, 0 }, \
	{ SYS_prctl, 30 /* PR_GET_TIMERSLACK */, -1, 0, 0 }, \
	{ SYS_prctl, 34 /* PR_MCE_KILL_GET */, -1, 0, 0 }, \
	{ SYS_prctl, 58 /* PR_GET_IO_FLUSHER, Linux 5.6 */, -1, 0, 0 }, \
	{ SYS_keyctl, 0 /* KEYCTL_GET_KEYRING_ID */, -1, 0, 0xffffffff /* of the thread */ }, \
	{ SYS_prctl, 40 /* PR_GET_TID_ADDRESS */, 1, 8, 0 }, \
	{ SYS_arch_prctl, 0x1011 /* ARCH_GET_CPUID */, -1, 0, 0 }, \
	{ SYS_get_mempolicy, 0, 0, 4, 0 }, \
	{ SYS_sigaltstack, 0, 1, 24, 0 }, \
	{ SYS_personality, 0xffffffff, -1, 0, 0 }, \
	{ SYS_get_robust_list, CKPT_WIRE_ASKER, -1, 0, 0 }
/* clang-format on */
#define CKPT_WIRE_N_QUESTIONS                                           \
	(sizeof((struct ckpt_wire_question[]){ CKPT_WIRE_QUESTIONS }) / \
	 sizeof(struct ckpt_wire_question))

struct ckpt_wire_answer {
	int64_t ret;
	uint8_t buf[24];
};

/* One of many calls. */
#define CKPT_WIRE_ASKED_BUF 32
struct ckpt_wire_asked {
	int64_t nr;
	uint64_t arg[4];
	int32_t buf_arg;   /* index of the argument that points to BUF, -1: none */
	int32_t result_of; /* an earlier call, whose result is arg[0]; not made where that failed.
			      -1: none */
	int64_t ret;
	uint8_t buf[CKPT_WIRE_ASKED_BUF];
};

/* A parked thread. A restore sets these registers, with rax = 1: the thread is in the handler then,
 * as it is now, and goes on from there. */
struct ckpt_wire_thread {
	struct user_regs_struct gp;
	uint64_t mask;
	uint64_t rseq_addr;
	uint32_t rseq_size, rseq_signature;
	struct ckpt_wire_answer answer[CKPT_WIRE_N_QUESTIONS];
	int32_t tid;
	uint32_t xstate_len; /* bytes behind this, rounded up to 8: the extended state of the
				interrupted program */
};

struct ckpt_wire_kept {
	uint64_t start, len;
	int32_t advice; /* MADV_DONTFORK or MADV_WIPEONFORK, which the area has */
	uint32_t pad;
};

struct ckpt_wire_range {
	uint64_t start, len;
};
