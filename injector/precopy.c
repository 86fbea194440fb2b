/* SPDX-License-Identifier: Apache-2.0 */
/* The tree stands for a moment at the start, for the tracking to begin. */
#include <errno.h>
#include <stdio.h>
#include "engine/base/pass.h"
#include "injector/precopy.h"
#include "injector/ptrace.h"

#define ROUNDS_MAX 30
#define ROUNDS_FEW 2          /* nobody asked for them: what was written since the dump before */
#define WORSE_MAX 3           /* rounds one after the other that are no better than the best one */
#define SMALL (512ull << 10)  /* that is copied in no time */
#define PARTS 8               /* of the first round, which tell how much is written meanwhile */
#define PARTS_FIRST 32        /* the same, if it is so much that it is clear already */
#define PART_MIN (4ull << 20) /* less is copied too soon to tell anything */
#define NEARLY 24             /* that part of all of it takes as long as to read the areas */
#define NS_PER_MS 1000000ull
#define BYTES_PER_MS (1ull << 20) /* as long as nothing has been copied that would tell */

/* Who has asked for a short stop has to know why it is none. */
static void note_untracked(const struct ckpt_precopy *pre, struct ckpt_arena *arena,
			   const char **notep)
{
	char text[200];
	pid_t pid;
	const char *why = ckpt_live_untracked(pre->live, &pid);

	if (!why)
		return;
	snprintf(text, sizeof(text),
		 "process %d: its memory cannot be tracked, and is copied when it stands still: %s",
		 pid, why);
	*notep = ckpt_strdup(arena, text);
}

int ckpt_precopy_begin(struct ckpt_precopy *pre, struct ckpt_arena *arena,
		       const struct ckpt_precopy_opts *opts, struct ckpt_err *err)
{
	struct ckpt_source *src;
	struct ckpt_frozen *task;
	size_t n;
	int r = ckpt_source_ptrace_open(&src, arena, opts->pid, &opts->ptrace, err);

	if (r < 0)
		return r;
	r = src->ops->freeze(src, arena, &task, &n, err);
	if (r >= 0)
		r = ckpt_live_confirm(pre->live, src, err);
	for (size_t i = 0; r >= 0 && i < n; i++)
		if (!task[i].zombie && !ckpt_live_track(pre->live, task[i].pid))
			r = ckpt_live_add(pre->live, src, task[i].pid, err);
	ckpt_source_close(src);
	pre->frozen_ns = ckpt_now_ns() - src->frozen_at;
	note_untracked(pre, arena, opts->notep);
	return r;
}

static uint64_t time_for(const struct ckpt_precopy *pre, uint64_t bytes)
{
	return bytes * NS_PER_MS / (pre->bytes_per_ms ? pre->bytes_per_ms : BYTES_PER_MS);
}

int ckpt_precopy_check(const struct ckpt_precopy *pre, const struct ckpt_precopy_opts *opts,
		       uint64_t frozen_ns, uint64_t bytes, struct ckpt_err *err)
{
	uint64_t all = frozen_ns + time_for(pre, bytes);

	if (!opts->max_freeze_ns || all <= opts->max_freeze_ns)
		return 0;
	if (frozen_ns > opts->max_freeze_ns)
		return ckpt_refuse(err, CKPT_E_MAX_FREEZE, -ETIME,
				   "process %d: it stands still for %llu ms already: it has much "
				   "other state than memory, or the machine is busy",
				   opts->pid, (unsigned long long)(frozen_ns / NS_PER_MS));
	return ckpt_refuse(
		err, CKPT_E_MAX_FREEZE, -ETIME,
		"process %d: it would stand still for %llu ms: %llu KiB of memory change "
		"faster than they are copied, or cannot be tracked",
		opts->pid, (unsigned long long)(all / NS_PER_MS + 1),
		(unsigned long long)bytes >> 10);
}

