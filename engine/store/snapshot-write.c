/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot as records: inventory, tasks, their memory maps, objects, pages. Lists that can grow
 * without limit (threads of a task, runs of pages) go on in further records of the same kind and
 * number.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "engine/base/cleanup.h"
#include "engine/store/record.h"

static int write_inventory(struct ckpt_record_out *out, const struct ckpt_snapshot *snap,
			   struct ckpt_err *err)
{
	Ckpt__Inventory inventory = *snap->inventory;
	Ckpt__Record rec = CKPT__RECORD__INIT;

	inventory.lost = (char **)snap->lost;
	inventory.n_lost = snap->n_lost;
	rec.kind = (char *)"inventory";
	return ckpt_record_write(out, &rec, &inventory.base, err);
}

static void fill_fds(Ckpt__Task *msg, const struct ckpt_task *task, struct ckpt_arena *arena)
{
	Ckpt__Fd *fd = ckpt_alloc(arena, task->n_fds * sizeof(*fd));

	msg->n_fds = task->n_fds;
	msg->fds = ckpt_alloc(arena, task->n_fds * sizeof(*msg->fds));
	for (size_t i = 0; i < task->n_fds; i++) {
		ckpt__fd__init(&fd[i]);
		fd[i].number = task->fds[i].number;
		fd[i].object = task->fds[i].object;
		fd[i].has_cloexec = fd[i].cloexec = task->fds[i].cloexec;
		msg->fds[i] = &fd[i];
	}
}

static void fill_thread(Ckpt__Thread *msg, const struct ckpt_thread *thread,
			struct ckpt_arena *arena)
{
	const struct ckpt_dispatch *d = &thread->regs.dispatch;

	ckpt__thread__init(msg);
	msg->tid = thread->tid;
	msg->gp.data = (uint8_t *)&thread->regs.gp;
	msg->gp.len = sizeof(thread->regs.gp);
	msg->xstate.data = thread->regs.xstate;
	msg->xstate.len = thread->regs.xstate_len;
	msg->sigmask = thread->regs.sigmask;
	msg->has_ended = msg->ended = thread->ended;
	if (!d->mode)
		return;
	msg->dispatch = ckpt_new(arena, Ckpt__Thread__Dispatch);
	ckpt__thread__dispatch__init(msg->dispatch);
	msg->dispatch->selector = d->selector;
	msg->dispatch->offset = d->offset;
	msg->dispatch->len = d->len;
}

static void fill_task(Ckpt__Task *msg, const struct ckpt_task *task)
{
	ckpt__task__init(msg);
	msg->id = task->id;
	msg->parent = task->parent;
	msg->pid = task->pid;
	msg->pgid = task->pgid;
	msg->sid = task->sid;
	msg->state = (Ckpt__Task__State)task->run_state;
	msg->has_stop_signal = task->run_state == CKPT_STOPPED;
	msg->stop_signal = task->stop_signal;
	msg->has_exit_status = task->run_state == CKPT_ZOMBIE ||
			       (task->n_threads && task->threads[0].ended);
	msg->exit_status = task->exit_status;
	msg->has_shares = task->shares != 0;
	msg->shares = task->shares;
	msg->has_comm = true;
	msg->comm.data = (uint8_t *)task->comm;
	msg->comm.len = strnlen(task->comm, sizeof(task->comm));
}

static int write_task(struct ckpt_record_out *out, const struct ckpt_task *task,
		      struct ckpt_arena *arena, struct ckpt_err *err)
{
	size_t room = task->n_threads < CKPT_THREADS_PER_RECORD ? task->n_threads :
								  CKPT_THREADS_PER_RECORD,
	       done = 0;
	Ckpt__Thread *thread = ckpt_alloc(arena, room * sizeof(*thread));
	Ckpt__Record rec = CKPT__RECORD__INIT;
	Ckpt__Task msg;
	int r;

	fill_task(&msg, task);
	fill_fds(&msg, task, arena);
	msg.threads = ckpt_alloc(arena, room * sizeof(*msg.threads));
	rec.kind = (char *)"task";
	rec.has_id = true;
	rec.id = task->id;
	do {
		for (msg.n_threads = 0; msg.n_threads < room && done < task->n_threads; done++) {
			fill_thread(&thread[msg.n_threads], &task->threads[done], arena);
			msg.threads[msg.n_threads] = &thread[msg.n_threads];
			msg.n_threads++;
		}
		r = ckpt_record_write(out, &rec, &msg.base, err);
		msg.n_fds = 0;
	} while (r >= 0 && done < task->n_threads);
	return r;
}

static int write_mm(struct ckpt_record_out *out, const struct ckpt_task *task, struct ckpt_err *err)
{
	Ckpt__Record rec = CKPT__RECORD__INIT;

	if (!task->mm)
		return 0;
	rec.kind = (char *)"mm";
	rec.has_task = true;
	rec.task = task->id;
	return ckpt_record_write(out, &rec, &task->mm->base, err);
}

