/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a snapshot sound? Whatever is built on one may rely on what is checked here: references
 * resolve, lists are sorted, numbers are in range. Paths and messages are not judged: those are the
 * business of each kind's plan().
 */
#include <errno.h>
#include <linux/sched.h>
#include <stdio.h>
#include "engine/store/check.h"
#include "engine/store/image.h"
#include "engine/store/tids.h"

#define PID_LIMIT 4194304 /* PID_MAX_LIMIT of the kernel */
#define XSTATE_MIN 576    /* legacy area and header */
#define XSTATE_MAX 65536

int ckpt_unsound(struct ckpt_err *err, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return ckpt_refuse(err, CKPT_E_IMAGE_DAMAGED, -EBADMSG, "%s", text);
}

bool ckpt_is_file(const struct ckpt_snapshot *snap, uint32_t object)
{
	return object && object <= snap->n_objects &&
	       snap->objects[object - 1]->kind->scope == CKPT_PER_FILE;
}

static int check_inventory(const struct ckpt_snapshot *snap, struct ckpt_err *err)
{
	const Ckpt__Inventory *inventory = snap->inventory;

	if (!inventory)
		return ckpt_unsound(err, "inventory: it is missing");
	if (inventory->format > CKPT_IMAGE_FORMAT)
		return ckpt_refuse(err, CKPT_E_IMAGE_NEWER, -EBADMSG,
				   "inventory: format %u is newer than %d", inventory->format,
				   CKPT_IMAGE_FORMAT);
	if (inventory->format != CKPT_IMAGE_FORMAT)
		return ckpt_unsound(err, "inventory: format %u", inventory->format);
	if (!snap->n_tasks)
		return ckpt_unsound(err, "inventory: there is no task");
	if (inventory->has_root_pid && inventory->root_pid != (uint32_t)snap->tasks[0]->pid)
		return ckpt_unsound(err, "inventory: root %u is not the first task",
				    inventory->root_pid);
	return 0;
}

static bool is_pid(pid_t pid)
{
	return pid > 0 && pid <= PID_LIMIT;
}

static int check_identity(const struct ckpt_task *task, uint32_t id, struct ckpt_err *err)
{
	if (task->id != id)
		return ckpt_unsound(err, "task %u: its number is not %u", task->id, id);
	if (id == 1 ? task->parent != 0 : !task->parent || task->parent >= id)
		return ckpt_unsound(err, "task %u: parent %u", id, task->parent);
	if (!is_pid(task->pid))
		return ckpt_unsound(err, "task %u: pid %d", id, task->pid);
	if (task->pgid < 0 || task->pgid > PID_LIMIT || task->sid < 0 || task->sid > PID_LIMIT)
		return ckpt_unsound(err, "task %u: group %d, session %d", id, task->pgid,
				    task->sid);
	if ((task->shares & ~(uint32_t)(CLONE_FS | CLONE_FILES)) ||
	    (task->shares && (!task->parent || task->run_state == CKPT_ZOMBIE)))
		return ckpt_unsound(err, "task %u: shares %#x", id, task->shares);
	if (task->comm[sizeof(task->comm) - 1])
		return ckpt_unsound(err, "task %u: its name has no end", id);
	return 0;
}

static int check_run_state(const struct ckpt_task *task, struct ckpt_err *err)
{
	switch (task->run_state) {
	case CKPT_ZOMBIE:
		if (task->exit_status < 0 || task->exit_status > 0xffff)
			return ckpt_unsound(err, "task %u: exit status %#x", task->id,
					    task->exit_status);
		if (task->n_threads || task->n_fds || task->mm || task->pages.n || task->n_state)
			return ckpt_unsound(err, "task %u: a zombie that has something", task->id);
		return 0;
	case CKPT_STOPPED:
		if (task->stop_signal < 1 || task->stop_signal > 64)
			return ckpt_unsound(err, "task %u: stopped by signal %d", task->id,
					    task->stop_signal);
		break;
	case CKPT_RUNNING:
		break;
	default:
		return ckpt_unsound(err, "task %u: state %d", task->id, task->run_state);
	}
	if (!task->mm || !task->n_threads)
		return ckpt_unsound(err, "task %u: without memory or threads", task->id);
	if (task->threads[0].tid != task->pid)
		return ckpt_unsound(err, "task %u: thread %d leads pid %d", task->id,
				    task->threads[0].tid, task->pid);
	return 0;
}

