/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A dump from outside. Until the image is committed the tree only stands still; whatever fails, and
 * whatever signal asks us to stop, lets it go on.
 */
#include <errno.h>
#include <unistd.h>
#include "engine/model/rules.h"
#include "engine/base/log.h"
#include "engine/capture/capture.h"
#include "engine/capture/packages.h"
#include "engine/plan/plan.h"
#include "engine/store/image.h"
#include "injector/areas-ahead.h"
#include "injector/copies.h"
#include "injector/dump-once.h"
#include "injector/fd-room.h"
#include "injector/holder.h"
#include "injector/increment.h"
#include "injector/inside.h"
#include "injector/inventory.h"
#include "injector/lend.h"
#include "injector/room.h"
#include "injector/stops.h"
#include "injector/warm.h"

struct dump {
	const struct ckpt_dump_opts *opts;
	struct ckpt_arena *arena;
	struct ckpt_problems *problems;
	struct ckpt_stops stops;
	struct ckpt_known *known;   /* by an attempt before; or NULL */
	struct rlimit old_limit;    /* of descriptors */
	uint64_t started, deadline; /* CLOCK_MONOTONIC; 0: none */
	const struct ckpt_drain *drain;
	struct ckpt_source *src;
	struct ckpt_snapshot *snap;
	struct ckpt_memory_work *work;
	struct ckpt_image_writer *writer;
	struct ckpt_helper *helper;
	struct ckpt_warm warm;
	struct ckpt_file_policy files;
	const char **made; /* names that files were given */
	size_t n_made, made_room;
	bool committed;
	struct ckpt_precopy_opts precopy_opts;
	struct ckpt_precopy precopy;
	struct ckpt_increment inc;
	struct ckpt_areas_ahead *areas; /* NULL: they are read while it stands still */
	struct ckpt_copies *copies;     /* NULL: none were needed */
	uint32_t *crc;                  /* of the chunks of the pages file */
};

/* Also between chunks of memory, which take as long as they take. */
static int check_signals(void *arg, struct ckpt_err *err)
{
	const struct dump *d = arg;
	int r = ckpt_handover_listen(d->opts->handover, err);

	return r < 0 ? r : ckpt_stops_check(&d->stops, d->opts->pid, "dump", err);
}

/* Between the steps of a capture. */
static int go_on(void *arg, struct ckpt_err *err)
{
	struct dump *d = arg;

	ckpt_room_rest(&d->precopy.room);
	if (d->deadline && ckpt_now_ns() > d->deadline)
		return ckpt_refuse(err, CKPT_E_TIMEOUT, -ETIMEDOUT,
				   "process %d: not captured within %u s", d->opts->pid,
				   d->opts->timeout_s);
	return check_signals(d, err);
}

static int plan_problems(struct dump *d, struct ckpt_err *err)
{
	const struct ckpt_restore_opts opts = { .shell_job = d->opts->shell_job };
	struct ckpt_plan *plan;
	int r = ckpt_plan_make(&plan, d->arena, d->snap, NULL, &opts, err);

	for (size_t i = 0; r >= 0 && i < plan->problems.n; i++)
		ckpt_problem_add(d->problems, plan->problems.v[i].number, "%s",
				 plan->problems.v[i].text);
	return r < 0 ? r : 0;
}

static void start_areas_ahead(void *arg)
{
	struct dump *d = arg;

	if (d->areas)
		ckpt_areas_ahead_renew(d->areas);
	else if ((d->opts->live || d->opts->prev_dir) && !d->opts->inside && !d->opts->areas_frozen)
		d->areas = ckpt_areas_ahead_start(d->helper, d->arena, d->opts->pid,
						  d->opts->leave_running);
}

