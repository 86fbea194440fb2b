/* SPDX-License-Identifier: Apache-2.0 */
/* A process tree that is asked to stop by itself: its members and their connections. Private to the
 * source from inside. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include "injector/asleep.h"
#include "injector/inside.h"
#include "libinproc/wire.h"

enum ckpt_member_state {
	CKPT_MEMBER_RUNS,
	CKPT_MEMBER_HOOKS, /* connected; runs its hooks, and is to be called again */
	CKPT_MEMBER_PARKED,
	CKPT_MEMBER_HELD,   /* it was stopped, and is held from outside */
	CKPT_MEMBER_ZOMBIE, /* nothing to be asked */
	CKPT_MEMBER_GONE,
};

#define CKPT_IDS 64

struct ckpt_member {
	struct ckpt_member *next;
	pid_t pid, ppid;
	enum ckpt_member_state state;
	int pidfd, sock; /* -1: none */
	int own_fd;      /* the other end of SOCK, in the process */
	pid_t leader;    /* the thread that serves */
	pid_t acts;      /* its main thread, or where that has ended another one */
	int dumpable;    /* as the program has it: not as the kernel would say now */
	bool childless;  /* it has said so */
	pid_t *tids;     /* those that live, the main thread first */
	const struct ckpt_wire_thread **threads; /* of the same order, and NULL */
	size_t n_tids, at;                       /* where the last one was found */
	struct ckpt_wire_asked *asked;           /* of the one that acts, when all stood */
	size_t n_asked;
	bool children_seen;
	uint64_t try_began;  /* CLOCK_MONOTONIC, ns; 0: not yet */
	uint64_t not_before; /* asked again only then */
	pid_t *called;       /* threads that have got the signal in this try */
	size_t n_called, called_room;
	pid_t blocks;                 /* a thread that blocked the signal in the last try */
	uint64_t blocks_ran;          /* how often it had begun to sleep by then */
	enum ckpt_wire_excuse excuse; /* the last one */
	bool *toldp;                  /* does it know how it ended? NULL: nobody asks */
	struct ckpt_asleep *asleep;   /* what its threads waited in before */
	struct ckpt_span *excluded;
	size_t n_excluded;
	bool copy_ordered;     /* the answer to that is the next one */
	pid_t copy_made, copy; /* of its memory, which is read from now on; 0: none */
	int copy_sock, copy_mem;
	uint64_t vm_size;            /* of what was copied */
	char ids[CKPT_IDS];          /* its users, as its status says */
	bool looked_at;              /* the next three are known, as seen before */
	bool must_wait;              /* a copy would not be the whole truth */
	struct ckpt_wire_kept *kept; /* what a fork does not keep */
	size_t n_kept;
	struct ckpt_source *held;   /* where it is HELD: who is asked, */
	struct ckpt_frozen *frozen; /* and as what it was found */
};

struct ckpt_inside {
	struct ckpt_arena *arena;
	struct ckpt_inside_opts opts;
	struct ckpt_log *log;
	pid_t root;
	struct ckpt_member *members, **last; /* parents before children */
	size_t n_members, n_held;
	int listener; /* -1: none */
	uint64_t token, token_at;
	int64_t clock_ahead; /* by how many ns CLOCK_MONOTONIC of the tree is ahead of ours */
	uint64_t deadline, frozen_at;
	bool hurry; /* somebody was called again */
	struct ckpt_cpu_clocks clocks;
	pthread_mutex_t lock; /* a connection serves one request after the other */
	struct ckpt_wire_request request;
	struct ckpt_wire_reply reply;
	char data[CKPT_WIRE_DATA] __attribute__((aligned(16)));
};

/* ---- inside-wire.c ---- */
/* Sends one request with its bytes of DATA behind it. */
int ckpt_inside_send(const struct ckpt_member *m, const struct ckpt_wire_request *req,
		     const void *data, struct ckpt_err *err);
/* Of a new connection: nobody is waited for without being looked at. */
void ckpt_inside_limit(const struct ckpt_member *m);
/* Awaits a reply. Its bytes are in in->data, its descriptor (if FDP) in *FDP. Returns the reply's
 * value, or -ECONNRESET with ERR: also where the process was stopped. By the holder of the lock. */
int64_t ckpt_inside_receive(struct ckpt_inside *in, const struct ckpt_member *m, int *fdp,
			    struct ckpt_err *err);
/* Both. */
int64_t ckpt_inside_ask(struct ckpt_inside *in, struct ckpt_member *m,
			const struct ckpt_wire_request *req, const void *data, int *fdp,
			struct ckpt_err *err);
/* The same by the member that TID belongs to, with the lock held meanwhile; the first SIZE bytes of
 * what came back go to BUF. */
int64_t ckpt_inside_request(struct ckpt_inside *in, pid_t tid, struct ckpt_wire_request *req,
			    const void *data, void *buf, size_t size, int *fdp,
			    struct ckpt_err *err);
