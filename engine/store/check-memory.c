/* SPDX-License-Identifier: Apache-2.0 */
/* Is the memory of a snapshot sound: areas, and runs of pages? */
#include <sys/mman.h>
#include "engine/memory/ring.h"
#include "engine/store/check.h"

#define NODES_BYTES 128 /* 1024 nodes, the most that x86-64 can have */

#define AUXV_MAX 4096

static int check_numbers(const struct ckpt_task *task, struct ckpt_err *err)
{
	const Ckpt__Mm *mm = task->mm;
	const uint64_t pair[][2] = {
		{ mm->start_code, mm->end_code }, { mm->start_data, mm->end_data },
		{ mm->start_brk, mm->brk },       { mm->arg_start, mm->arg_end },
		{ mm->env_start, mm->env_end },   { mm->start_stack, mm->start_stack },
	};

	for (size_t i = 0; i < sizeof(pair) / sizeof(pair[0]); i++) {
		if (pair[i][0] > pair[i][1] || pair[i][1] > CKPT_TASK_SIZE)
			return ckpt_unsound(err, "task %u: memory: %#llx to %#llx", task->id,
					    (unsigned long long)pair[i][0],
					    (unsigned long long)pair[i][1]);
	}
	if (mm->lock_future & ~(uint32_t)(MCL_FUTURE | MCL_ONFAULT))
		return ckpt_unsound(err, "task %u: memory: locks %#x", task->id, mm->lock_future);
	if (mm->auxv.len > AUXV_MAX || mm->auxv.len % 16)
		return ckpt_unsound(err, "task %u: memory: auxiliary vector of %zu bytes", task->id,
				    mm->auxv.len);
	return 0;
}

/* All that memory.proto names. */
static uint32_t known_flags(void)
{
	const ProtobufCEnumDescriptor *flags = &ckpt__area__flag__descriptor;
	uint32_t known = 0;

	for (unsigned int i = 0; i < flags->n_values; i++)
		known |= flags->values[i].value;
	return known;
}

static bool in_shared(const struct ckpt_snapshot *snap, const Ckpt__Area *area)
{
	const struct ckpt_object *obj = snap->objects[area->file - 1];

	return obj->kind->map && area->offset <= INT64_MAX && area->end - area->start <= INT64_MAX;
}

static int check_area(const struct ckpt_snapshot *snap, const struct ckpt_task *task,
		      const Ckpt__Area *area, uint64_t floor, struct ckpt_err *err)
{
	const char *what = NULL;
	struct ckpt_ring ring;

	if ((area->start | area->end) % CKPT_PAGE || area->start >= area->end ||
	    area->end > CKPT_TASK_SIZE)
		what = "it is no range of pages";
	else if (area->start < floor)
		what = "it overlaps the one before, or is not in order";
	else if (area->prot & ~(uint32_t)(PROT_READ | PROT_WRITE | PROT_EXEC))
		what = "its protection is unknown";
	else if (area->flags & ~known_flags())
		what = "its flags are unknown";
	else if (area->file && !ckpt_is_file(snap, area->file))
		what = "what it maps is no file";
	else if (area->has_ring && (area->file || !area->shared || !ckpt_ring_of(area, &ring)))
		what = "it is no context of io_setup(2)";
	else if (!area->file &&
		 ((area->shared && !area->has_ring) || area->flags & CKPT__AREA__FLAG__SHARED_ANON))
		what = "it is shared, but has no object";
	else if (area->flags & CKPT__AREA__FLAG__SHARED_ANON && !in_shared(snap, area))
		what = "it is not in the memory that it shares";
	else if (area->huge_shift && (area->huge_shift < 16 || area->huge_shift > 40 ||
				      (area->start | area->end) % (1ull << area->huge_shift)))
		what = "its huge pages are impossible";
	else if (area->offset % CKPT_PAGE || area->offset > INT64_MAX - (area->end - area->start))
		what = "its offset is impossible";
	else if (area->nodes.len > NODES_BYTES)
		what = "its memory nodes are impossible";
	if (!what)
		return 0;
	return ckpt_unsound(err, "task %u: area %#llx-%#llx: %s", task->id,
			    (unsigned long long)area->start, (unsigned long long)area->end, what);
}

