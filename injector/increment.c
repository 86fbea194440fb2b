/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of the dump before is its image and what has been tracked since. Both are needed:
 * without the tracking nobody knows which pages of the image are still those of the process.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/memory/pages.h"
#include "injector/holder.h"
#include "injector/increment.h"

static void note(struct ckpt_increment *inc, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void note(struct ckpt_increment *inc, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	inc->note = ckpt_strdup(inc->arena, text);
	ckpt_logf(inc->opts->log, 1, "%s", text);
}

static int open_before(struct ckpt_increment *inc, struct ckpt_err *err)
{
	const char *dir = inc->opts->prev_dir;
	CKPT_FD fd = openat(inc->opts->dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return ckpt_refuse(err, CKPT_E_NO_IMAGE, -errno,
				   "--prev-images-dir %s, as seen from %s: cannot open: %s", dir,
				   inc->opts->dir, strerror(errno));
	r = ckpt_image_open_records(&inc->before, inc->arena, fd, dir, err);
	if (r >= 0)
		r = ckpt_image_load_any(inc->before, &inc->memory, err);
	if (r >= 0)
		r = ckpt_image_check_kept(inc->before, inc->memory, err);
	return ckpt_in(err, r, "--prev-images-dir");
}

static void forget_before(struct ckpt_increment *inc)
{
	ckpt_image_close(inc->before);
	inc->before = NULL;
}

/* Where the pages of a process were put; its number says which of those in the image it is, what
 * was tracked that it is the same. */
static struct ckpt_pages pages_of(const struct ckpt_snapshot *snap, pid_t pid)
{
	for (size_t i = 0; i < snap->n_tasks; i++)
		if (snap->tasks[i]->pid == pid)
			return snap->tasks[i]->pages;
	return (struct ckpt_pages){ NULL, 0 };
}

/* What is known of the image before; 0: nothing any more. */
static int take(struct ckpt_increment *inc, struct ckpt_known *known, struct ckpt_err *err)
{
	int r;

	if (known && known->n) {
		inc->known = *known;
		known->n = 0;
		return inc->known.n;
	}
	r = ckpt_holder_take(inc->opts->pid, ckpt_image_content_id(inc->before), inc->arena,
			     &inc->known.track, &inc->holder_before, err);
	if (r <= 0)
		return r;
	inc->known.n = r;
	inc->known.pages = ckpt_alloc(inc->arena, r * sizeof(*inc->known.pages));
	for (int i = 0; i < r; i++)
		inc->known.pages[i] = pages_of(inc->memory, inc->known.track[i].pid);
	return r;
}

/* The image goes on from the one before, if that can be. */
static int go_on(struct ckpt_increment *inc, struct ckpt_known *known,
		 struct ckpt_image_writer *writer, struct ckpt_err *err)
{
	const char *dir = inc->opts->prev_dir;
	uint64_t id;
	int r = open_before(inc, err);

	if (r < 0)
		return r;
	id = ckpt_image_content_id(inc->before);
	if (ckpt_image_depth(inc->before) + 1 >= CKPT_CHAIN_MAX) {
		note(inc, "%d images go on from each other, which is enough: this one is complete",
		     CKPT_CHAIN_MAX);
		forget_before(inc);
		return 0;
	}
	if (take(inc, known, err) <= 0) {
		note(inc,
		     "process %d: what it wrote since the image in %s is not known any more: this image is complete",
		     inc->opts->pid, dir);
		*err = (struct ckpt_err)CKPT_ERR_INIT;
		forget_before(inc);
		return 0;
	}
	return ckpt_image_set_parent(writer, dir, id, ckpt_image_next_base(inc->before), err);
}

int ckpt_increment_check(const struct ckpt_dump_opts *opts, struct ckpt_err *err)
{
	struct stat st;

	if (!opts->prev_dir && !opts->track_mem && !opts->memory_only)
		return 0;
	if (fstat(opts->dirfd, &st) < 0)
		return ckpt_fail(err, -errno, "%s: cannot look at it", opts->dir);
	if (!S_ISDIR(st.st_mode))
		return ckpt_refuse(err, CKPT_E_CHAIN_STREAM, -ENOTDIR,
				   "%s: a stream goes on from no image, and none from it",
				   opts->dir);
	return 0;
}

int ckpt_increment_open(struct ckpt_increment *inc, const struct ckpt_dump_opts *opts,
			struct ckpt_known *known, struct ckpt_image_writer *writer,
			struct ckpt_arena *arena, struct ckpt_err *err)
{
	int r = 0;

	*inc = (struct ckpt_increment){ .opts = opts,
					.arena = arena,
					.holder = -1,
					.holder_before = -1 };
	if (opts->track_mem && (opts->leave_running || opts->leave_stopped || opts->memory_only)) {
		inc->holder = ckpt_holder_start(err);
		if (inc->holder < 0)
			return inc->holder;
	}
	if (opts->prev_dir)
		r = go_on(inc, known, writer, err);
	/* Memory is tracked for one at a time. */
	inc->theirs = r >= 0 && inc->holder >= 0 && !ckpt_holder_end(opts->pid);
	if (inc->theirs && !opts->memory_only) /* that is of no use then, which is said there */
		ckpt_increment_give_up(inc, CKPT_TRACKED_BY_OTHERS);
	return r;
}

struct ckpt_live *ckpt_increment_begin(struct ckpt_increment *inc, struct ckpt_image_writer *writer,
				       int (*may_go_on)(void *arg, struct ckpt_err *err), void *arg,
				       struct ckpt_precopy_opts *optsp)
{
	const struct ckpt_dump_opts *opts = inc->opts;
	struct ckpt_live *live;

	*optsp = (struct ckpt_precopy_opts){
		.pid = opts->pid,
		.ptrace = { .timeout_s = opts->timeout_s, .log = opts->log },
		.live = { .files = ckpt_image_writer_files(writer),
			  .base = inc->before ? ckpt_image_next_base(inc->before) : 0,
			  .log = opts->log,
			  .go_on = may_go_on,
			  .go_on_arg = arg },
		.writer = writer,
		.stands = opts->live,
		.makes_room = opts->live && opts->leave_running && !opts->inside,
		.max_freeze_ns = opts->max_freeze_ns,
		.copies = opts->copies,
		.notep = &inc->note,
	};
	live = ckpt_live_open(inc->arena, &optsp->live);
	for (size_t i = 0; i < inc->known.n; i++)
		ckpt_live_go_on(live, &inc->known.track[i], &inc->known.pages[i]);
	inc->known.n = 0;
	return live;
}

void ckpt_increment_leave(struct ckpt_increment *inc, struct ckpt_live *live, uint64_t image)
{
	const struct ckpt_held what = { inc->opts->pid, image, inc->opts->track_timeout_s };
	struct ckpt_err err = CKPT_ERR_INIT;

	if (inc->holder < 0)
		return;
	if (ckpt_holder_give(inc->holder, &what, live, &err) < 0)
		ckpt_increment_give_up(inc, err.text);
	else
		ckpt_live_hold(live);
}

void ckpt_increment_give_up(struct ckpt_increment *inc, const char *why)
{
	if (inc->holder < 0)
		return;
	note(inc, "process %d: no image can go on from this one: %s", inc->opts->pid, why);
	ckpt_close_fd(&inc->holder);
	inc->holder = -1;
}

void ckpt_known_close(struct ckpt_known *known)
{
	for (size_t i = 0; i < known->n; i++)
		ckpt_track_close(&known->track[i]);
	known->n = 0;
}

/* What was found to have changed by then has a place in the image that will not be. */
void ckpt_increment_keep(const struct ckpt_increment *inc, struct ckpt_live *live,
			 const struct ckpt_snapshot *snap, struct ckpt_known *known)
{
	const struct ckpt_track *t;
	size_t n = 0;

	while (ckpt_live_nth(live, n))
		n++;
	known->track = ckpt_alloc(inc->arena, n * sizeof(*known->track));
	known->pages = ckpt_alloc(inc->arena, n * sizeof(*known->pages));
	for (known->n = 0; (t = ckpt_live_nth(live, known->n)); known->n++) {
		const struct ckpt_pages pages = pages_of(snap, t->pid);

		known->track[known->n] = *t;
		known->pages[known->n] = ckpt_pages_below(&pages, inc->arena, ckpt_live_base(live));
	}
	ckpt_live_let_go(live);
}

void ckpt_increment_close(struct ckpt_increment *inc)
{
	ckpt_known_close(&inc->known);
	forget_before(inc);
	if (inc->opts) {
		ckpt_close_fd(&inc->holder);
		ckpt_close_fd(&inc->holder_before);
	}
	inc->holder = inc->holder_before = -1;
}

int ckpt_increment_track(const struct ckpt_increment *inc, struct ckpt_live *live,
			 const struct ckpt_snapshot *snap, struct ckpt_source *src,
			 struct ckpt_err *err)
{
	int r = 0;

	if (inc->holder < 0)
		return 0;
	for (size_t i = 0; r >= 0 && i < snap->n_tasks; i++) {
		const struct ckpt_task *task = snap->tasks[i];

		if (task->mm && !ckpt_live_track(live, task->pid))
			r = ckpt_live_add(live, src, task->pid, err);
	}
	return r < 0 ? r : ckpt_live_protect(live, err);
}
