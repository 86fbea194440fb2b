/* SPDX-License-Identifier: Apache-2.0 */
/* While a tree is being stopped: waits do not last for ever, and processors are quick to wake. */
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
	int awake;               /* holds the processors awake, -1: nothing does */
};

void ckpt_tick_start(struct ckpt_tick *tick);
void ckpt_tick_stop(struct ckpt_tick *tick);
