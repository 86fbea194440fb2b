/* SPDX-License-Identifier: Apache-2.0 */
/* One request: the same dump and the same report as those of ckpt dump, from inside. */
#include <errno.h>
#include "tools/signal.h"

#define RESERVE (64ull << 30) /* of address space */
#define CAPTURE_S 10

static int dump(struct ckpt_tool *t, const struct ckpt_signal_options *o)
{
	/* A copy goes on with what is tracked of the program: it waits for what has changed. */
	bool chain = t->opts.prev_images_dir || t->opts.track_mem;
	const struct ckpt_inside_opts inside = {
		.signal = o->signal,
		.one = o->one,
		.snapshot = !o->kill && !o->stop && !chain,
		.wait_s = o->wait_s,
	};
	const struct ckpt_dump_opts opts = {
		.pid = o->pid,
		.inside = &inside,
		.dirfd = t->dirfd,
		.dir = t->opts.images_dir,
		.leave_running = !o->kill,
		.shell_job = true, /* what ckpt-run starts is a shell's as a rule */
		.compress = t->opts.compress,
		.file_locks = t->opts.file_locks,
		.tcp_close = t->opts.tcp_close,
		.skip_in_flight = t->opts.skip_in_flight,
		.rules = &t->rules,
		.prev_dir = t->opts.prev_images_dir,
		.track_mem = t->opts.track_mem,
		.track_timeout_s = t->opts.track_timeout,
		.files = ckpt_tool_file_policy(&t->opts),
		/* To wait less for the threads is not to have less time for what they hold. */
		.timeout_s = o->wait_s > CAPTURE_S ? o->wait_s : CAPTURE_S,
		.log = &t->log,
	};
	struct ckpt_dump_stats stats = { 0 };
	int r;

	ckpt_bar_begin(t, "dumping");
	r = ckpt_dump(&opts, t->arena, &stats, &t->problems, &t->err);
	ckpt_bar_end(t);
	if (r < 0)
		return r;
	ckpt_report_notes(stats.losses, stats.n_losses);
	ckpt_report_notes(&stats.note, stats.note != NULL);
	ckpt_report_dump(t, &stats, NULL);
	return 0;
}

int ckpt_signal_dump(const struct ckpt_signal_options *o)
{
	struct ckpt_tool t = {
		.name = "ckpt-signal",
		.opts = o->dump,
		.dirfd = -1,
		.logfd = -1,
		.err = CKPT_ERR_INIT,
	};
	int r = ckpt_arena_open(&t.arena, RESERVE, &t.err);

	t.problems.arena = t.arena;
	if (r >= 0)
		r = ckpt_tool_rules(&t);
	if (r >= 0)
		r = ckpt_tool_open(&t, true);
	if (r >= 0)
		r = dump(&t, o);
	ckpt_tool_close(&t, r < 0);
	if (r < 0)
		r = ckpt_report_failure(&t);
	if (t.arena)
		ckpt_arena_close(t.arena);
	return r;
}
