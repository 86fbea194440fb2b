/* SPDX-License-Identifier: Apache-2.0 */
/* The tree stands for a moment at the start, for the tracking to begin. */
#include <errno.h>
#include "injector/precopy.h"
#include "injector/ptrace.h"

#define ROUNDS_MAX 30
#define ROUNDS_FEW 2         /* nobody asked for them: what was written since the dump before */
#define WORSE_MAX 3          /* rounds one after the other that are no better than the best one */
#define SMALL (512ull << 10) /* that is copied in no time */
#define NS_PER_MS 1000000ull

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
	return r;
}

static int copy_round(const struct ckpt_precopy *pre, const struct ckpt_precopy_opts *opts,
		      struct ckpt_live_round *round, struct ckpt_err *err)
{
	uint64_t start = ckpt_now_ns();
	int r = ckpt_live_copy(pre->live, round, err);

	if (r >= 0 && opts->copied)
		r = opts->copied(opts->copied_arg, err);
	round->ns = ckpt_now_ns() - start;
	return r;
}

static uint64_t time_for(const struct ckpt_precopy *pre, uint64_t bytes)
{
	return pre->bytes_per_ms ? bytes * NS_PER_MS / pre->bytes_per_ms : 0;
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
		"faster than they are copied",
		opts->pid, (unsigned long long)(all / NS_PER_MS + 1),
		(unsigned long long)bytes >> 10);
}

/* What is left is as much as ever, and too much: only copies help, and will hold most of it. */
static int is_hopeless(struct ckpt_precopy *pre, const struct ckpt_precopy_opts *opts,
		       uint64_t least, struct ckpt_err *err)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;
	uint64_t bytes;
	int r = ckpt_live_written(pre->live, &bytes, err);

	if (r < 0 || bytes <= SMALL || bytes <= least - least / 10 ||
	    (opts->max_freeze_ns &&
	     !ckpt_precopy_check(pre, opts, pre->frozen_ns, bytes, &ignored)))
		return r;
	if (bytes > (ckpt_live_size(pre->live) - ckpt_live_base(pre->live)) / 2)
		ckpt_live_forget(pre->live);
	return 1;
}

int ckpt_precopy(struct ckpt_precopy *pre, struct ckpt_arena *arena,
		 const struct ckpt_precopy_opts *opts, struct ckpt_err *err)
{
	struct ckpt_live_round round = { 0 };
	uint64_t least = UINT64_MAX; /* that a round had to copy */
	unsigned int n_worse = 0;
	int rounds = opts->stands ? ROUNDS_MAX : ROUNDS_FEW, r = 0;

	if (opts->stands)
		r = ckpt_precopy_begin(pre, arena, opts, err);
	for (int i = 0; r >= 0 && i < rounds && n_worse < WORSE_MAX; i++) {
		if (i && opts->copies)
			r = is_hopeless(pre, opts, least, err);
		if (r == 0)
			r = copy_round(pre, opts, &round, err);
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
