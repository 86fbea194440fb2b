/* SPDX-License-Identifier: Apache-2.0 */
/* All stacks of an image: names their functions, finds those that are the same, prints them. */
#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>
#include "engine/look/elf.h"
#include "engine/look/stacks.h"
#include "engine/model/escape.h"
#include "engine/model/show.h"

#define BUDGET 100000000ull /* words that are read for all stacks: seconds */

/* The frame is inside of a call, but for the innermost and what a signal interrupted. */
static uint64_t place_of(const struct ckpt_stack *stack, size_t i)
{
	const struct ckpt_frame *f = &stack->frames[i];

	return i == 0 || f->signal || f[-1].signal || !f->ip ? f->ip : f->ip - 1;
}

static void name_frame(struct ckpt_look *look, const struct ckpt_stack *stack, size_t i)
{
	const Ckpt__Mm *mm = stack->task->mm;
	struct ckpt_frame *f = &stack->frames[i];
	uint64_t at = place_of(stack, i), vaddr;
	size_t k = ckpt_look_area(mm, at);
	const Ckpt__Area *area = k < mm->n_areas ? mm->areas[k] : NULL;
	const struct ckpt_symbol *symbol;
	struct ckpt_elf *elf;

	if (!area || area->start > at)
		return;
	if (area->file)
		f->file = ckpt_look_path(look->snap->objects[area->file - 1]);
	else if (area->name && *area->name)
		f->file = area->name;
	f->own = area->file &&
		 (area->file == mm->exe || ckpt_look_same_file(look, area->file, mm->exe));
	elf = ckpt_elf_of(look, area);
	if (!elf || !ckpt_elf_vaddr(elf, area, at, &vaddr))
		return;
	f->n_inlined = ckpt_elf_inlined(look, elf, vaddr, &f->inlined);
	symbol = ckpt_elf_symbol(look, elf, vaddr);
	if (!symbol)
		return;
	f->function = ckpt_elf_demangle(look->arena, elf, symbol->name);
	f->offset = vaddr - symbol->value + (f->ip - at);
}

/* What called main() is of no interest: gdb does not show it either. */
static void name_frames(struct ckpt_look *look, struct ckpt_stack *stack)
{
	for (size_t i = 0; i < stack->n_frames; i++) {
		const struct ckpt_frame *f = &stack->frames[i];

		name_frame(look, stack, i);
		if (f->own && f->function && !strcmp(f->function, "main")) {
			stack->n_frames = i + 1;
			stack->end = NULL;
		}
	}
}

static uint64_t hash_of(const struct ckpt_stack *s)
{
	uint64_t h = s->n_frames + 1;

	for (size_t i = 0; i < s->n_frames; i++)
		h = (h ^ s->frames[i].ip) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 32;
}

static bool same(const struct ckpt_stack *a, const struct ckpt_stack *b)
{
	if (a->task != b->task || a->n_frames != b->n_frames || a->end != b->end)
		return false;
	for (size_t i = 0; i < a->n_frames; i++)
		if (a->frames[i].ip != b->frames[i].ip)
			return false;
	return true;
}

/* The first stack from FIRST on that is the same as that of N. TABLE: indices and 1, MASK and 1 of
 * them, by hash. */
static size_t find_same(const struct ckpt_stacks *stacks, size_t n, size_t *table, size_t mask)
{
	size_t at = hash_of(&stacks->v[n]) & mask;

	while (table[at] && !same(&stacks->v[table[at] - 1], &stacks->v[n]))
		at = (at + 1) & mask;
	if (!table[at])
		table[at] = n + 1;
	return table[at] - 1;
}

static void of_task(struct ckpt_look *look, const struct ckpt_task *task, uint64_t *budgetp,
		    struct ckpt_stacks *stacks)
{
	struct ckpt_unwinder *u = task->mm ? ckpt_unwinder_open(look, task, budgetp) : NULL;
	size_t first = stacks->n, room = 16, *table;

	while (room < 2 * task->n_threads)
		room *= 2;
	table = ckpt_alloc(look->arena, room * sizeof(*table));
	for (size_t i = 0; task->mm && i < task->n_threads; i++) {
		struct ckpt_stack *stack = &stacks->v[stacks->n];

		if (task->threads[i].ended)
			continue;
		stack->task = task;
		stack->thread = &task->threads[i];
		stack->same_as = stacks->n++;
		if (u)
			ckpt_unwind(u, stack);
		else
			stack->end =
				"libunwind-x86_64.so.8 is not installed, or there is no memory";
		stack->same_as = find_same(stacks, stack->same_as, table, room - 1);
		/* The frames of one are enough. */
		stack->frames = stacks->v[stack->same_as].frames;
	}
	ckpt_unwinder_close(u);
	for (size_t i = first; i < stacks->n; i++) {
		struct ckpt_stack *stack = &stacks->v[i];

		if (stack->same_as == i)
			name_frames(look, stack);
		stack->n_frames = stacks->v[stack->same_as].n_frames;
		stack->end = stacks->v[stack->same_as].end;
	}
}

void ckpt_stacks_make(struct ckpt_look *look, const struct ckpt_task *task,
		      struct ckpt_stacks *stacks)
{
	uint64_t budget = BUDGET;
	size_t n = 0;