static int check_fds(const struct ckpt_snapshot *snap, const struct ckpt_task *task,
		     struct ckpt_err *err)
{
	for (size_t i = 0; i < task->n_fds; i++) {
		const struct ckpt_fd *fd = &task->fds[i];

		if (fd->number < 0 || (i && fd->number <= fd[-1].number))
			return ckpt_unsound(err, "task %u: fd %d: out of order", task->id,
					    fd->number);
		if (!ckpt_is_file(snap, fd->object))
			return ckpt_unsound(err, "task %u: fd %d: object %u is no file", task->id,
					    fd->number, fd->object);
	}
	return 0;
}

/* The objects of a task (TID 0) or a thread: of its own, and one of a kind. */
static int check_state(const struct ckpt_snapshot *snap, struct ckpt_object *const *state, size_t n,
		       uint32_t task, pid_t tid, struct ckpt_err *err)
{
	enum ckpt_scope scope = tid ? CKPT_PER_THREAD : CKPT_PER_TASK;

	for (size_t i = 0; i < n; i++) {
		const struct ckpt_object *obj = state[i];

		if (!obj->id || obj->id > snap->n_objects || snap->objects[obj->id - 1] != obj)
			return ckpt_unsound(err, "task %u: state %zu is no object of the snapshot",
					    task, i);
		if (obj->kind->scope != scope || obj->task != task || (tid && obj->tid != tid))
			return ckpt_unsound(err, "task %u: %s %u is not its own", task,
					    obj->kind->name, obj->id);
		if (i >= ckpt_n_kinds)
			return ckpt_unsound(err, "task %u: it has too many objects", task);
		for (size_t k = 0; k < i; k++) {
			if (state[k]->kind == obj->kind)
				return ckpt_unsound(err, "task %u: %s %u: it has another one", task,
						    obj->kind->name, obj->id);
		}
	}
	return 0;
}