struct round {
	uint64_t bytes; /* that had changed since the round before, and are copied */
	uint64_t ns;    /* it took */
};

/* BYTES are left, as much as ever (LEAST), and it is too much: only copies help. */
static bool is_hopeless(const struct ckpt_precopy *pre, const struct ckpt_precopy_opts *opts,
			uint64_t least, uint64_t bytes)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;

	return bytes > SMALL && bytes > least - least / 10 &&
	       (!opts->max_freeze_ns ||
		ckpt_precopy_check(pre, opts, pre->frozen_ns, bytes, &ignored) < 0);
}

/* Is it, before the next round? The copies will hold most of it. */
static int look(struct ckpt_precopy *pre, const struct ckpt_precopy_opts *opts, uint64_t least,
		struct ckpt_err *err)
{
	uint64_t bytes;
	int r = ckpt_live_written(pre->live, &bytes, err);

	if (r < 0 || !is_hopeless(pre, opts, least, bytes))
		return r;
	if (bytes > ckpt_live_own(pre->live) / 2)
		ckpt_live_forget(pre->live);
	return 1;
}

/* All of the round but REST. When as much is left of that as is copied while areas are read, it may
 * soon stand still: a part of the round tells, or that less than this has been written. */
static int copy_but(struct ckpt_precopy *pre, const struct ckpt_precopy_opts *opts, uint64_t rest,
		    struct ckpt_err *err)
{
	uint64_t all = ckpt_live_own(pre->live);
	uint64_t left = ckpt_live_left(pre->live), last = all / NEARLY, written = 0;
	bool asks = opts->nearly && left > rest + last;
	int r = asks ? ckpt_live_copy(pre->live, left - rest - last, err) : 0;

	if (r >= 0 && asks && !rest)
		r = ckpt_live_written(pre->live, &written, err);
	if (r >= 0 && asks && written <= last)
		opts->nearly(opts->arg);
	left = ckpt_live_left(pre->live);
	return r >= 0 && left > rest ? ckpt_live_copy(pre->live, left - rest, err) : r;
}

struct sample {
	uint64_t all, left;    /* bytes of the first round, of what was to be copied before it */
	uint64_t start, found; /* when it began; when it was known what is to be copied */
};

/* How much has been written since the start, when a part of it is copied, tells how much it will be
 * at the end of the round. 1: so much that it is hopeless, by SURE to one. */
static int copy_part(struct ckpt_precopy *pre, const struct ckpt_precopy_opts *opts,
		     const struct sample *s, unsigned int parts, double sure, struct ckpt_err *err)
{
	int r = copy_but(pre, opts, s->left - s->all / parts, err);
	uint64_t written = 0, copied = ckpt_now_ns(), took = copied - s->found;

	if (r >= 0)
		r = ckpt_live_written(pre->live, &written, err);
	if (r < 0)
		return r;
	pre->bytes_per_ms = s->all / parts * NS_PER_MS / took;
	written *= (s->found - s->start + parts * took) / (sure * (copied - s->start));
	if (!is_hopeless(pre, opts, s->all, written))
		return 0;
	ckpt_live_forget(pre->live);
	return 1;
}

static int copy_parts(struct ckpt_precopy *pre, const struct ckpt_precopy_opts *opts,
		      uint64_t start, uint64_t all, struct ckpt_err *err)
{
	const struct sample s = { all, ckpt_live_left(pre->live), start, ckpt_now_ns() };
	int r = 0;

	if (all / PARTS_FIRST >= PART_MIN) {
		/* Areas are read meanwhile: it may be the last one. */
		if (opts->nearly)
			opts->nearly(opts->arg);
		r = copy_part(pre, opts, &s, PARTS_FIRST, 1.5, err);
	}
	return r ? r : copy_part(pre, opts, &s, PARTS, 1, err);
}

