/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the bytes come from: the pages of tasks, and the contents of files that no path leads to
 * any more. Several descriptions of one such file have one content, kept with the first of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include "engine/base/cleanup.h"
#include "engine/capture/state.h"
#include "engine/plan/identity.h"
#include "engine/memory/live.h"

#define MAX_HASHED (64u << 20) /* bytes */
#define AHEAD 128              /* tasks; each costs a descriptor */

struct ckpt_scan_job {
	struct ckpt_job job;
	int fd; /* the page map */
	const struct ckpt_track *track;
	bool keeps;
	struct ckpt_scan found;
	int code;
	struct ckpt_err err;
};

static void scan(struct ckpt_job *base, struct ckpt_arena *arena)
{
	struct ckpt_scan_job *job = (struct ckpt_scan_job *)base;

	job->code =
		ckpt_memory_scan(arena, job->fd, job->track, job->keeps, &job->found, &job->err);
}

static void start_scan(struct ckpt_capture *c, struct ckpt_capture_task *t)
{
	struct ckpt_scan_job *job = t->scan = ckpt_new(c->arena, struct ckpt_scan_job);

	job->job.run = scan;
	job->track = ckpt_live_track(c->opts->live, t->frozen->pid);
	job->keeps = ckpt_live_pages(c->opts->live, t->frozen->pid).n;
	job->fd = c->src->ops->open_proc(c->src, t->frozen->pid, "pagemap", &job->err);
	job->code = job->fd;
	if (job->fd >= 0)
		ckpt_helper_start(c->helper, &job->job);
}

static void start_until(struct ckpt_capture *c, size_t end)
{
	for (; c->n_scans_started < end && c->n_scans_started < c->n_tasks; c->n_scans_started++) {
		if (!c->tasks[c->n_scans_started].frozen->zombie)
			start_scan(c, &c->tasks[c->n_scans_started]);
	}
}

void ckpt_capture_scan_ahead(struct ckpt_capture *c)
{
	start_until(c, AHEAD);
}

void ckpt_capture_scan_end(struct ckpt_capture *c)
{
	for (size_t i = 0; i < c->n_scans_started; i++) {
		struct ckpt_scan_job *job = c->tasks[i].scan;

		if (job)
			ckpt_close_fd(&job->fd);
	}
}

static bool same_file(const struct ckpt_capture_file *a, const struct ckpt_capture_file *b)
{
	return a->obj->has_content && b->obj->has_content && a->obj->file.dev == b->obj->file.dev &&
	       a->obj->file.ino == b->obj->file.ino;
}

static bool is_first(const struct ckpt_capture *c, const struct ckpt_capture_file *f)
{
	size_t i = 0;

	while (!same_file(c->files[i], f))
		i++;
	return c->files[i] == f;
}

/* A description of our own, *SEEKP, unless the file does not let us open it again. -1: it cannot be
 * read at all. */
static int reader(struct ckpt_capture *c, const struct ckpt_capture_file *f, int *fdp, bool *seekp,
		  struct ckpt_err *err)
{
	char path[40];
	CKPT_FD fd = -1;
	int r = ckpt_capture_file_open(c, f, &fd, err);

	*fdp = -1;
	if (r < 0 || fd < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	*seekp = true;
	*fdp = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (*fdp < 0 && (f->obj->file.flags & O_ACCMODE) != O_WRONLY &&
	    !(f->obj->file.flags & O_PATH)) {
		*seekp = f->origin != CKPT_FROM_FD;
		*fdp = ckpt_take_fd(&fd);
	}
	return 0;
}

static bool maps_it(const struct ckpt_capture *c, const Ckpt__Area *a,
		    const struct ckpt_capture_file *f)
{
	return a->file && a->file <= c->n_files && same_file(c->files[a->file - 1], f);
}

/* Every mapping of the file in the tree; returns how many. PIECE NULL: only counts. */
static size_t find_pieces(const struct ckpt_capture *c, const struct ckpt_capture_file *f,
			  struct ckpt_piece *piece)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n_tasks; i++) {
		const struct ckpt_task *task = c->tasks[i].task;

		for (size_t j = 0; task->mm && j < task->mm->n_areas; j++) {
			const Ckpt__Area *a = task->mm->areas[j];

			if (!maps_it(c, a, f))
				continue;
			if (piece)
				piece[n] = (struct ckpt_piece){ task->pid, a->start, a->end,
								a->offset, a->shared };
			n++;
		}
	}
	return n;
}

size_t ckpt_count_mappings(struct ckpt_collect *cc)
{
	const struct ckpt_capture *c = cc->capture;
	const struct ckpt_object *obj = c->files[cc->object - 1]->obj;
	size_t n = 0;

	for (size_t i = 0; i < c->n_tasks; i++) {
		const Ckpt__Mm *mm = c->tasks[i].task->mm;

		for (size_t j = 0; mm && j < mm->n_areas; j++) {
			uint32_t file = mm->areas[j]->file;

			n += file && c->files[file - 1]->obj->file.dev == obj->file.dev &&
			     c->files[file - 1]->obj->file.ino == obj->file.ino;
		}
	}
	return n;
}