static int check_threads(const struct ckpt_snapshot *snap, const struct ckpt_task *task,
			 struct ckpt_err *err)
{
	for (size_t i = 0; i < task->n_threads; i++) {
		const struct ckpt_thread *thread = &task->threads[i];
		int r;

		if (!is_pid(thread->tid))
			return ckpt_unsound(err, "task %u: thread %d", task->id, thread->tid);
		if (thread->ended && (i || task->n_threads < 2 || task->exit_status & ~0xff00))
			return ckpt_unsound(err, "task %u: thread %d has ended, status %#x",
					    task->id, thread->tid, task->exit_status);
		if (!thread->ended &&
		    (!thread->regs.xstate || thread->regs.xstate_len < XSTATE_MIN ||
		     thread->regs.xstate_len > XSTATE_MAX))
			return ckpt_unsound(err, "task %u: thread %d: %zu bytes of extended state",
					    task->id, thread->tid, thread->regs.xstate_len);
		r = check_state(snap, thread->state, thread->n_state, task->id, thread->tid, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_task(const struct ckpt_snapshot *snap, const struct ckpt_task *task, uint32_t id,
		      uint64_t pages_size, struct ckpt_err *err)
{
	int r = check_identity(task, id, err);

	if (r >= 0)
		r = check_run_state(task, err);
	if (r >= 0)
		r = check_fds(snap, task, err);
	if (r >= 0)
		r = check_threads(snap, task, err);
	if (r >= 0)
		r = check_state(snap, task->state, task->n_state, id, 0, err);
	if (r >= 0 && task->mm)
		r = ckpt_check_memory(snap, task, pages_size, err);
	return r;
}

/* Of a pre-dump: a number, and pages. */
static int check_memory_only(const struct ckpt_snapshot *snap, uint64_t pages_size,
			     struct ckpt_err *err)
{
	int r = 0;

	if (snap->n_objects)
		return ckpt_unsound(err, "inventory: memory only, with %zu objects",
				    snap->n_objects);
	for (size_t i = 0; r >= 0 && i < snap->n_tasks; i++) {
		const struct ckpt_task *task = snap->tasks[i];

		r = check_identity(task, i + 1, err);
		if (r >= 0 && (task->n_threads || task->n_fds || task->mm || task->n_state ||
			       task->run_state != CKPT_RUNNING))
			r = ckpt_unsound(err, "task %u: has more than memory", task->id);
		if (r >= 0)
			r = ckpt_check_pages(task, pages_size, err);
	}
	return r;
}

static int check_tids(const struct ckpt_snapshot *snap, struct ckpt_err *err)
{
	struct ckpt_tids tids;
	int r = ckpt_tids_open(&tids, snap, err);

	if (r < 0)
		return r;
	for (size_t i = 1; r >= 0 && i < tids.n; i++) {
		if (tids.v[i].tid == tids.v[i - 1].tid)
			r = ckpt_unsound(err, "task %u: number %d is there twice", tids.v[i].task,
					 tids.v[i].tid);
	}
	ckpt_tids_close(&tids);
	return r;
}

static int check_object(const struct ckpt_snapshot *snap, const struct ckpt_object *obj,
			uint32_t id, uint64_t pages_size, struct ckpt_err *err)
{
	if (obj->id != id || !obj->kind || !obj->msg || obj->msg->descriptor != obj->kind->message)
		return ckpt_unsound(err, "object %u: its number or its message is wrong", id);
	if (obj->task > snap->n_tasks)
		return ckpt_unsound(err, "%s %u: there is no task %u", obj->kind->name, id,
				    obj->task);
	if (obj->kind->scope == CKPT_PER_TREE && obj->task)
		return ckpt_unsound(err, "%s %u: it belongs to task %u", obj->kind->name, id,
				    obj->task);
	if (!obj->has_content)
		return 0;
	if (obj->kind->scope != CKPT_PER_FILE)
		return ckpt_unsound(err, "%s %u: only files have contents", obj->kind->name, id);
	return ckpt_check_content(obj, pages_size, err);
}

/* Each object of a task, of a thread and of the tree is listed where it belongs, none is left over.
 */
static int check_owners(const struct ckpt_snapshot *snap, struct ckpt_err *err)
{
	size_t listed = 0, owned = 0;

	for (size_t i = 0; i < snap->n_tasks; i++) {
		listed += snap->tasks[i]->n_state;
		for (size_t k = 0; k < snap->tasks[i]->n_threads; k++)
			listed += snap->tasks[i]->threads[k].n_state;
	}
	for (size_t i = 0; i < snap->n_objects; i++) {
		enum ckpt_scope scope = snap->objects[i]->kind->scope;

		owned += scope == CKPT_PER_TASK || scope == CKPT_PER_THREAD;
	}
	if (listed != owned)
		return ckpt_unsound(err, "objects: %zu belong to tasks and threads, which have %zu",
				    owned, listed);
	return 0;
}

static int check_tree_kinds(const struct ckpt_snapshot *snap, struct ckpt_err *err)
{
	for (unsigned int k = 0; k < ckpt_n_kinds; k++) {
		size_t n = 0;

		if (ckpt_kinds[k]->scope != CKPT_PER_TREE)
			continue;
		for (size_t i = 0; i < snap->n_objects; i++)
			n += snap->objects[i]->kind == ckpt_kinds[k];
		if (n > 1)
			return ckpt_unsound(err, "%s: it is there %zu times", ckpt_kinds[k]->name,
					    n);
	}
	return 0;
}

int ckpt_snapshot_check(const struct ckpt_snapshot *snap, uint64_t pages_size, struct ckpt_err *err)
{
	int r = check_inventory(snap, err);

	if (r >= 0 && pages_size % CKPT_PAGE)
		r = ckpt_unsound(err, "pages: %llu bytes are not whole pages",
				 (unsigned long long)pages_size);
	if (r >= 0 && snap->inventory->memory_only)
		return check_memory_only(snap, pages_size, err);
	for (size_t i = 0; r >= 0 && i < snap->n_objects; i++)
		r = check_object(snap, snap->objects[i], i + 1, pages_size, err);
	for (size_t i = 0; r >= 0 && i < snap->n_tasks; i++)
		r = check_task(snap, snap->tasks[i], i + 1, pages_size, err);
	if (r >= 0)
		r = check_tids(snap, err);
	if (r >= 0)
		r = check_owners(snap, err);
	return r < 0 ? r : check_tree_kinds(snap, err);
}
