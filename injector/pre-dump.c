/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A dump of nothing but memory, while the tree runs: it stands still for the tracking to begin.
 * What is written from then on counts as changed for the dump that goes on from it, so that it does
 * not matter when exactly a page was copied.
 */
#include <config.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "injector/increment.h"
#include "injector/pre-dump.h"
#include "injector/precopy.h"
#include "injector/ptrace.h"
#include "injector/stops.h"

struct pre_dump {
	const struct ckpt_dump_opts *opts;
	struct ckpt_arena *arena;
	struct ckpt_stops stops;
	struct ckpt_image_writer *writer;
	struct ckpt_increment inc;
	struct ckpt_precopy_opts copy;
	struct ckpt_precopy pre;
};

static int go_on(void *arg, struct ckpt_err *err)
{
	const struct pre_dump *d = arg;
	return ckpt_stops_check(&d->stops, d->opts->pid, "pre-dump", err);
}

static int copy_memory(struct pre_dump *d, struct ckpt_err *err)
{
	const char *why;
	uint64_t bytes;
	pid_t pid;
	int r;

	d->pre.live = ckpt_increment_begin(&d->inc, d->writer, go_on, d, &d->copy);
	r = ckpt_precopy_begin(&d->pre, d->arena, &d->copy, err);
	if (r >= 0 && d->inc.theirs)
		return ckpt_refuse(err, CKPT_E_NOT_TRACKED, -EBUSY, "process %d: %s", d->opts->pid,
				   CKPT_TRACKED_BY_OTHERS);
	why = ckpt_live_untracked(d->pre.live, &pid);
	if (r >= 0 && !ckpt_live_nth(d->pre.live, 0))
		return ckpt_refuse(err, CKPT_E_NOT_TRACKED, -EOPNOTSUPP,
				   "process %d: its memory cannot be tracked: %s",
				   why ? pid : d->opts->pid, why ? why : "it has none");
	if (r >= 0)
		r = ckpt_live_find(d->pre.live, &bytes, err);
	return r < 0 ? r : ckpt_live_copy(d->pre.live, UINT64_MAX, err);
}

/* A device, or a worker of the kernel, writes to memory that was handed to it before, and nobody
 * sees which. */
static bool is_written_unseen(pid_t pid)
{
	char path[40], text[256];
	DIR *dir;
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo", pid);
	dir = opendir(path);
	for (struct dirent *e; dir && !found && (e = readdir(dir));) {
		CKPT_FD fd = openat(dirfd(dir), e->d_name, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
		const char *flags;

		text[n > 0 ? n : 0] = '\0';
		flags = strstr(text, "flags:");
		found = flags && strtoul(flags + 6, NULL, 8) & O_DIRECT;
	}
	if (dir)
		closedir(dir);
	return found;
}

static void read_name(pid_t pid, char *name, size_t size)
{
	char path[32];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	CKPT_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, name, size - 1);
	name[n > 0 ? n - (name[n - 1] == '\n') : 0] = '\0';
}

/* Numbers and pages: the tree itself is not told, all are children of the first. */
static struct ckpt_snapshot *describe(struct pre_dump *d)
{
	struct ckpt_snapshot *snap = ckpt_new(d->arena, struct ckpt_snapshot);
	Ckpt__Inventory *inv = ckpt_new(d->arena, Ckpt__Inventory);
	const struct ckpt_track *t;

	ckpt__inventory__init(inv);
	inv->format = CKPT_IMAGE_FORMAT;
	inv->ckpt_version = (char *)PACKAGE_VERSION;
	inv->has_memory_only = inv->memory_only = true;
	inv->has_time_ns = true;
	inv->time_ns = ckpt_clock_ns(CLOCK_REALTIME);
	snap->inventory = inv;
	while (ckpt_live_nth(d->pre.live, snap->n_tasks))
		snap->n_tasks++;
	snap->tasks = ckpt_alloc(d->arena, snap->n_tasks * sizeof(*snap->tasks));
	for (size_t i = 0; (t = ckpt_live_nth(d->pre.live, i)); i++) {
		struct ckpt_task *task = snap->tasks[i] = ckpt_new(d->arena, struct ckpt_task);

		task->id = i + 1;
		task->parent = i ? 1 : 0;
		task->pid = t->pid;
		task->pages = ckpt_live_pages(d->pre.live, t->pid);
		read_name(t->pid, task->comm, sizeof(task->comm));
	}
	return snap;
}

static int write_image(struct pre_dump *d, struct ckpt_dump_stats *stats, struct ckpt_err *err)
{
	uint64_t size = ckpt_live_own(d->pre.live);
	size_t n = size / CKPT_CHUNK;
	uint32_t *crc = ckpt_alloc(d->arena, (n + 1) * sizeof(*crc));
	struct ckpt_snapshot *snap = describe(d);
	int r;

	ckpt_live_checksums(d->pre.live, crc);
	ckpt_image_set_checksums(d->writer, size, crc, n);
	r = go_on(d, err);
	if (r >= 0)
		r = ckpt_image_commit(d->writer, snap, &stats->bytes, err);
	stats->n_tasks = snap->n_tasks;
	return r;
}

static void leave(struct pre_dump *d)
{
	const struct ckpt_track *t;
	bool unseen = false;

	for (size_t i = 0; !unseen && (t = ckpt_live_nth(d->pre.live, i)); i++)
		unseen = is_written_unseen(t->pid);
	if (unseen)
		ckpt_increment_give_up(&d->inc, "files are open with O_DIRECT");
	ckpt_increment_leave(&d->inc, d->pre.live, ckpt_image_writer_content_id(d->writer));
}

static int run(struct pre_dump *d, struct ckpt_dump_stats *stats, struct ckpt_err *err)
{
	const struct ckpt_dump_opts *opts = d->opts;
	const struct ckpt_image_how how = { .later = true,
					    .server = opts->server,
					    .go_on = go_on,
					    .go_on_arg = d };
	int r = ckpt_increment_check(opts, err);

	if (r >= 0)
		r = ckpt_image_create_as(&d->writer, d->arena, opts->dirfd, opts->dir, &how, err);
	if (r >= 0)
		r = ckpt_increment_open(&d->inc, opts, NULL, d->writer, d->arena, err);
	if (r >= 0)
		r = copy_memory(d, err);
	if (r >= 0)
		r = write_image(d, stats, err);
	if (r >= 0)
		leave(d);
	stats->note = d->inc.note;
	stats->frozen_ns = d->pre.frozen_ns;
	return r;
}

int ckpt_pre_dump(const struct ckpt_dump_opts *opts, struct ckpt_arena *arena,
		  struct ckpt_dump_stats *stats, struct ckpt_err *err)
{
	struct pre_dump d = { .opts = opts, .arena = arena };
	uint64_t start = ckpt_now_ns();
	int r;

	ckpt_stops_block(&d.stops);
	r = run(&d, stats, err);
	ckpt_live_close(d.pre.live);
	ckpt_increment_close(&d.inc);
	ckpt_image_writer_close(d.writer);
	ckpt_stops_unblock(&d.stops, r < 0);
	stats->total_ns = ckpt_now_ns() - start;
	return r;
}