/* For shared memory, which is not tracked, behind what has its place in the first round. */
static int make_room(struct ckpt_precopy *pre, struct ckpt_arena *arena,
		     const struct ckpt_precopy_opts *opts, struct ckpt_err *err)
{
	uint64_t own = ckpt_live_own(pre->live), shared;

	if (!opts->makes_room || !opts->live.files->n || ckpt_image_writer_pack(opts->writer))
		return 0;
	shared = ckpt_room_shared_size(arena, opts->pid);
	if (shared <= SMALL)
		return 0;
	ckpt_image_spread(opts->writer, own + shared);
	return ckpt_room_make(&pre->room, arena, opts->live.files, own, shared, opts->live.go_on,
			      opts->live.go_on_arg, err);
}

/* 1: not all of it was copied, for it is hopeless. */
static int copy_round(struct ckpt_precopy *pre, struct ckpt_arena *arena,
		      const struct ckpt_precopy_opts *opts, uint64_t least, struct round *round,
		      struct ckpt_err *err)
{
	bool is_first = least == UINT64_MAX;
	uint64_t start = ckpt_now_ns();
	int r = !is_first && opts->copies ? look(pre, opts, least, err) : 0;

	if (r == 0)
		r = ckpt_live_find(pre->live, &round->bytes, err);
	if (r == 0)
		ckpt_image_spread(opts->writer, ckpt_live_own(pre->live));
	if (r == 0 && is_first)
		r = make_room(pre, arena, opts, err);
	if (r == 0 && is_first && opts->copies && round->bytes > SMALL &&
	    !ckpt_live_base(pre->live))
		r = copy_parts(pre, opts, start, round->bytes, err);
	if (r == 0)
		r = copy_but(pre, opts, 0, err);
	if (r == 0 && opts->copied)
		r = opts->copied(opts->arg, err);
	round->ns = ckpt_now_ns() - start;
	return r;
}

int ckpt_precopy(struct ckpt_precopy *pre, struct ckpt_arena *arena,
		 const struct ckpt_precopy_opts *opts, struct ckpt_err *err)
{
	struct round round = { 0 };
	uint64_t least = UINT64_MAX; /* that a round had to copy */
	unsigned int n_worse = 0;
	int rounds = opts->stands ? ROUNDS_MAX : ROUNDS_FEW, r = 0;

	ckpt_pass_always();
	if (opts->stands)
		r = ckpt_precopy_begin(pre, arena, opts, err);
	for (int i = 0; r >= 0 && i < rounds && n_worse < WORSE_MAX; i++) {
		r = copy_round(pre, arena, opts, least, &round, err);
		if (r)
			return r < 0 ? r : 0;
		ckpt_logf(opts->live.log, 3, "round %d: %llu KiB in %llu us", i + 1,
			  (unsigned long long)round.bytes >> 10,
			  (unsigned long long)round.ns / 1000);
		if (round.bytes <= SMALL)
			break;
		pre->bytes_per_ms = round.bytes * NS_PER_MS / round.ns;
		n_worse = round.bytes > least - least / 10 ? n_worse + 1 : 0;
		least = round.bytes < least ? round.bytes : least;
	}
	if (r < 0 || opts->copies)
		return r < 0 ? r : 0;
	return ckpt_precopy_check(pre, opts, pre->frozen_ns, round.bytes, err);
}

static void untrack(struct ckpt_job *job, struct ckpt_arena *arena)
{
	(void)arena;
	ckpt_pass_always();
	ckpt_live_close(((struct ckpt_precopy *)job)->live);
}

void ckpt_precopy_untrack(struct ckpt_precopy *pre, struct ckpt_helper *helper)
{
	if (!pre->live || pre->helper)
		return;
	pre->helper = helper;
	pre->untrack.run = untrack;
	ckpt_helper_start(helper, &pre->untrack);
}

void ckpt_precopy_close(struct ckpt_precopy *pre)
{
	if (pre->helper)
		ckpt_helper_wait(pre->helper, &pre->untrack);
	else
		ckpt_live_close(pre->live);
}
