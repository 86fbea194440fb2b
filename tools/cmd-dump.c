/* SPDX-License-Identifier: Apache-2.0 */
/* ckpt dump: freezes a process tree and writes its image; ckpt pre-dump: its memory, for a later
 * one. */
#include <errno.h>
#include <string.h>
#include "tools/ckpt.h"

int ckpt_tool_dump(struct ckpt_tool *t, const struct ckpt_dump_opts *opts, const char *doing,
		   const char *where)
{
	struct ckpt_dump_stats stats = { 0 };
	int r;

	ckpt_progress_init(&t->progress, doing);
	r = ckpt_dump(opts, t->arena, &stats, &t->problems, &t->err);
	ckpt_progress_end(&t->progress);
	if (r < 0)
		return r;
	ckpt_report_notes(stats.losses, stats.n_losses);
	ckpt_report_notes(&stats.note, stats.note != NULL);
	ckpt_report_dump(t, &stats, where);
	return 0;
}

struct ckpt_dump_opts ckpt_tool_dump_opts(struct ckpt_tool *t)
{
	const char *action = t->opts.max_freeze_action;

	return (struct ckpt_dump_opts){
		.pid = t->opts.tree,
		.dirfd = t->dirfd,
		.dir = t->opts.images_dir,
		.compress = t->opts.compress,
		.leave_running = t->opts.leave_running,
		.leave_stopped = t->opts.leave_stopped,
		.shell_job = t->opts.shell_job,
		.file_locks = t->opts.file_locks,
		.tcp_close = t->opts.tcp_close,
		.rules = &t->rules,
		.live = t->opts.live,
		.prev_dir = t->opts.prev_images_dir,
		.track_mem = t->opts.track_mem,
		.track_timeout_s = t->opts.track_timeout,
		.max_freeze_ms = t->opts.max_freeze,
		.copies = action && !strcmp(action, "copy"),
		.timeout_s = t->opts.timeout,
		.files = ckpt_tool_file_policy(&t->opts),
		.log = &t->log,
		.progress = ckpt_progress_show,
		.progress_arg = &t->progress,
	};
}

int ckpt_cmd_dump(struct ckpt_tool *t)
{
	const struct ckpt_dump_opts opts = ckpt_tool_dump_opts(t);

	if (opts.copies && !opts.leave_running)
		return ckpt_fail(
			&t->err, -EINVAL,
			"--max-freeze-action copy: needs -R: who is to end may as well stand still");
	return ckpt_tool_dump(t, &opts, "dumping", NULL);
}

int ckpt_cmd_pre_dump(struct ckpt_tool *t)
{
	const struct ckpt_dump_opts opts = {
		.pid = t->opts.tree,
		.dirfd = t->dirfd,
		.dir = t->opts.images_dir,
		.memory_only = true,
		.prev_dir = t->opts.prev_images_dir,
		.track_mem = true,
		.track_timeout_s = t->opts.track_timeout,
		.timeout_s = t->opts.timeout,
		.log = &t->log,
	};

	return ckpt_tool_dump(t, &opts, "dumping memory", NULL);
}
