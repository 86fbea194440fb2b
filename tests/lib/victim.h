/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that look after themselves while ckpt is killed or fails: each of their threads does
 * something with a known result over and over, counts its rounds in a shared file ("heart"), and
 * notes there the first thing that went wrong.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define VICTIM_BEATS 16

struct victim_heart {
	volatile uint64_t beats[VICTIM_BEATS];
	volatile uint32_t n; /* of those that are in use */
	volatile uint32_t ready, failed;
	/* The kernel itself ends some waits (epoll_wait, rt_sigtimedwait) with EINTR when a thread
	 * is stopped, and ckpt mends that. Where it is killed in between, TOLERANT lets that be
	 * counted instead of failing. */
	volatile uint32_t tolerant, interrupted;
	char text[256]; /* what went wrong */
};

/* Names of all sorts, NULL at the end: "loop", "sleep", "epoll", "read", "many", "tree", "storm".
 * Others, for some: "filtered"; "large", with so much memory that its pages are in several files.
 */
extern const char *const victim_sorts[];
/* Is there syscall user dispatch, which one more sort, "dispatch", has? */
bool victim_can_dispatch(void);

/* main() of a victim: `PROGRAM @victim SORT DIR`. Returns only on bad arguments. */
int victim_main(int argc, char **argv);
/* Starts PROGRAM as a victim whose heart is DIR/heart and waits until it beats. 0 if it does not.
 */
pid_t victim_start(const char *program, const char *sort, const char *dir,
		   struct victim_heart **heartp);
/* All threads go on and nothing went wrong. WHY (of SIZE bytes) tells otherwise. PID 0: only the
 * heart is looked at. */
bool victim_well(const struct victim_heart *heart, pid_t pid, char *why, size_t size);
void victim_forget(struct victim_heart *heart);
