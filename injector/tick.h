/* SPDX-License-Identifier: Apache-2.0 */
/* While a tree is being stopped waits do not last for ever; while it stands processors are quick to
 * wake. */
#pragma once
#include <signal.h>
#include <stdbool.h>
#include <time.h>

#define CKPT_TICK_NS 1000000

/* A timer whose signal ends waits in the thread that started it with EINTR. */
struct ckpt_tick {
	bool runs;  /* else nothing ends a wait */
	bool taken; /* the signal */
	timer_t timer;
	struct sigaction action; /* of the signal, before */
	sigset_t mask;           /* of the thread, before */
};

void ckpt_tick_start(struct ckpt_tick *tick);
void ckpt_tick_stop(struct ckpt_tick *tick);

/* A sleeping processor takes longer to wake up than a thread to stop, to make its calls or to go
 * on: until the descriptor is closed none sleeps. Only root may ask for this; -1: nobody does. */
int ckpt_hold_awake(void);
