/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor's state. */
#pragma once
#include "tools/run.h"

struct ckpt_supervisor {
	const struct ckpt_run_options *o;
	struct ckpt_generations *g;
	struct ckpt_arena *arena;
	int lock; /* of the folder */
	sigset_t old_mask;
	struct sigaction old_chld;
	int signals;
	int news;      /* of the process that restores; -1: the program is our child */
	pid_t child;   /* the program if it is our child */
	pid_t program; /* in any case */
	int pidfd;     /* of it; -1: not yet there */
	bool ended;
	int status; /* then, as wait(2) has it */
	int failed; /* there will be no program: exit status */

	/* run-due.c */
	uint64_t next;      /* CLOCK_MONOTONIC of the next checkpoint, ns */
	pid_t checkpointer; /* that works on one; 0: none */
	bool is_last;       /* it ends the program */
	int last;           /* signal that asked for a last one; 0: none did */
	bool taken_last;
	struct ckpt_run_result *result; /* shared with it */
	char said[1024];                /* the last failure that was reported */
	bool noted;                     /* why one is a complete one, for the first time */
};

/* As /proc has it; 'X': gone. */
char ckpt_run_state(pid_t pid);
int ckpt_run_open_results(struct ckpt_supervisor *r, struct ckpt_err *err);
/* Starts a checkpoint if it is time. */
void ckpt_run_due(struct ckpt_supervisor *r);
/* The process that took one has ended. */
void ckpt_run_taken(struct ckpt_supervisor *r, int status);