static void write_names(const struct ckpt_object *obj, Ckpt__FileState *file)
{
	file->link = (char *)obj->file.link;
	file->has_rdev = obj->file.rdev != 0;
	file->rdev = obj->file.rdev;
	file->has_mount = obj->file.mount != 0;
	file->mount = obj->file.mount;
	file->has_domain = file->has_type = obj->file.domain != 0;
	file->domain = obj->file.domain;
	file->type = obj->file.type;
}

static int write_object(struct ckpt_record_out *out, const struct ckpt_object *obj,
			struct ckpt_err *err)
{
	Ckpt__FileState file = CKPT__FILE_STATE__INIT;
	Ckpt__Record rec = CKPT__RECORD__INIT;

	rec.kind = (char *)obj->kind->name;
	rec.has_id = true;
	rec.id = obj->id;
	rec.has_task = obj->task != 0;
	rec.task = obj->task;
	rec.has_tid = obj->kind->scope == CKPT_PER_THREAD;
	rec.tid = obj->tid;
	if (obj->kind->scope == CKPT_PER_FILE) {
		file.flags = obj->file.flags;
		file.has_pos = obj->file.has_pos;
		file.pos = obj->file.pos;
		file.has_dev = file.has_ino = true;
		file.dev = obj->file.dev;
		file.ino = obj->file.ino;
		write_names(obj, &file);
		rec.file = &file;
	}
	return ckpt_record_write(out, &rec, obj->msg, err);
}

/* Numbers near the ones before are small: most runs take 3 to 6 bytes. */
static size_t encode_runs(int64_t *v, const struct ckpt_run *run, size_t n)
{
	int64_t at = 0, page = 0;

	for (size_t i = 0; i < n; i++) {
		int64_t n_pages = run[i].n_pages;

		*v++ = (int64_t)(run[i].at / CKPT_PAGE) - at;
		*v++ = n_pages;
		*v++ = (int64_t)(run[i].offset / CKPT_PAGE) - page;
		at = run[i].at / CKPT_PAGE + n_pages;
		page = run[i].offset / CKPT_PAGE + n_pages;
	}
	return 3 * n;
}

/* At least one record, also without runs: it tells that there is content, and its size. */
static int write_runs(struct ckpt_record_out *out, Ckpt__Pages *msg, const struct ckpt_pages *pages,
		      struct ckpt_err *err)
{
	size_t room = pages->n < CKPT_RUNS_PER_RECORD ? pages->n : CKPT_RUNS_PER_RECORD, done = 0;
	CKPT_FREE int64_t *v = malloc(3 * room * sizeof(*v) + 1);
	Ckpt__Record rec = CKPT__RECORD__INIT;
	int r;

	if (!v)
		return ckpt_fail(err, -ENOMEM, "%s/%s: cannot write", out->dir, CKPT_IMAGE_NAME);
	rec.kind = (char *)"pages";
	rec.has_task = msg->has_task;
	rec.task = msg->task;
	msg->runs = v;
	do {
		size_t n = pages->n - done < room ? pages->n - done : room;

		msg->n_runs = encode_runs(v, pages->run + done, n);
		r = ckpt_record_write(out, &rec, &msg->base, err);
		done += n;
	} while (r >= 0 && done < pages->n);
	return r;
}

static int write_task_pages(struct ckpt_record_out *out, const struct ckpt_task *task,
			    struct ckpt_err *err)
{
	Ckpt__Pages msg = CKPT__PAGES__INIT;

	if (!task->pages.n)
		return 0;
	msg.has_task = true;
	msg.task = task->id;
	return write_runs(out, &msg, &task->pages, err);
}

static int write_content(struct ckpt_record_out *out, const struct ckpt_object *obj,
			 struct ckpt_err *err)
{
	Ckpt__Pages msg = CKPT__PAGES__INIT;

	if (!obj->has_content)
		return 0;
	msg.has_object = true;
	msg.object = obj->id;
	msg.has_size = true;
	msg.size = obj->content_size;
	return write_runs(out, &msg, &obj->content, err);
}

int ckpt_snapshot_write(struct ckpt_record_out *out, const struct ckpt_snapshot *snap,
			struct ckpt_arena *arena, struct ckpt_err *err)
{
	int r = write_inventory(out, snap, err);

	for (size_t i = 0; r >= 0 && i < snap->n_tasks; i++)
		r = write_task(out, snap->tasks[i], arena, err);
	for (size_t i = 0; r >= 0 && i < snap->n_tasks; i++)
		r = write_mm(out, snap->tasks[i], err);
	for (size_t i = 0; r >= 0 && i < snap->n_objects; i++)
		r = write_object(out, snap->objects[i], err);
	for (size_t i = 0; r >= 0 && i < snap->n_tasks; i++)
		r = write_task_pages(out, snap->tasks[i], err);
	for (size_t i = 0; r >= 0 && i < snap->n_objects; i++)
		r = write_content(out, snap->objects[i], err);
	return r;
}
