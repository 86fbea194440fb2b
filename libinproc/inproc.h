/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the preloaded library share. It lives in other people's processes: no malloc,
 * no stdio, no thread of its own, nothing that may fail loudly. Everything is hidden but what
 * ckpt.h and the C library's names export.
 */
#pragma once
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "libinproc/wire.h"

#define CKPT_SIGNAL_DEFAULT 64 /* the last of the real-time ones */
#define CKPT_LOWEST_FD 900     /* own descriptors are not below */
#define CKPT_EXPORT __attribute__((visibility("default")))

/* What is fixed at the start of the program. */
struct ckpt_config {
	bool on;    /* the handler is installed */
	int signal; /* the reserved one */
};
extern struct ckpt_config ckpt_config;

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

/* A thread in the handler; on its stack. */
struct ckpt_parked {
	struct ckpt_parked *next;
	pid_t tid;
	ucontext_t *uc;     /* what it was doing; the kernel's frame */
	uint64_t since;     /* CLOCK_MONOTONIC when it came, ns */
	long interrupted;   /* the call that only our signal interrupted, made again at the end; -1 */
	struct user_regs_struct regs;
	uint32_t word;      /* futex: what it is asked to do */
	struct ckpt_wire_request *call;
	void *data;
	int64_t ret;
};

/* ---- stop.c: the handler; parking all threads ---- */
/* Asks for a checkpoint of this process by this thread (ckpt_now()): a negative errno, or 1 after a
 * checkpoint, 2 after a restore from it. */
int ckpt_checkpoint_now(void);

/* ---- serve.c ---- */
/* Serves requests until the end; returns the outcome. */
int ckpt_serve(int fd, struct ckpt_parked *me);

/* ---- windback.c ---- */
/* Right at the start of the handler: if our signal alone interrupted a system call, the frame is
 * changed so that it is made again. */
void ckpt_wind_back(struct ckpt_parked *p);
/* The same, knowing what the thread waited in before: with what is left of its time. */
void ckpt_wind_back_rest(struct ckpt_parked *p, const struct ckpt_wire_look *look);
/* Right before the end: a signal of the program's own may have come meanwhile. */
void ckpt_wind_back_end(struct ckpt_parked *p);

/* ---- api.c ---- */
enum ckpt_hook_event { CKPT_HOOK_BEFORE, CKPT_HOOK_AFTER, CKPT_HOOK_RESTORED };
bool ckpt_has_hooks(void);
/* 0, or what the hook that said no returned (only BEFORE). */
int ckpt_run_hooks(enum ckpt_hook_event event);
bool ckpt_is_disabled(void);
/* Areas that the program excluded; fills at most MAX. */
size_t ckpt_excluded(struct ckpt_wire_range *range, size_t max);
/* The program is in a critical section, and nobody will ask again (a plain kill(1)): the
 * ckpt_enable() that ends it takes the checkpoint. */
void ckpt_disabled_note(void);
/* What ckpt_error() says from now on. */
void ckpt_set_error(const char *text, size_t len);