/* Freezes, captures, and gathers everything that stands against a dump. */
static int capture(struct dump *d, struct ckpt_err *err)
{
	const struct ckpt_capture_opts opts = {
		.root = d->opts->pid,
		.shell_job = d->opts->shell_job,
		.file_locks = d->opts->file_locks || d->opts->inside,
		.tcp_close = d->opts->tcp_close,
		.skip_in_flight = d->opts->skip_in_flight,
		.rules = d->opts->rules,
		.files = &d->files,
		.log = d->opts->log,
		.helper = d->helper,
		.live = d->precopy.live,
		.before = d->inc.before,
		.before_snap = d->inc.memory,
		.held = !d->inc.before && ckpt_holder_has(d->opts->pid),
		.go_on = go_on,
		.arg = d,
	};
	int r;

	ckpt_warm_end(&d->warm, d->arena);
	start_areas_ahead(d);
	ckpt_areas_ahead_read(d->areas);
	ckpt_drain_await(d->drain);
	if (d->opts->timeout_s)
		d->deadline = ckpt_now_ns() + d->opts->timeout_s * 1000000000ull;
	r = ckpt_capture(d->src, &opts, d->arena, &d->snap, &d->work, d->problems, err);
	if (r < 0)
		return r;
	ckpt_rules_unused(d->opts->rules, "tree", d->problems);
	ckpt_logf(d->opts->log, 3, "captured: %zu objects, %llu KiB of memory", d->snap->n_objects,
		  (unsigned long long)ckpt_memory_size(d->work) >> 10);
	return plan_problems(d, err);
}

static int open_source(struct dump *d, struct ckpt_err *err)
{
	const struct ckpt_ptrace_opts opts = { .timeout_s = d->opts->timeout_s,
					       .log = d->opts->log,
					       .helper = d->helper };

	if (d->opts->inside) {
		const struct ckpt_source_inside_opts inside = { *d->opts->inside, d->opts->log };

		return ckpt_source_inside_open(&d->src, d->arena, d->opts->pid, &inside, err);
	}
	return ckpt_source_ptrace_open(&d->src, d->arena, d->opts->pid, &opts, err);
}

static uint64_t frozen_for(const struct dump *d)
{
	return (d->src->thawed_at ? d->src->thawed_at : ckpt_now_ns()) - d->src->frozen_at;
}

/* Between chunks, while it stands still for them. */
static int go_on_standing(void *arg, struct ckpt_err *err)
{
	struct dump *d = arg;
	int r = check_signals(d, err);

	if (r < 0 || d->opts->copies)
		return r;
	return ckpt_precopy_check(&d->precopy, &d->precopy_opts, frozen_for(d), 0, err);
}

/* Before the memory is written: nothing more is read of it. */
static int go_on_early(void *arg, struct ckpt_err *err)
{
	struct dump *d = arg;

	(void)err;
	d->src->ops->thaw(d->src);
	d->src->thawed_at = ckpt_now_ns();
	ckpt_logf(d->opts->log, 3, "it goes on");
	ckpt_areas_ahead_check(d->areas);
	if (d->inc.holder < 0 && !d->inc.before)
		ckpt_precopy_untrack(&d->precopy, d->helper);
	return 0;
}

/* The tree goes on, and what is left is read out of copies of it. */
static int copy_from_copies(struct dump *d, struct ckpt_memory_copy *copy, size_t *np,
			    struct ckpt_err *err)
{
	uint64_t standing;
	int r;

	d->copies = ckpt_copies_plan(d->arena, d->snap, d->work, &standing);
	r = ckpt_precopy_check(&d->precopy, &d->precopy_opts, frozen_for(d), standing, err);
	if (r >= 0)
		r = ckpt_copies_make(d->copies, d->src, d->work, err);
	copy->which = CKPT_MEMORY_STANDING;
	copy->hold = NULL;
	if (r >= 0)
		r = ckpt_memory_copy(d->work, copy, &d->crc, np, err);
	if (r < 0)
		return r;
	r = go_on_early(d, err);
	if (r >= 0)
		r = ckpt_copies_settle(d->copies, err);
	copy->which = CKPT_MEMORY_COPIED;
	if (r >= 0)
		r = ckpt_memory_copy(d->work, copy, &d->crc, np, err);
	ckpt_copies_kill(d->copies);
	return r;
}

