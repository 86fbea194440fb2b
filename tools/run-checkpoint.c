/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint into a new generation, by a process of its own: whatever happens to it, supervisor
 * and program go on. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "engine/store/image.h"
#include "injector/dump.h"
#include "tools/run.h"

#define CAPTURE_S 10 /* at least, once the threads are there */
#define LATE_S 60    /* what is tracked waits so much longer for the one after the next */

/* From which the next one is to go on, as seen from its folder; NULL: it is a complete one. That is
 * so again when those that go on from a complete one have become as large as that. */
static const char *goes_on_from(struct ckpt_generations *g, const struct ckpt_run_result *last)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;
	const struct ckpt_image *first;
	struct ckpt_image *img;
	char *dir = NULL;

	if (!last->number || ckpt_generation_image(g, last->number, &img, &ignored) < 0)
		return NULL;
	for (first = img; ckpt_image_parent(first);)
		first = ckpt_image_parent(first);
	if (ckpt_image_end(img) < 2 * ckpt_image_end(first)) {
		dir = ckpt_alloc(g->arena, sizeof(last->name) + 3);
		sprintf(dir, "../%s", last->name);
	}
	ckpt_image_close(img);
	return dir;
}

/* PREV: it goes on from that one. */
static int dump(const struct ckpt_run_options *o, pid_t program, bool kill, const char *prev,
		const struct ckpt_generation *gen, struct ckpt_arena *arena,
		struct ckpt_dump_stats *stats, struct ckpt_err *err)
{
	const struct ckpt_inside_opts inside = {
		.signal = o->signal,
		.snapshot = !kill && !o->track_mem,
		.wait_s = o->wait_s,
	};
	const struct ckpt_dump_opts opts = {
		.pid = program,
		.inside = &inside,
		.dirfd = gen->fd,
		.dir = gen->path,
		.leave_running = !kill,
		.shell_job = true,
		.prev_dir = prev,
		.track_mem = o->track_mem && !kill,
		.track_timeout_s = 2 * (o->interval_ns / 1000000000) + o->wait_s + LATE_S,
		.timeout_s = o->wait_s > CAPTURE_S ? o->wait_s : CAPTURE_S,
	};
	struct ckpt_problems problems = { .arena = arena };

	return ckpt_dump(&opts, arena, stats, &problems, err);
}

static int checkpoint(const struct ckpt_run_options *o, pid_t program, bool kill,
		      struct ckpt_run_result *res, struct ckpt_arena *arena)
{
	struct ckpt_generations g = { .fd = -1, .lock = -1 };
	struct ckpt_dump_stats stats = { 0 };
	struct ckpt_generation gen;
	int r = ckpt_generations_open(&g, arena, o->dir, true, &res->err);

	if (r >= 0)
		r = ckpt_generation_begin(&g, o->wait_s * 1000000000ull, &gen, &res->err);
	if (r < 0)
		return r;
	r = dump(o, program, kill, goes_on_from(&g, res), &gen, arena, &stats, &res->err);
	if (r < 0) {
		ckpt_generation_abandon(&g, &gen);
		return r;
	}
	ckpt_generation_keep(&g, &gen, o->keep);
	res->n_tasks = stats.n_tasks;
	res->n_threads = stats.n_threads;
	res->bytes = stats.bytes;
	res->frozen_ns = stats.frozen_ns;
	res->total_ns = stats.total_ns;
	snprintf(res->name, sizeof(res->name), "%s", gen.name);
	snprintf(res->note, sizeof(res->note), "%s", stats.note ? stats.note : "");
	res->number = o->track_mem ? gen.number : 0;
	res->done = true;
	return 0;
}

pid_t ckpt_run_checkpoint(const struct ckpt_run_options *o, pid_t program, bool kill,
			  struct ckpt_run_result *result, struct ckpt_err *err)
{
	static const int from_terminal[] = { SIGINT, SIGQUIT, SIGHUP };
	struct ckpt_arena *arena;
	pid_t pid;

	result->done = false;
	result->err = (struct ckpt_err)CKPT_ERR_INIT;
	pid = fork();
	if (pid < 0)
		return ckpt_fail(err, -errno, "cannot fork");
	if (pid)
		return pid;
	/* What is meant for the program is no reason to give up. */
	for (size_t i = 0; i < sizeof(from_terminal) / sizeof(from_terminal[0]); i++)
		signal(from_terminal[i], SIG_IGN);
	if (ckpt_arena_open(&arena, CKPT_RUN_RESERVE, &result->err) >= 0)
		checkpoint(o, program, kill, result, arena);
	_exit(result->done ? 0 : 1);
}
