/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a command and, at a chosen system call of it, kills it or makes the call fail. The command's
 * threads are followed, its child processes are not: those of a restore have to be free to be
 * traced by ckpt itself. But a dump is made by a child of the command, whose calls are meant then.
 */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

struct step {
	long kill_at; /* SIGKILL at the n-th stop (entry or exit of a call), counted from 1; 0:
			 never */
	long fail_at; /* the n-th call fails with ERROR instead of being made; 0: never */
	int error;
	unsigned int timeout_ms;
	bool attended;       /* the command is a dump: its first child is followed */
	bool leaves_holder;  /* of what it tracks, which goes on: only these two are waited for */
	bool kill_attendant; /* and at KILL_AT the command itself is killed */
	/* what came of it: */
	long n_stops, n_calls;
	long n_waits; /* of the calls: for somebody to stop, as often as it takes */
	bool hit, timed_out;
	long nr;    /* the call that was hit */
	int status; /* of wait(2) */
};

/* False if it could not be run. OUT: as for test_spawn(). */
bool step_run(struct step *s, char *const argv[], const char *out);