	for (size_t i = 0; i < look->snap->n_tasks; i++)
		n += look->snap->tasks[i]->n_threads;
	*stacks =
		(struct ckpt_stacks){ .v = ckpt_alloc(look->arena, (n + 1) * sizeof(*stacks->v)) };
	for (size_t i = 0; i < look->snap->n_tasks; i++)
		if (!task || task == look->snap->tasks[i])
			of_task(look, look->snap->tasks[i], &budget, stacks);
}

static void print_function(const struct ckpt_frame *f, size_t i, const char *name, FILE *out)
{
	fprintf(out, "#%-2zu 0x%016" PRIx64 " in ", i, f->ip);
	ckpt_print_escaped(out, name ? name : "??");
	fprintf(out, " ()");
	if (f->file && !f->own) {
		fprintf(out, " from ");
		ckpt_print_escaped(out, f->file);
	}
}

/* As number I and those behind it; returns the next one. */
static size_t print_frame(const struct ckpt_frame *f, size_t i, FILE *out)
{
	if (f->signal) {
		fprintf(out, "#%-2zu <signal handler called>\n", i);
		return i + 1;
	}
	for (size_t k = 0; k < f->n_inlined; k++) {
		print_function(f, i++, f->inlined[k], out);
		fprintf(out, " (inlined)\n");
	}
	print_function(f, i, f->function, out);
	fprintf(out, "%s\n", f->guessed ? " (guessed by the frame pointer)" : "");
	return i + 1;
}

static void print_stack(const struct ckpt_stack *s, FILE *out)
{
	size_t number = 0;

	for (size_t i = 0; i < s->n_frames; i++)
		number = print_frame(&s->frames[i], number, out);
	if (!s->end)
		return;
	fprintf(out, "    (ends here: ");
	ckpt_print_escaped(out, s->end);
	fprintf(out, ")\n");
}

static void print_group(const struct ckpt_stacks *stacks, size_t first, FILE *out)
{
	size_t n = 0;

	for (size_t i = first; i < stacks->n; i++)
		n += stacks->v[i].same_as == first;
	fprintf(out, n == 1 ? "\nthread" : "\n%zu threads at the same place:", n);
	for (size_t i = first; i < stacks->n; i++)
		if (stacks->v[i].same_as == first)
			fprintf(out, " %d", stacks->v[i].thread->tid);
	fprintf(out, "\n");
	print_stack(&stacks->v[first], out);
}

void ckpt_stacks_print(const struct ckpt_stacks *stacks, FILE *out)
{
	const struct ckpt_task *task = NULL;

	for (size_t i = 0; i < stacks->n; i++) {
		const struct ckpt_stack *s = &stacks->v[i];

		if (s->task != task) {
			fprintf(out, "%sprocess %d \"", task ? "\n" : "", s->task->pid);
			ckpt_print_escaped(out, s->task->comm);
			fprintf(out, "\", %zu thread%s\n", s->task->n_threads,
				s->task->n_threads == 1 ? "" : "s");
		}
		task = s->task;
		if (s->same_as == i)
			print_group(stacks, i, out);
	}
}

static struct json_object *json_function(const struct ckpt_frame *f, const char *name)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "ip", json_object_new_uint64(f->ip));
	json_object_object_add(o, "sp", json_object_new_uint64(f->sp));
	if (name)
		json_object_object_add(o, "function", ckpt_json_text(name));
	if (f->file)
		json_object_object_add(o, "file", ckpt_json_text(f->file));
	return o;
}

static struct json_object *json_inlined(const struct ckpt_frame *f, size_t k)
{
	struct json_object *o = json_function(f, f->inlined[k]);

	json_object_object_add(o, "inlined", json_object_new_boolean(true));
	return o;
}

static struct json_object *json_frame(const struct ckpt_frame *f)
{
	struct json_object *o = json_function(f, f->function);

	if (f->function)
		json_object_object_add(o, "offset", json_object_new_uint64(f->offset));
	if (f->signal)
		json_object_object_add(o, "signal", json_object_new_boolean(true));
	if (f->guessed)
		json_object_object_add(o, "guessed", json_object_new_boolean(true));
	return o;
}

static struct json_object *json_group(const struct ckpt_stacks *stacks, size_t first)
{
	struct json_object *o = json_object_new_object(), *tids = json_object_new_array();
	struct json_object *frames = json_object_new_array();
	const struct ckpt_stack *s = &stacks->v[first];

	for (size_t i = first; i < stacks->n; i++)
		if (stacks->v[i].same_as == first)
			json_object_array_add(tids, json_object_new_int(stacks->v[i].thread->tid));
	for (size_t i = 0; i < s->n_frames; i++) {
		for (size_t k = 0; k < s->frames[i].n_inlined; k++)
			json_object_array_add(frames, json_inlined(&s->frames[i], k));
		json_object_array_add(frames, json_frame(&s->frames[i]));
	}
	json_object_object_add(o, "pid", json_object_new_int(s->task->pid));
	json_object_object_add(o, "tids", tids);
	json_object_object_add(o, "frames", frames);
	if (s->end)
		json_object_object_add(o, "incomplete", ckpt_json_text(s->end));
	return o;
}

struct json_object *ckpt_stacks_json(const struct ckpt_stacks *stacks)
{
	struct json_object *all = json_object_new_array();

	for (size_t i = 0; i < stacks->n; i++)
		if (stacks->v[i].same_as == i)
			json_object_array_add(all, json_group(stacks, i));
	return all;
}