static int add_mapped(struct ckpt_capture *c, struct ckpt_capture_file *f, struct ckpt_err *err)
{
	size_t n = find_pieces(c, f, NULL);
	struct ckpt_piece *piece = ckpt_alloc(c->arena, n * sizeof(*piece));

	if (!n)
		return ckpt_refuse(err, CKPT_E_DELETED_FILE, -ENOTSUP,
				   "%s: its content cannot be read", f->probe.link);
	find_pieces(c, f, piece);
	return ckpt_memory_add_mapped(
		c->work, f->obj, piece, n,
		f->probe.fs_magic == TMPFS_MAGIC || f->probe.fs_magic == HUGETLBFS_MAGIC, err);
}

/* The hash of what F holds, read once; false: it cannot be told. */
static bool content_hash(struct ckpt_capture *c, struct ckpt_capture_file *f)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;
	bool seek;
	int r;

	if (f->content_hash)
		return true;
	CKPT_FD fd = -1;
	r = reader(c, f, &fd, &seek, &ignored);
	if (r < 0 || fd < 0 || !seek)
		return false;
	f->content_hash = ckpt_alloc(c->arena, CKPT_SHA256);
	if (ckpt_sha256(fd, f->obj->content_size, f->content_hash, &ignored) >= 0)
		return true;
	f->content_hash = NULL;
	return false;
}

/* Another file that holds the same is stored already. Looked for only where that is likely: of the
 * same size, and not so large that reading it twice would take long. */
static bool is_stored(struct ckpt_capture *c, struct ckpt_capture_file *f)
{
	for (size_t i = 0; f->obj->content_size <= MAX_HASHED && i < c->n_files; i++) {
		struct ckpt_capture_file *other = c->files[i];

		if (other == f)
			break;
		if (!other->obj->content.n || other->obj->content_size != f->obj->content_size ||
		    !content_hash(c, other) || !content_hash(c, f) ||
		    memcmp(other->content_hash, f->content_hash, CKPT_SHA256))
			continue;
		f->obj->content = other->obj->content;
		return true;
	}
	return false;
}

static int add_content(struct ckpt_capture *c, struct ckpt_capture_file *first,
		       struct ckpt_err *err)
{
	for (size_t i = 0; i < c->n_files; i++) {
		bool seek;
		int fd, r;

		if (!same_file(c->files[i], first))
			continue;
		r = reader(c, c->files[i], &fd, &seek, err);
		if (r < 0)
			return r;
		if (fd >= 0)
			return ckpt_memory_add_file(c->work, first->obj, fd, seek, err);
	}
	return add_mapped(c, first, err);
}

static int add_task(struct ckpt_capture *c, struct ckpt_capture_task *t, struct ckpt_err *err)
{
	struct ckpt_task *task = t->task,
			 *parent = task->parent ? c->snap->tasks[task->parent - 1] : NULL;
	struct ckpt_scan_job *job = t->scan;
	int r;

	if (job->fd >= 0)
		ckpt_helper_wait(c->helper, &job->job);
	if (job->code < 0) {
		*err = job->err;
		r = job->code;
	} else {
		struct ckpt_memory_task add = {
			.task = task,
			.parent = parent,
			.pagemap_fd = job->fd,
			.found = &job->found,
			.shared = t->shared,
			.n_shared = t->n_shared,
			.excluded = t->frozen->excluded,
			.n_excluded = t->frozen->n_excluded,
		};

		r = ckpt_memory_add_task(c->work, &add, err);
	}
	ckpt_close_fd(&job->fd);
	job->fd = -1;
	if (r < 0)
		ckpt_in(err, r, "%s", t->who);
	return ckpt_capture_problem(c, r, err);
}

/* A device, or a worker of the kernel, writes to memory that was handed to it before, and nobody
 * sees which. */
static bool is_written_unseen(const struct ckpt_capture *c)
{
	for (size_t i = 0; i < c->n_files; i++) {
		const struct ckpt_object *obj = c->files[i]->obj;

		if (obj && obj->file.flags & O_DIRECT && S_ISREG(c->files[i]->probe.st.st_mode))
			return true;
	}
	return false;
}

static void go_on_from_live(struct ckpt_capture *c)
{
	if (!c->opts->live)
		return;
	if (is_written_unseen(c))
		ckpt_logf(c->opts->log, 1,
			  "files are open with O_DIRECT: all memory is copied once more");
	ckpt_memory_go_on(c->work, c->opts->live, !is_written_unseen(c));
}

int ckpt_capture_memory(struct ckpt_capture *c, struct ckpt_err *err)
{
	int r = 0;

	go_on_from_live(c);
	ckpt_memory_know(c->work, c->opts->before, c->opts->before_snap);
	for (size_t i = 0; r >= 0 && i < c->n_tasks; i++) {
		start_until(c, i + AHEAD);
		if (c->tasks[i].task->mm)
			r = add_task(c, &c->tasks[i], err);
		if (r >= 0)
			r = ckpt_capture_go_on(c, err);
	}
	for (size_t i = 0; r >= 0 && !c->problems->n && i < c->n_files; i++) {
		struct ckpt_capture_file *f = c->files[i];

		if (!f->obj->has_content || !f->obj->content_size || !is_first(c, f))
			continue;
		r = is_stored(c, f) ? 0 : add_content(c, f, err);
		if (r < 0)
			r = ckpt_capture_problem(c, r, err);
	}
	return r;
}