static int copy_memory(struct dump *d, struct ckpt_err *err)
{
	struct ckpt_memory_copy copy = {
		.files = ckpt_image_writer_files(d->writer),
		.pack = ckpt_image_writer_pack(d->writer),
		.uncached = ckpt_image_writer_is_last(d->writer),
		.go_on = go_on_standing,
		.go_on_arg = d,
		.hold = d->precopy.room.hold,
		.hold_len = d->precopy.room.hold_len,
		.all_read = go_on_early,
		.all_read_arg = d,
	};
	uint64_t size = ckpt_memory_size(d->work), own = ckpt_memory_own(d->work);
	size_t n;
	int r = 0;

	ckpt_image_spread(d->writer, own);
	if (!d->opts->copies)
		ckpt_areas_ahead_check(d->areas);
	if (d->precopy.live)
		r = ckpt_precopy_check(&d->precopy, &d->precopy_opts, frozen_for(d),
				       size - ckpt_live_size(d->precopy.live), err);
	if (d->opts->copies && (r == -ETIME || !d->opts->max_freeze_ns)) {
		*err = (struct ckpt_err)CKPT_ERR_INIT;
		r = copy_from_copies(d, &copy, &n, err);
	} else if (r >= 0) {
		r = ckpt_memory_copy(d->work, &copy, &d->crc, &n, err);
	}
	if (r < 0)
		return r;
	if (d->opts->max_freeze_ns && frozen_for(d) > d->opts->max_freeze_ns)
		d->inc.note = "the tree stood still for longer than --max-freeze";
	ckpt_image_set_checksums(d->writer, own, d->crc, n);
	return 0;
}

/* A program that asked by itself is told when there is an image, not before. */
static bool waits_for_image(const struct dump *d)
{
	return d->opts->inside && d->opts->inside->answer && !d->opts->inside->snapshot;
}

/* Everything that can fail is over when the tree is killed. */
static int commit(struct dump *d, struct ckpt_dump_stats *stats, struct ckpt_err *err)
{
	int r;

	if (d->opts->leave_running && !waits_for_image(d))
		d->src->ops->thaw(d->src);
	ckpt_room_end(&d->precopy.room); /* files are cut now; it may still be made */
	stats->frozen_ns = frozen_for(d) + d->precopy.frozen_ns;
	d->snap->inventory->has_frozen_ns = true;
	d->snap->inventory->frozen_ns = stats->frozen_ns;
	r = ckpt_areas_ahead_held(d->areas, err);
	if (r >= 0 && d->precopy.live)
		ckpt_live_checksums(d->precopy.live, d->crc);
	if (r >= 0 && d->opts->packages)
		ckpt_capture_packages(d->snap, d->arena, d->opts->log);
	if (r >= 0)
		r = check_signals(d, err);
	if (r >= 0)
		r = ckpt_image_commit(d->writer, d->snap, &stats->bytes, err);
	if (r >= 0 && d->opts->handover)
		r = ckpt_handover_leave(d->opts->handover, d->src, d->snap, check_signals, d, err);
	d->committed = r >= 0;
	if (r >= 0 && d->opts->lend)
		r = ckpt_lend(d->opts->lend, d->writer, d->src, d->snap, check_signals, d, d->arena,
			      d->opts->log, err);
	if (r < 0)
		return r;
	if (d->precopy.live && !ckpt_memory_goes_on(d->work))
		ckpt_increment_give_up(&d->inc, "files are open with O_DIRECT");
	ckpt_increment_leave(&d->inc, d->precopy.live, ckpt_image_writer_content_id(d->writer));
	if (d->opts->leave_running && waits_for_image(d))
		d->src->ops->thaw(d->src);
	return check_signals(d, err);
}

static int end_tree(struct dump *d, struct ckpt_dump_stats *stats, struct ckpt_err *err)
{
	int r = 0;

	if (d->opts->leave_running)
		return 0;
	if (!d->opts->handover && !d->opts->lend) /* with these it is done */
		r = d->opts->leave_stopped ? d->src->ops->stop(d->src, err) :
					     d->src->ops->kill(d->src, err);
	stats->frozen_ns = frozen_for(d) + d->precopy.frozen_ns;
	/* Some may have died: the image is all that is left of them. */
	return ckpt_in(err, r, "the image in %s is complete, but", d->opts->dir);
}

