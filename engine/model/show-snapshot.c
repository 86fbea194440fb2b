/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot for people: what it is, who is in it, and what each process has. Every text in it may
 * be hostile. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/model/escape.h"
#include "engine/model/reflect.h"
#include "engine/model/show.h"

#define INDENT_MAX 24 /* a tree may be as deep as there are tasks */

static const char *safe_text(const char *s, size_t len, char *buf, size_t size)
{
	struct ckpt_text t;

	ckpt_text_init(&t, buf, size);
	ckpt_text_escaped(&t, s, len, 0);
	return buf;
}

static uint64_t area_bytes(const struct ckpt_task *task)
{
	uint64_t n = 0;

	for (size_t i = 0; task->mm && i < task->mm->n_areas; i++)
		n += task->mm->areas[i]->end - task->mm->areas[i]->start;
	return n;
}

static uint64_t stored_bytes(const struct ckpt_pages *pages)
{
	uint64_t n = 0;

	for (size_t i = 0; i < pages->n; i++)
		n += pages->run[i].n_pages;
	return n * CKPT_PAGE;
}

static void show_origin(const Ckpt__Inventory *inv, FILE *out)
{
	char when[40] = "at an unknown time", host[128], kernel[128], version[64];
	time_t t = inv->time_ns / 1000000000;
	struct tm tm;

	if (inv->has_time_ns && gmtime_r(&t, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", &tm);
	fprintf(out, "dumped %s", when);
	if (inv->hostname)
		fprintf(out, " on %s",
			safe_text(inv->hostname, strlen(inv->hostname), host, sizeof(host)));
	if (inv->kernel)
		fprintf(out, ", kernel %s",
			safe_text(inv->kernel, strlen(inv->kernel), kernel, sizeof(kernel)));
	if (inv->ckpt_version)
		fprintf(out, ", by ckpt %s",
			safe_text(inv->ckpt_version, strlen(inv->ckpt_version), version,
				  sizeof(version)));
	if (inv->has_frozen_ns)
		fprintf(out, ", frozen for %.1f ms", inv->frozen_ns / 1e6);
	fprintf(out, "\n");
}

static const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

static void show_summary(const struct ckpt_snapshot *snap, FILE *out)
{
	uint64_t mapped = 0, stored = 0;
	size_t n_threads = 0, n_fds = 0;
	char a[32], b[32], lost[1024];

	for (size_t i = 0; i < snap->n_tasks; i++) {
		n_threads += snap->tasks[i]->n_threads;
		n_fds += snap->tasks[i]->n_fds;
		mapped += area_bytes(snap->tasks[i]);
		stored += stored_bytes(&snap->tasks[i]->pages);
	}
	for (size_t i = 0; i < snap->n_objects; i++)
		stored += stored_bytes(&snap->objects[i]->content);
	fprintf(out,
		"%zu process%s, %zu thread%s, %zu descriptor%s, %zu object%s, %s of memory, %s of it stored\n",
		snap->n_tasks, snap->n_tasks == 1 ? "" : "es", n_threads, plural(n_threads), n_fds,
		plural(n_fds), snap->n_objects, plural(snap->n_objects), ckpt_size_text(mapped, a),
		ckpt_size_text(stored, b));
	show_origin(snap->inventory, out);
	for (size_t i = 0; i < snap->n_lost; i++)
		fprintf(out, "lost: %s\n",
			safe_text(snap->lost[i], strlen(snap->lost[i]), lost, sizeof(lost)));
}

static int depth_of(const struct ckpt_snapshot *snap, const struct ckpt_task *task)
{
	int depth = 0;

	for (; task->parent && depth < INDENT_MAX; task = snap->tasks[task->parent - 1])
		depth++;
	return depth;
}

static const char *run_state(const struct ckpt_task *task)
{
	static const char *const names[] = { "running", "stopped", "zombie" };

	return names[task->run_state];
}

static void show_in_tree(const struct ckpt_snapshot *snap, const struct ckpt_task *task, FILE *out)
{
	char name[80], size[32];

	safe_text(task->comm, strnlen(task->comm, sizeof(task->comm)), name, sizeof(name));
	fprintf(out, "%*s%d %s \"%s\"", 2 * depth_of(snap, task) + 2, "", task->pid,
		run_state(task), name);
	if (task->run_state == CKPT_ZOMBIE)
		fprintf(out, " exit status %#x\n", task->exit_status);
	else
		fprintf(out, " %zu thread%s, %zu fd%s, %s\n", task->n_threads,
			plural(task->n_threads), task->n_fds, plural(task->n_fds),
			ckpt_size_text(area_bytes(task), size));
}

static void show_tree(const struct ckpt_snapshot *snap, FILE *out)
{
	CKPT_FREE const struct ckpt_task **order = ckpt_snapshot_tree(snap);

	for (size_t i = 0; order && order[i]; i++)
		show_in_tree(snap, order[i], out);
}

static void show_flags(uint32_t flags, FILE *out)
{
	static const char *const mode[] = { "read", "write", "read-write", "path" };
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = {
		{ O_APPEND, "append" }, { O_NONBLOCK, "nonblock" },   { O_DIRECT, "direct" },
		{ O_ASYNC, "async" },   { O_DIRECTORY, "directory" }, { O_NOATIME, "noatime" },
	};

	fprintf(out, " (%s", mode[flags & O_ACCMODE]);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (flags & names[i].bit)
			fprintf(out, " %s", names[i].name);
	}
	fprintf(out, ")");
}

static void show_object(const struct ckpt_object *obj, FILE *out)
{
	char line[512], size[32];
	const char *fields;

	/* The message is called as its kind: once is enough. */
	ckpt_show_message(obj->msg, line, sizeof(line));
	fields = strchr(line, ' ');
	fprintf(out, "%s #%u%s", obj->kind->name, obj->id, fields ? fields : "");
	if (obj->kind->scope == CKPT_PER_FILE)
		show_flags(obj->file.flags, out);
	if (obj->file.has_pos && obj->file.pos)
		fprintf(out, " at %" PRIu64, obj->file.pos);
	if (obj->has_content)
		fprintf(out, " content %s", ckpt_size_text(obj->content_size, size));
	fprintf(out, "\n");
}

/* How much of the area the runs hold; *I goes on with the areas, as both lists are sorted. */
static uint64_t stored_in(const struct ckpt_pages *pages, const Ckpt__Area *area, size_t *i)
{
	uint64_t n = 0;

	while (*i < pages->n &&
	       pages->run[*i].at + pages->run[*i].n_pages * CKPT_PAGE <= area->start)
		++*i;
	for (size_t k = *i; k < pages->n && pages->run[k].at < area->end; k++) {
		uint64_t start = pages->run[k].at, end = start + pages->run[k].n_pages * CKPT_PAGE;

		n += (end < area->end ? end : area->end) -
		     (start > area->start ? start : area->start);
	}
	return n;
}

static void show_area(const struct ckpt_snapshot *snap, const Ckpt__Area *area, uint64_t stored,
		      FILE *out)
{
	char a[32], b[32], name[512];
	const char *text = area->name ? area->name : "";

	fprintf(out, "    %012" PRIx64 "-%012" PRIx64 " %c%c%c%c %9s", area->start, area->end,
		area->prot & PROT_READ ? 'r' : '-', area->prot & PROT_WRITE ? 'w' : '-',
		area->prot & PROT_EXEC ? 'x' : '-', area->shared ? 's' : 'p',
		ckpt_size_text(area->end - area->start, a));
	fprintf(out, " stored %9s ", stored ? ckpt_size_text(stored, b) : "-");
	if (area->file) {
		const struct ckpt_object *obj = snap->objects[area->file - 1];
		const char *path = ckpt_field_text(obj->msg, "path");

		text = path ? path : text;
		fprintf(out, " %s #%u", obj->kind->name, obj->id);
	}
	fprintf(out, "%s%s\n", *text ? " " : "", safe_text(text, strlen(text), name, sizeof(name)));
}

static void show_threads(const struct ckpt_task *task, FILE *out)
{
	for (size_t i = 0; i < task->n_threads; i++) {
		const struct ckpt_thread *thread = &task->threads[i];

		if (thread->ended)
			fprintf(out, "  thread %d has ended, exit status %#x\n", thread->tid,
				task->exit_status);
		else
			fprintf(out,
				"  thread %d at %#llx, stack %#llx, blocked signals %#" PRIx64
				"%s\n",
				thread->tid, (unsigned long long)thread->regs.gp.rip,
				(unsigned long long)thread->regs.gp.rsp, thread->regs.sigmask,
				thread->regs.dispatch.mode ? ", syscall user dispatch" : "");
		for (size_t k = 0; k < thread->n_state; k++) {
			fprintf(out, "    ");
			show_object(thread->state[k], out);
		}
	}
}

static void show_task(const struct ckpt_snapshot *snap, const struct ckpt_task *task, FILE *out)
{
	size_t run = 0;

	fprintf(out, "\nprocess %d, %s, group %d, session %d\n", task->pid, run_state(task),
		task->pgid, task->sid);
	for (size_t i = 0; i < task->n_fds; i++) {
		fprintf(out, "  fd %d%s  ", task->fds[i].number,
			task->fds[i].cloexec ? " (close-on-exec)" : "");
		show_object(snap->objects[task->fds[i].object - 1], out);
	}
	for (size_t i = 0; i < task->n_state; i++) {
		fprintf(out, "  ");
		show_object(task->state[i], out);
	}
	show_threads(task, out);
	if (!task->mm)
		return;
	fprintf(out, "  memory, program %s #%u\n", snap->objects[task->mm->exe - 1]->kind->name,
		task->mm->exe);
	for (size_t i = 0; i < task->mm->n_areas; i++)
		show_area(snap, task->mm->areas[i],
			  stored_in(&task->pages, task->mm->areas[i], &run), out);
}

void ckpt_show_snapshot(const struct ckpt_snapshot *snap, FILE *out)
{
	bool tree = false;

	show_summary(snap, out);
	show_tree(snap, out);
	for (size_t i = 0; i < snap->n_tasks; i++)
		show_task(snap, snap->tasks[i], out);
	for (size_t i = 0; i < snap->n_objects; i++) {
		if (snap->objects[i]->kind->scope != CKPT_PER_TREE)
			continue;
		fprintf(out, tree ? "  " : "\nof the whole tree\n  ");
		tree = true;
		show_object(snap->objects[i], out);
	}
}