static int check_guards(const struct ckpt_task *task, struct ckpt_err *err)
{
	const Ckpt__Mm *mm = task->mm;
	uint64_t floor = 0;

	for (size_t i = 0; i < mm->n_guards; i += 2) {
		if (mm->n_guards % 2 || mm->guards[i] < floor ||
		    mm->guards[i] >= mm->guards[i + 1] || mm->guards[i + 1] > CKPT_TASK_SIZE ||
		    (mm->guards[i] | mm->guards[i + 1]) % CKPT_PAGE)
			return ckpt_unsound(err, "task %u: guard region %zu of %zu", task->id,
					    i / 2, mm->n_guards / 2);
		floor = mm->guards[i + 1];
	}
	return 0;
}

static int bad_run(const struct ckpt_run *run, const char *whose, uint32_t id, const char *what,
		   struct ckpt_err *err)
{
	return ckpt_unsound(err, "%s %u: %llu pages at %#llx: %s", whose, id,
			    (unsigned long long)run->n_pages, (unsigned long long)run->at, what);
}

/* Sorted, whole, below LIMIT, and in the pages file. */
static int check_runs(const struct ckpt_pages *pages, uint64_t limit, uint64_t pages_size,
		      const char *whose, uint32_t id, struct ckpt_err *err)
{
	uint64_t floor = 0;

	for (size_t i = 0; i < pages->n; i++) {
		const struct ckpt_run *run = &pages->run[i];
		uint64_t bytes;

		if (!run->n_pages || (run->at | run->offset) % CKPT_PAGE)
			return bad_run(run, whose, id, "no run of pages", err);
		if (__builtin_mul_overflow(run->n_pages, CKPT_PAGE, &bytes) || run->at > limit ||
		    bytes > limit - run->at)
			return bad_run(run, whose, id, "beyond the end", err);
		if (run->at < floor)
			return bad_run(run, whose, id, "not in order", err);
		if (run->offset > pages_size || bytes > pages_size - run->offset)
			return bad_run(run, whose, id, "not in the pages file", err);
		floor = run->at + bytes;
	}
	return 0;
}

/* A run may go over from one private area to the next, but not over a gap. */
static int check_runs_in_areas(const struct ckpt_task *task, struct ckpt_err *err)
{
	size_t a = 0;

	for (size_t i = 0; i < task->pages.n; i++) {
		const struct ckpt_run *run = &task->pages.run[i];
		uint64_t pos = run->at, end = pos + run->n_pages * CKPT_PAGE;

		while (pos < end) {
			while (a < task->mm->n_areas && task->mm->areas[a]->end <= pos)
				a++;
			if (a == task->mm->n_areas || task->mm->areas[a]->start > pos ||
			    task->mm->areas[a]->shared)
				return bad_run(run, "task", task->id, "not in a private area", err);
			pos = task->mm->areas[a]->end;
		}
	}
	return 0;
}

int ckpt_check_pages(const struct ckpt_task *task, uint64_t pages_size, struct ckpt_err *err)
{
	return check_runs(&task->pages, CKPT_TASK_SIZE, pages_size, "task", task->id, err);
}

int ckpt_check_memory(const struct ckpt_snapshot *snap, const struct ckpt_task *task,
		      uint64_t pages_size, struct ckpt_err *err)
{
	const Ckpt__Mm *mm = task->mm;
	uint64_t floor = 0;
	int r = check_numbers(task, err);

	if (r >= 0 && !ckpt_is_file(snap, mm->exe))
		r = ckpt_unsound(err, "task %u: memory: its program is object %u, which is no file",
				 task->id, mm->exe);
	for (size_t i = 0; r >= 0 && i < mm->n_areas; i++) {
		r = check_area(snap, task, mm->areas[i], floor, err);
		floor = mm->areas[i]->end;
	}
	if (r >= 0)
		r = check_guards(task, err);
	if (r >= 0)
		r = ckpt_check_pages(task, pages_size, err);
	return r < 0 ? r : check_runs_in_areas(task, err);
}

int ckpt_check_content(const struct ckpt_object *obj, uint64_t pages_size, struct ckpt_err *err)
{
	uint64_t limit;

	if (obj->content_size > INT64_MAX - CKPT_PAGE)
		return ckpt_unsound(err, "%s %u: %llu bytes", obj->kind->name, obj->id,
				    (unsigned long long)obj->content_size);
	limit = (obj->content_size + CKPT_PAGE - 1) / CKPT_PAGE * CKPT_PAGE;
	return check_runs(&obj->content, limit, pages_size, obj->kind->name, obj->id, err);
}
