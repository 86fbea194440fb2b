/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that comes after the program runs. Each task sends its userfaultfd to two processes,
 * "ckpt-lazy", which share all that they have: a server fills memory and answers page faults; its
 * keeper waits, and starts another one should it be killed, as the server does for the keeper. With
 * a userfaultfd that nobody holds, absent pages would read as zeroes: should both be killed at once
 * the kernel ends the tree.
 *
 * Where memory is mapped from the image there is only a keeper: it checks what is mapped.
 */
#pragma once
#include "engine/memory/absent.h"
#include "engine/store/image.h"
#include "injector/restore.h"

struct ckpt_job;
struct ckpt_lazy_job;

/* Before tasks are forked. Nothing where nothing comes later. NEEDED, kept: by chunk, what does
 * not.
 */
int ckpt_lazy_open(struct ckpt_job *job, const struct ckpt_image *img,
		   const struct ckpt_restore_run *run, bool *needed, struct ckpt_err *err);
/* In a task, before it leaves this program: its userfaultfd goes to the keeper, and stays at its
 * number for the last stage. */
int ckpt_lazy_send(struct ckpt_job *job, const struct ckpt_task *task, struct ckpt_err *err);
/* Starts the processes, which take what the tasks send. */
int ckpt_lazy_start(struct ckpt_job *job, struct ckpt_err *err);
/* When all tasks are there, or on their way: waits at most MS. 1: page faults are answered from
 * here on. */
int ckpt_lazy_await_ms(struct ckpt_job *job, unsigned int ms, struct ckpt_err *err);
/* The restore is over, well or, as ERR says, not: without it nothing is filled but what is asked
 * for. If that has failed, all that ERR was about came of it, and ERR is why. NULL is fine. */
void ckpt_lazy_over(struct ckpt_lazy_job *lazy, struct ckpt_err *err);

/* ---- inside ---- */

#define CKPT_LAZY_NAME "ckpt-lazy"
#define CKPT_LAZY_SLOTS 8 /* chunks of the image in memory */
#define CKPT_LAZY_BATCH 32
#define CKPT_LAZY_FAMILY 4096 /* processes of the tree that are found */
#define CKPT_LAZY_FORKED 256

struct uffd_msg;
struct pollfd;

/* An address space: of a task, or of a process that it forked meanwhile. */
struct ckpt_lazy_mm {
	int uffd; /* -1: it is complete, or gone */
	struct ckpt_absent absent;
	uint32_t task; /* 0: it was forked meanwhile */
	int will;      /* a descriptor; -1: none */
};

struct ckpt_lazy_job {
	struct ckpt_job *job;
	const struct ckpt_image *img;
	bool detached;
	int dirfd;   /* of the image, for a log if there is no other */
	int mine;    /* end of the socket, */
	int theirs;  /* and that of the tasks */
	int control; /* a socket: the keeper says that it is there, it ends with the coordinator */
	size_t to_come;
	bool *needed;            /* by chunk: read before the program runs */
	struct ckpt_lazy_mm *mm; /* malloc: they may become more */
	struct pollfd *poll;     /* a place for each of them, and for two more */
	size_t n_mm, room, turn;
	int *pidfd; /* of tasks */
	size_t n_pidfds;

	/* What server and keeper have in common. */
	uint8_t *slot[CKPT_LAZY_SLOTS]; /* contents of chunks, checked */
	uint64_t chunk[CKPT_LAZY_SLOTS];
	struct uffd_msg *msg; /* of one mm, taken from the kernel; event 0: done with */
	size_t msg_mm;
	bool changing; /* lists are between two states */
	bool decided;  /* the program runs: the rest is filled, */
	uint64_t from; /* not before this time */
	int will_read, will_write, will_lowest;
	struct ckpt_lazy_forked {
		pid_t pid;
		int will;
	} forked[CKPT_LAZY_FORKED];
	size_t n_forked;
	unsigned int looks; /* for those that were forked, from then on */
	uint64_t look_at;
	struct ckpt_err err;
};

/* lazy-keep.c: the life of the keeper. */
void ckpt_lazy_keep(struct ckpt_lazy_job *l) __attribute__((noreturn));

/* The living processes of the tree, at most CKPT_LAZY_FAMILY. */
size_t ckpt_lazy_family(const struct ckpt_lazy_job *l, pid_t *v);

/* In the keeper: takes what tasks send, until that is all. -ECANCELED: the coordinator ended. */
int ckpt_lazy_collect(struct ckpt_lazy_job *l, struct ckpt_err *err);

enum ckpt_lazy_end { CKPT_LAZY_DONE, CKPT_LAZY_FAILED, CKPT_LAZY_ORPHAN };
/* lazy-serve.c: until all is there, or the process KEEPER (a pidfd) has ended. */
enum ckpt_lazy_end ckpt_lazy_serve(struct ckpt_lazy_job *l, int keeper);
/* Has the coordinator come to an end? Says whether the program runs. */
bool ckpt_lazy_is_over(struct ckpt_lazy_job *l);
/* Room for N address spaces. */
bool ckpt_lazy_reserve(struct ckpt_lazy_job *l, size_t n);

/* lazy-will.c: if keeper and server are killed at once, so is the tree */
void ckpt_lazy_make_will(struct ckpt_lazy_job *l);
/* A process of the tree is forking: the child is looked for, too. */
void ckpt_lazy_forked(struct ckpt_lazy_job *l);
void ckpt_lazy_name_forked(struct ckpt_lazy_job *l);
void ckpt_lazy_end_will(struct ckpt_lazy_job *l);

/* lazy-fill.c */
/* Brings in the page at AT and what follows, at most MAX bytes. A page that is not absent is
 * zeroes. -ESRCH: the address space is gone; -EAGAIN: an event comes first; other errors are those
 * of the image. */
int ckpt_lazy_fill(struct ckpt_lazy_job *l, struct ckpt_lazy_mm *mm, uint64_t at, uint64_t max,
		   struct ckpt_err *err);
void ckpt_lazy_wake(const struct ckpt_lazy_mm *mm, uint64_t at, uint64_t len);
void ckpt_lazy_poison(const struct ckpt_lazy_mm *mm);
