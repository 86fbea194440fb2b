/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of ckpt-run share. */
#pragma once
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "tools/generations.h"

#define CKPT_RUN_AGAIN 85 /* exit status: checkpointed, start me again */
#define CKPT_RUN_RESERVE (64ull << 30)

struct ckpt_run_options {
	bool help, version, resume, verbose, track_mem;
	const char *dir;      /* absolute once main() has it open; NULL: none */
	uint64_t interval_ns; /* 0: none */
	unsigned int keep, wait_s;
	int signal;
	sigset_t on; /* --checkpoint-on */
	bool any_on;
	char **argv;      /* the program's */
	const char *path; /* of the program */
};

/* ---- run-options.c ---- */
int ckpt_run_options(struct ckpt_run_options *o, int argc, char **argv, struct ckpt_err *err);
void ckpt_run_help(int fd);

/* ---- run-program.c ---- */
/* Finds ARGV0 as execvp(3) does, and looks whether a library can be preloaded into it: a script
 * counts as its interpreter. *STATUSP: what a shell would exit with. */
int ckpt_run_find(const char *argv0, struct ckpt_arena *arena, const char **pathp, int *statusp,
		  struct ckpt_err *err);
/* Becomes the program; returns only if that fails: the exit status. */
int ckpt_run_exec(const struct ckpt_run_options *o);

/* ---- run-environment.c ---- */
int ckpt_run_environment(const struct ckpt_run_options *o, struct ckpt_arena *arena,
			 struct ckpt_err *err);

/* ---- run-owner.c ---- */
/* A folder belongs to one job at a time: takes DIR/run.lock, held for as long as *FDP is open, and
 * refuses if the program that was started last from here still runs. */
int ckpt_run_claim(struct ckpt_generations *g, int *fdp, struct ckpt_err *err);
/* Writes down which program that is. */
int ckpt_run_owner(struct ckpt_generations *g, pid_t pid, struct ckpt_err *err);

/* ---- run-checkpoint.c ---- */
/* What the process that takes a checkpoint leaves in shared memory. */
struct ckpt_run_result {
	bool done;
	uint32_t n_tasks, n_threads;
	uint64_t bytes, frozen_ns, total_ns;
	char name[24];       /* of the generation */
	char note[512];      /* what the user is to be told; empty: nothing */
	unsigned int number; /* of the last one that was taken; 0: none */
	struct ckpt_err err;
};
/* In a process of its own, which is returned: a crash there harms nobody. KILL: the program ends
 * with it. */
pid_t ckpt_run_checkpoint(const struct ckpt_run_options *o, pid_t program, bool kill,
			  struct ckpt_run_result *result, struct ckpt_err *err);

/* ---- run-resume.c ---- */
/* What the process that restores tells through its pipe. */
struct ckpt_run_news {
	enum { CKPT_RUN_NONE, CKPT_RUN_STARTED, CKPT_RUN_ENDED, CKPT_RUN_FAILED } what;
	pid_t program; /* started: as seen from here */
	int status;    /* ended: as wait(2) has it; failed: exit status */
};
/* Starts a process that restores the newest whole generation and waits for the end of the program.
 * NONE: there is no generation to restore. Returns it; *NEWSP is where its news come. */
pid_t ckpt_run_resume(struct ckpt_generations *g, int *newsp, struct ckpt_err *err);

/* ---- run-files.c ---- */
struct ckpt_snapshot;
/* Files that the program had open for writing and that have grown since. */
struct ckpt_run_files {
	struct ckpt_run_file {
		const char *path, *saved;
		uint64_t size, now;
		bool cut;
	} * v;
	size_t n;
};
void ckpt_run_grown(const struct ckpt_snapshot *snap, const struct ckpt_generations *g,
		    unsigned int generation, struct ckpt_run_files *files);
/* Gives them the size that they had; what is cut off is kept in SAVED. */
int ckpt_run_cut(struct ckpt_run_files *files, struct ckpt_err *err);
/* Puts it back. */
void ckpt_run_uncut(struct ckpt_run_files *files);
/* The program has ended well: what was cut off is needed no more. */
void ckpt_run_forget_cut(struct ckpt_generations *g);

/* ---- run-supervise.c ---- */
/* Stays; returns the exit status, or does not return where the program died of a signal. LOCK, of
 * the folder, is given back by then. */
int ckpt_run_supervise(const struct ckpt_run_options *o, struct ckpt_generations *g, int lock,
		       struct ckpt_arena *arena);

/* "ckpt-run: TEXT" on stderr. */
void ckpt_run_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The sentence of an error; returns its exit status. */
int ckpt_run_say_err(const struct ckpt_err *err);