/* A reader who waits for it need not wait for all of it when the tree stands still. */
static int send_round(void *arg, struct ckpt_err *err)
{
	struct dump *d = arg;
	uint64_t size = ckpt_live_own(d->precopy.live);
	uint32_t *crc = ckpt_alloc(d->arena, size / CKPT_CHUNK * sizeof(*crc));

	ckpt_live_checksums(d->precopy.live, crc);
	return ckpt_image_send_ahead(d->writer, size, crc, err);
}

/* While the tree runs. */
static int copy_ahead(struct dump *d, struct ckpt_err *err)
{
	int r = 0;

	d->precopy.live =
		ckpt_increment_begin(&d->inc, d->writer, check_signals, d, &d->precopy_opts);
	d->precopy_opts.copied = d->opts->live && !d->opts->leave_running ? send_round : NULL;
	d->precopy_opts.nearly = d->opts->live ? start_areas_ahead : NULL;
	d->precopy_opts.arg = d;
	if (d->inc.before && !d->opts->live) {
		r = ckpt_live_areas(d->precopy.live, err);
		start_areas_ahead(d);
	}
	if (r >= 0)
		r = ckpt_precopy(&d->precopy, d->arena, &d->precopy_opts, err);
	if (r >= 0)
		ckpt_warm_start(&d->warm, d->helper, d->opts->pid);
	return r;
}

/* Is anything of the memory known, or copied, before the tree stands still? */
static bool is_ahead(const struct ckpt_dump_opts *opts)
{
	return opts->live || opts->prev_dir || opts->track_mem;
}

/* In all it takes longer, but for what is made while we wait for other things. Copies need none
 * that soon. */
static int make_room(struct dump *d, struct ckpt_err *err)
{
	const struct ckpt_pages_files *files = ckpt_image_writer_files(d->writer);
	uint64_t size;

	if (d->opts->inside || d->inc.before || !files->n || ckpt_image_writer_pack(d->writer))
		return 0;
	if (!d->opts->leave_running || is_ahead(d->opts) ||
	    (d->opts->copies && !d->opts->max_freeze_ns)) {
		ckpt_room_begin(&d->precopy.room, files->part[0].fd, d->opts->pid);
		return 0;
	}
	d->precopy.room.helper = d->helper;
	size = ckpt_room_size(d->arena, d->opts->pid);
	ckpt_image_spread(d->writer, size);
	return ckpt_room_make(&d->precopy.room, d->arena, files, 0, size, check_signals, d, err);
}

/* Who goes on afterwards does not wait for a compressor, or for a reader. */
static int create_image(struct dump *d, struct ckpt_err *err)
{
	const struct ckpt_image_how how = {
		.compress = d->opts->compress,
		.later = d->opts->leave_running || is_ahead(d->opts),
		.server = d->opts->server,
		.go_on = check_signals,
		.go_on_arg = d,
		.patience_s = d->opts->handover ? d->opts->handover->patience_s : 0,
	};

	return ckpt_image_create_as(&d->writer, d->arena, d->opts->dirfd, d->opts->dir, &how, err);
}

static int run(struct dump *d, struct ckpt_dump_stats *stats, struct ckpt_err *err)
{
	int r = ckpt_increment_check(d->opts, err);

	if (r >= 0)
		r = open_source(d, err);
	/* Before anything is stopped: a folder that cannot be written to costs nothing. */
	if (r >= 0)
		r = create_image(d, err);
	ckpt_logf(d->opts->log, 4, "source and image are open");
	if (r >= 0)
		r = ckpt_increment_open(&d->inc, d->opts, d->known, d->writer, d->arena, err);
	stats->note = d->inc.note;
	if (r >= 0)
		r = make_room(d, err);
	if (r >= 0 && is_ahead(d->opts))
		r = copy_ahead(d, err);
	if (r >= 0)
		r = capture(d, err);
	if (r >= 0)
		r = ckpt_problems_err(d->problems, err);
	if (r >= 0)
		r = ckpt_fill_inventory(d->snap, d->src, d->opts->shell_job, d->arena, err);
	if (r >= 0)
		r = ckpt_increment_track(&d->inc, d->precopy.live, d->snap, d->src, err);
	if (r >= 0)
		r = copy_memory(d, err);
	if (r >= 0)
		r = commit(d, stats, err);
	if (r < 0) {
		/* The tree goes on first: removing a large file takes its time. */
		if (d->src)
			d->src->why = err;
		ckpt_source_close(d->src);
		d->src = NULL;
		if (d->committed)
			ckpt_image_remove(d->opts->dirfd, !d->opts->server);
		d->committed = false;
		return r;
	}
	ckpt_fill_stats(d->snap, stats);
	stats->note = d->inc.note;
	if (d->opts->committed)
		d->opts->committed(d->opts->committed_arg, stats);
	return end_tree(d, stats, err);
}

