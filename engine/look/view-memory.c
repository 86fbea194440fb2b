/* SPDX-License-Identifier: Apache-2.0 */
/* The map of each process: what of it is in the image, what it still shared with its parent. */
#include <ctype.h>
#include <string.h>
#include <sys/mman.h>
#include "engine/look/views.h"
#include "proto/file.pb-c.h"

enum {
	PID,
	START,
	END,
	PROT,
	SIZE,
	STORED,
	DIRTY,
	SHARED,
	FLAGS,
	OBJECT,
	OFFSET,
	BUILD_ID,
	NAME,
	PACKAGE /* only where the image has any */
};
static const struct ckpt_column columns[] = {
	{ "pid", CKPT_CELL_NUMBER },  { "start", CKPT_CELL_HEX },
	{ "end", CKPT_CELL_HEX },     { "prot", CKPT_CELL_TEXT },
	{ "size", CKPT_CELL_BYTES },  { "stored", CKPT_CELL_BYTES },
	{ "dirty", CKPT_CELL_BYTES }, { "shared", CKPT_CELL_BYTES },
	{ "flags", CKPT_CELL_TEXT },  { "object", CKPT_CELL_NUMBER },
	{ "offset", CKPT_CELL_HEX },  { "build-id", CKPT_CELL_TEXT },
	{ "name", CKPT_CELL_TEXT },   { "package", CKPT_CELL_TEXT },
};

uint64_t ckpt_view_stored_in(const struct ckpt_pages *pages, uint64_t start, uint64_t end)
{
	uint64_t n = 0;

	for (size_t i = ckpt_run_behind(pages->run, pages->n, start);
	     i < pages->n && pages->run[i].at < end; i++) {
		const struct ckpt_run *run = &pages->run[i];

		n += (ckpt_run_end(run) < end ? ckpt_run_end(run) : end) -
		     (run->at > start ? run->at : start);
	}
	return n;
}

/* Pages that are stored once for both of them. */
static uint64_t shared_in(const struct ckpt_pages *a, const struct ckpt_pages *b, uint64_t start,
			  uint64_t end)
{
	size_t i = ckpt_run_behind(a->run, a->n, start), k = ckpt_run_behind(b->run, b->n, start);
	uint64_t n = 0;

	while (i < a->n && k < b->n && a->run[i].at < end && b->run[k].at < end) {
		const struct ckpt_run *x = &a->run[i], *y = &b->run[k];
		uint64_t from = x->at > y->at ? x->at : y->at;
		uint64_t to = ckpt_run_end(x) < ckpt_run_end(y) ? ckpt_run_end(x) : ckpt_run_end(y);

		from = from > start ? from : start;
		to = to < end ? to : end;
		if (from < to && x->offset + (from - x->at) == y->offset + (from - y->at))
			n += to - from;
		if (ckpt_run_end(x) <= ckpt_run_end(y))
			i++;
		else
			k++;
	}
	return n;
}

/* "grows-down locked", by the names of memory.proto. */
static const char *flags_of(struct ckpt_arena *arena, uint32_t flags)
{
	const ProtobufCEnumDescriptor *d = &ckpt__area__flag__descriptor;
	char text[256];
	size_t n = 0;

	for (unsigned int i = 0; i < d->n_values; i++) {
		if (!d->values[i].value || !(flags & (uint32_t)d->values[i].value))
			continue;
		if (n + strlen(d->values[i].name) + 2 > sizeof(text))
			break;
		if (n)
			text[n++] = ' ';
		for (const char *p = d->values[i].name; *p; p++)
			text[n++] = *p == '_' ? '-' : tolower((unsigned char)*p);
	}
	text[n] = 0;
	return ckpt_strdup(arena, text);
}

static const char *build_id_of(struct ckpt_arena *arena, const struct ckpt_object *obj)
{
	const Ckpt__File *f = (const void *)obj->msg;
	char *text;

	if (obj->msg->descriptor != &ckpt__file__descriptor || !f->has_build_id ||
	    f->build_id.len > 64)
		return NULL;
	text = ckpt_alloc(arena, 2 * f->build_id.len + 1);
	for (size_t i = 0; i < f->build_id.len; i++)
		sprintf(text + 2 * i, "%02x", f->build_id.data[i]);
	return text;
}

/* NULL: it is not kept. */
static const char *package_of(const struct ckpt_object *obj)
{
	return obj->msg->descriptor == &ckpt__file__descriptor ?
		       ((const Ckpt__File *)(const void *)obj->msg)->package :
		       NULL;
}

static bool has_packages(const struct ckpt_snapshot *snap)
{
	for (size_t i = 0; i < snap->n_objects; i++)
		if (package_of(snap->objects[i]))
			return true;
	return false;
}

static void add(struct ckpt_look *look, const struct ckpt_task *task, const Ckpt__Area *area,
		struct ckpt_table *t)
{
	const struct ckpt_task *parent = task->parent ? look->snap->tasks[task->parent - 1] : NULL;
	const struct ckpt_object *obj = area->file ? look->snap->objects[area->file - 1] : NULL;
	uint64_t stored = ckpt_view_stored_in(&task->pages, area->start, area->end), shared = 0;
	struct ckpt_row *row = ckpt_table_add(t);
	char prot[5] = { area->prot & PROT_READ ? 'r' : '-', area->prot & PROT_WRITE ? 'w' : '-',
			 area->prot & PROT_EXEC ? 'x' : '-', area->shared ? 's' : 'p' };

	ckpt_row_number(row, PID, task->pid);
	ckpt_row_number(row, START, area->start);
	ckpt_row_number(row, END, area->end);
	ckpt_row_text(row, PROT, ckpt_strdup(look->arena, prot));
	ckpt_row_number(row, SIZE, area->end - area->start);
	if (stored)
		ckpt_row_number(row, STORED, stored);
	if (stored && obj)
		ckpt_row_number(row, DIRTY, stored);
	if (parent)
		shared = shared_in(&task->pages, &parent->pages, area->start, area->end);
	if (shared)
		ckpt_row_number(row, SHARED, shared);
	ckpt_row_text(row, FLAGS, flags_of(look->arena, area->flags));
	if (obj) {
		ckpt_row_number(row, OBJECT, obj->id);
		ckpt_row_number(row, OFFSET, area->offset);
		ckpt_row_text(row, BUILD_ID, build_id_of(look->arena, obj));
		if (package_of(obj))
			ckpt_row_text(row, PACKAGE, package_of(obj));
	}
	ckpt_row_text(row, NAME, ckpt_look_area_name(look, task, area));
}

void ckpt_view_memory(struct ckpt_look *look, const struct ckpt_task *only, struct ckpt_table *t)
{
	ckpt_table_init(t, look->arena, "memory", columns, PACKAGE + has_packages(look->snap));
	for (size_t i = 0; i < look->snap->n_tasks; i++) {
		const struct ckpt_task *task = look->snap->tasks[i];

		for (size_t k = 0; task->mm && k < task->mm->n_areas && (!only || task == only);
		     k++)
			add(look, task, task->mm->areas[k], t);
	}
}