/* Awaits a hello on the member's connection, or a new connection (SOCK): 0, or -errno. TIDS gets at
 * most MAX. */
int ckpt_inside_hello(int sock, struct ckpt_wire_hello *hello, int32_t *tids, size_t max);
/* It goes on, and closes its end; by the first one ours stays open. */
void ckpt_inside_tell_go(const struct ckpt_member *m, bool done, const char *why);
void ckpt_inside_go(struct ckpt_member *m, bool done, const char *why);
int ckpt_inside_listen(struct ckpt_inside *in, struct ckpt_err *err);

/* ---- inside-members.c ---- */
/* What can be seen of the tree: what its threads wait in, and whether all of it can be asked. */
int ckpt_inside_look_ahead(struct ckpt_inside *in, struct ckpt_err *err);
/* The same of one member's threads, which have run since. */
int ckpt_inside_look_again(struct ckpt_inside *in, struct ckpt_member *m, struct ckpt_err *err);
/* Its state says so then. */
bool ckpt_inside_has_ended(struct ckpt_member *m);
/* Adds those that are not known, and counts them. */
int ckpt_inside_add_children(struct ckpt_inside *in, struct ckpt_member *m, size_t *n_newp,
			     struct ckpt_err *err);
bool ckpt_inside_stands(const struct ckpt_member *m);
/* When all stand: *DONEP: their children do, too. Who is none of these goes on. */
int ckpt_inside_settle(struct ckpt_inside *in, bool *donep, struct ckpt_err *err);
struct ckpt_member *ckpt_inside_member(const struct ckpt_inside *in, pid_t pid);
/* Whom to ask for TID: itself, or of a main thread that has ended another one. */
pid_t ckpt_inside_acts(const struct ckpt_inside *in, pid_t tid);
/* The one that thread TID belongs to. */
struct ckpt_member *ckpt_inside_of_thread(const struct ckpt_inside *in, pid_t tid);

/* Where it is in m->tids; n_tids: nowhere. */
size_t ckpt_inside_index(struct ckpt_member *m, pid_t tid);

/* ---- inside-questions.c ---- */
/* Before the stop: what is going to be asked. */
void ckpt_inside_questions(struct ckpt_inside *in, struct ckpt_member *m);
/* Asks all who stand for what every one is asked, in one go. */
int ckpt_inside_ask_ahead(struct ckpt_inside *in, struct ckpt_err *err);
/* What thread TID has answered already. */
bool ckpt_inside_answered(struct ckpt_member *m, pid_t tid, struct ckpt_call *call);

/* ---- inside-stop.c ---- */
/* Stops all of it. On failure all go on. */
int ckpt_inside_stop(struct ckpt_inside *in, struct ckpt_err *err);
/* It goes on. */
void ckpt_inside_let_go_one(struct ckpt_member *m, bool done, const char *why);
/* All go on: what was asked for is DONE, or WHY not. */
void ckpt_inside_let_go(struct ckpt_inside *in, bool done, const char *why);

/* ---- inside-held.c ---- */
/* Is it a member that cannot be asked, for it is stopped? */
bool ckpt_inside_is_stopped(const struct ckpt_inside *in, const struct ckpt_member *m);
/* When all others stand. */
int ckpt_inside_hold_stopped(struct ckpt_inside *in, struct ckpt_err *err);
/* Who is to be asked for thread TID; NULL: the tree itself. */
struct ckpt_source *ckpt_inside_held(const struct ckpt_inside *in, pid_t tid);

/* ---- inside-copy.c ---- */
/* Before the stop: what a copy of PID's memory would lack. */
void ckpt_inside_copy_ahead(struct ckpt_inside *in, struct ckpt_member *m);
/* When all stand: orders copies, which they make while they are asked about other things, unless
 * they would not be the whole truth. */
int ckpt_inside_copy_order(struct ckpt_inside *in, struct ckpt_err *err);
/* The answer to an order, if there was one. By the holder of the lock. */
int ckpt_inside_copy_take(struct ckpt_inside *in, struct ckpt_member *m, struct ckpt_err *err);
/* Are there copies of all? 1 or 0. */
int ckpt_inside_copied(struct ckpt_inside *in, struct ckpt_err *err);
/* All go on, and their copies are read. */
void ckpt_inside_copy_go(struct ckpt_inside *in);
/* Then: are the copies ready, and are they that truth? -ESTALE: no. */
int ckpt_inside_copy_check(struct ckpt_inside *in, struct ckpt_err *err);
void ckpt_inside_copy_end(struct ckpt_member *m);

/* ---- inside-memory.c ---- */
/* Of the process, or of its copy. All N ranges or an error. */
int ckpt_inside_read(struct ckpt_inside *in, pid_t pid, const struct iovec *range, size_t n,
		     void *buf, struct ckpt_err *err);

/* ---- inside-why.c ---- */
/* Why the member does not answer: refuses by name; 0: nothing is wrong, it just takes its time. */
int ckpt_inside_why(const struct ckpt_inside *in, struct ckpt_member *m, struct ckpt_err *err);