static void made_name(void *arg, const char *path)
{
	struct dump *d = arg;

	d->made = ckpt_grow(d->arena, d->made, d->n_made, &d->made_room, 16, sizeof(*d->made));
	d->made[d->n_made++] = path;
}

static void init(struct dump *d, const struct ckpt_dump_opts *opts, struct ckpt_arena *arena,
		 struct ckpt_problems *problems)
{
	*d = (struct dump){ .opts = opts, .arena = arena, .problems = problems };
	d->files = opts->files;
	d->files.made_name = made_name;
	d->files.arg = d;
	if (!problems->arena)
		problems->arena = arena;
	d->started = ckpt_now_ns();
	ckpt_stops_block(&d->stops);
	ckpt_fd_room_take(opts->dirfd, &d->old_limit);
	d->helper = ckpt_helper_open(arena);
	if (!is_ahead(opts))
		ckpt_warm_start(&d->warm, d->helper, opts->pid);
}

static void finish(struct dump *d, int result)
{
	ckpt_room_end(&d->precopy.room);
	ckpt_precopy_close(&d->precopy); /* meanwhile the copies end */
	ckpt_copies_end(d->copies);
	ckpt_memory_close(d->work);
	ckpt_increment_close(&d->inc);
	ckpt_source_close(d->src);
	for (size_t i = 0; i < d->n_made && !d->committed; i++)
		unlink(d->made[i]);
	ckpt_image_writer_close(d->writer);
	ckpt_helper_close(d->helper);
	ckpt_areas_ahead_close(d->areas);
	ckpt_fd_room_give_back(&d->old_limit);
	/* Where it is tried again a signal still ends us. */
	ckpt_stops_unblock(&d->stops, result < 0 && result != -ESTALE && !d->problems->n);
}

int ckpt_dump_once(const struct ckpt_dump_opts *opts, struct ckpt_attempt *attempt,
		   struct ckpt_arena *arena, struct ckpt_dump_stats *stats,
		   struct ckpt_problems *problems, struct ckpt_err *err)
{
	struct dump d;
	int r;

	init(&d, opts, arena, problems);
	d.drain = attempt->drain;
	d.known = &attempt->known;
	r = run(&d, stats, err);
	if (r == -ESTALE && ckpt_areas_ahead_failed(d.areas) && d.inc.before)
		ckpt_increment_keep(&d.inc, d.precopy.live, d.snap, &attempt->known);
	attempt->snap = d.snap;
	attempt->sent = ckpt_image_has_sent(d.writer);
	finish(&d, r);
	stats->total_ns = ckpt_now_ns() - d.started;
	return r;
}

int ckpt_dump_check(const struct ckpt_dump_opts *opts, struct ckpt_arena *arena,
		    struct ckpt_problems *problems, struct ckpt_err *err)
{
	struct ckpt_dump_stats stats;
	struct dump d;
	int r = ckpt_dump_in_box(opts, true, arena, &stats, problems, err);

	if (r <= 0)
		return r;
	init(&d, opts, arena, problems);
	d.files.only_look = true;
	r = open_source(&d, err);
	if (r >= 0)
		r = capture(&d, err);
	finish(&d, r);
	return r < 0 ? r : 0;
}
