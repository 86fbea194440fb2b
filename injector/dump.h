/* SPDX-License-Identifier: Apache-2.0 */
/* A dump from outside: freeze, capture, write, commit, then kill or let go. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/base/problems.h"
#include "engine/capture/policy.h"
#include "engine/store/codec.h"
#include "injector/handover.h"

struct ckpt_dump_stats;
struct ckpt_lend;
struct ckpt_page_server;

/* From inside: by the library that ckpt-run preloads. */
struct ckpt_inside_opts {
	int signal;          /* that the library answers to; 0: find out */
	bool answer;         /* the library has started us by itself */
	bool one;            /* without its children */
	bool snapshot;       /* it goes on as soon as there is a copy of it */
	unsigned int wait_s; /* for it to answer */
	bool *told;          /* set as soon as it knows how it ended; may be NULL */
};

struct ckpt_dump_opts {
	pid_t pid;
	const struct ckpt_inside_opts *inside; /* NULL: from outside */
	int dirfd;                             /* images folder, or where a stream goes; borrowed */
	const char *dir;                       /* its name, for messages */
	struct ckpt_compression compress;      /* of the pages */
	bool leave_running, leave_stopped, shell_job, file_locks, tcp_close, skip_in_flight;
	bool packages;          /* that programs and libraries belong to are kept */
	bool areas_frozen;      /* with LIVE: areas are not read before the freeze */
	bool live;              /* memory is copied while it runs, and again where it changed */
	uint64_t max_freeze_ns; /* with LIVE: as long at most, or none; 0: any */
	bool copies; /* with LEAVE_RUNNING: if that cannot be kept, or is 0, copies are written */
	/* Images that go on from each other: the folder of the one before, as seen from this one;
	 * or NULL */
	const char *prev_dir;
	bool track_mem;               /* what is written from now on is tracked for the next one, */
	unsigned int track_timeout_s; /* which may take so long to come; 0: for ever */
	bool memory_only;             /* a pre-dump: the tree goes on */
	const struct ckpt_page_server *server; /* the pages go there; or NULL */
	const struct ckpt_lend *lend;          /* or SERVER is we: they are lent (lend.h) */
	/* The tree ends when it runs where the stream went; or NULL. */
	const struct ckpt_handover *handover;
	struct ckpt_file_policy files;
	struct ckpt_rules *rules; /* of the user; may be NULL */
	unsigned int timeout_s;   /* for the freeze and the capture; 0: none */
	struct ckpt_log *log;
	/* The image is whole, the tree is about to be killed or stopped; may be NULL. */
	void (*committed)(void *arg, const struct ckpt_dump_stats *stats);
	void *committed_arg;
};

struct ckpt_dump_stats {
	uint32_t n_tasks, n_threads;
	uint64_t bytes; /* of the image */
	uint64_t frozen_ns, total_ns;
	const char *const *losses; /* what was seen and could not be kept: snapshot->lost */
	size_t n_losses;
	const char *note; /* of images that go on from each other; may be NULL */
};

/* On failure the tree goes on as it was and no image is left. PROBLEMS then holds all that was
 * found (maybe none: *err). */
int ckpt_dump(const struct ckpt_dump_opts *opts, struct ckpt_arena *arena,
	      struct ckpt_dump_stats *stats, struct ckpt_problems *problems, struct ckpt_err *err);
/* The same for a tree in a user and pid namespace that a restore made (box.h): from inside of it,
 * in a process of its own, so that the image holds the numbers that the tree knows. CHECK:
 * ckpt_dump_check(). Returns 1 if the tree is in none, and nothing was done. Called by the two
 * others. */
int ckpt_dump_in_box(const struct ckpt_dump_opts *opts, bool check, struct ckpt_arena *arena,
		     struct ckpt_dump_stats *stats, struct ckpt_problems *problems,
		     struct ckpt_err *err);
/* Every reason why the tree cannot be dumped; it is frozen for a moment, nothing is written. 0 also
 * where problems were found. */
int ckpt_dump_check(const struct ckpt_dump_opts *opts, struct ckpt_arena *arena,
		    struct ckpt_problems *problems, struct ckpt_err *err);
