/* SPDX-License-Identifier: Apache-2.0 */
/* Processes, threads, descriptors and areas of two images, side by side. All lists are sorted, or
 * are sorted here, and walked once. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "engine/base/text.h"
#include "engine/look/diff.h"
#include "engine/look/views.h"

enum { CHANGE, WHAT, PID, ID, PAGES, BEFORE, AFTER };
static const struct ckpt_column columns[] = {
	{ "change", CKPT_CELL_TEXT }, { "what", CKPT_CELL_TEXT },    { "pid", CKPT_CELL_NUMBER },
	{ "id", CKPT_CELL_TEXT },     { "pages", CKPT_CELL_NUMBER }, { "before", CKPT_CELL_TEXT },
	{ "after", CKPT_CELL_TEXT },
};

struct diff {
	struct ckpt_look *a, *b;
	const struct ckpt_task *x, *y; /* of A, of B: the same process */
	struct ckpt_table *t;
	struct ckpt_err *err;
};

/* A row; BEFORE or AFTER NULL: it was added, or is gone. */
static struct ckpt_row *add(struct diff *d, const char *what, pid_t pid, const char *id,
			    const char *before, const char *after)
{
	struct ckpt_row *row = ckpt_table_add(d->t);

	ckpt_row_text(row, CHANGE, !before ? "added" : !after ? "gone" : "changed");
	ckpt_row_text(row, WHAT, what);
	ckpt_row_number(row, PID, pid);
	ckpt_row_text(row, ID, id);
	ckpt_row_text(row, BEFORE, before);
	ckpt_row_text(row, AFTER, after);
	return row;
}

static const char *text(struct diff *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static const char *text(struct diff *d, const char *fmt, ...)
{
	char buf[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	return ckpt_strdup(d->t->arena, buf);
}

/* ---- threads ---- */
static int by_tid(const void *a, const void *b)
{
	const struct ckpt_thread *x = *(struct ckpt_thread *const *)a;
	const struct ckpt_thread *y = *(struct ckpt_thread *const *)b;

	return x->tid < y->tid ? -1 : x->tid > y->tid;
}

static struct ckpt_thread **sorted_threads(struct diff *d, const struct ckpt_task *task)
{
	struct ckpt_thread **v = ckpt_alloc(d->t->arena, (task->n_threads + 1) * sizeof(*v));

	for (size_t i = 0; i < task->n_threads; i++)
		v[i] = &task->threads[i];
	qsort(v, task->n_threads, sizeof(*v), by_tid);
	return v;
}

static const char *place(struct diff *d, const struct ckpt_thread *t)
{
	return text(d, "at %#llx", (unsigned long long)t->regs.gp.rip);
}

static void threads(struct diff *d)
{
	struct ckpt_thread **v = sorted_threads(d, d->x), **w = sorted_threads(d, d->y);
	size_t i = 0, k = 0;

	while (i < d->x->n_threads || k < d->y->n_threads) {
		int r = i == d->x->n_threads ? 1 : k == d->y->n_threads ? -1 : by_tid(&v[i], &w[k]);
		const struct ckpt_thread *any = r > 0 ? w[k] : v[i];

		if (r || memcmp(&v[i]->regs.gp, &w[k]->regs.gp, sizeof(v[i]->regs.gp)))
			add(d, "thread", d->x->pid, text(d, "%d", any->tid),
			    r > 0 ? NULL : place(d, v[i]), r < 0 ? NULL : place(d, w[k]));
		i += r <= 0;
		k += r >= 0;
	}
}

/* ---- descriptors ---- */
static const char *describe(struct diff *d, const struct ckpt_look *look, const struct ckpt_fd *fd)
{
	const struct ckpt_object *obj = look->snap->objects[fd->object - 1];
	const char *path = ckpt_look_path(obj);

	return text(d, "%s %s%s flags=%#x%s pos=%" PRIu64, obj->kind->name,
		    path ? path : ckpt_view_message(d->t->arena, obj->msg),
		    path ? text(d, " %s", ckpt_view_message(d->t->arena, obj->msg)) : "",
		    obj->file.flags, fd->cloexec ? " close-on-exec" : "", obj->file.pos);
}

static void descriptors(struct diff *d)
{
	size_t i = 0, k = 0;

	while (i < d->x->n_fds || k < d->y->n_fds) {
		const struct ckpt_fd *v = i < d->x->n_fds ? &d->x->fds[i] : NULL;
		const struct ckpt_fd *w = k < d->y->n_fds ? &d->y->fds[k] : NULL;
		int number = !v || (w && w->number < v->number) ? w->number : v->number;
		const char *before = v && v->number == number ? describe(d, d->a, v) : NULL;
		const char *after = w && w->number == number ? describe(d, d->b, w) : NULL;

		if (!before || !after || strcmp(before, after))
			add(d, "descriptor", d->x->pid, text(d, "%d", number), before, after);
		i += before != NULL;
		k += after != NULL;
	}
}

/* ---- areas and their pages ---- */
static const char *area_text(struct diff *d, const struct ckpt_look *look,
			     const struct ckpt_task *task, const Ckpt__Area *a)
{
	char size[32];

	return text(d, "%s %c%c%c%c flags=%#x %s", ckpt_size_text(a->end - a->start, size),
		    a->prot & PROT_READ ? 'r' : '-', a->prot & PROT_WRITE ? 'w' : '-',
		    a->prot & PROT_EXEC ? 'x' : '-', a->shared ? 's' : 'p', a->flags,
		    ckpt_look_area_name(look, task, a));
}

static int memory(struct diff *d, const Ckpt__Area *v, const Ckpt__Area *w)
{
	uint64_t end = v->end < w->end ? v->end : w->end, pages, unknown;
	const char *name = ckpt_look_area_name(d->b, d->y, w);
	struct ckpt_row *row;
	int r = ckpt_diff_pages(d->a, d->x, d->b, d->y, v->start, end, &pages, &unknown, d->err);

	if (r < 0 || (!pages && (!unknown || v->flags & CKPT__AREA__FLAG__VDSO)))
		return r;
	row = add(d, "memory", d->x->pid, text(d, "%" PRIx64 "-%" PRIx64, v->start, end), "", "");
	ckpt_row_number(row, PAGES, pages);
	ckpt_row_text(row, AFTER,
		      unknown ? text(d, "%s (%" PRIu64 " pages could not be compared)", name,
				     unknown) :
				name);
	return 0;
}

static int areas(struct diff *d)
{
	const Ckpt__Mm *m = d->x->mm, *n = d->y->mm;
	size_t i = 0, k = 0;
	int r = 0;

	while (r >= 0 && (i < m->n_areas || k < n->n_areas)) {
		const Ckpt__Area *v = i < m->n_areas ? m->areas[i] : NULL;
		const Ckpt__Area *w = k < n->n_areas ? n->areas[k] : NULL;
		uint64_t start = !v || (w && w->start < v->start) ? w->start : v->start;
		const char *before = v && v->start == start ? area_text(d, d->a, d->x, v) : NULL;
		const char *after = w && w->start == start ? area_text(d, d->b, d->y, w) : NULL;

		if (!before || !after || strcmp(before, after))
			add(d, "area", d->x->pid, text(d, "%" PRIx64, start), before, after);
		if (before && after)
			r = memory(d, v, w);
		i += before != NULL;
		k += after != NULL;
	}
	return r;
}

/* ---- processes ---- */
static const char *process_text(struct diff *d, struct ckpt_look *look,
				const struct ckpt_task *task)
{
	return text(d, "%s group=%d session=%d parent=%d %s", ckpt_view_state(task), task->pgid,
		    task->sid, task->parent ? look->snap->tasks[task->parent - 1]->pid : 0,
		    ckpt_view_command(look, task));
}

static int process(struct diff *d)
{
	const char *before = d->x ? process_text(d, d->a, d->x) : NULL;
	const char *after = d->y ? process_text(d, d->b, d->y) : NULL;

	if (!before || !after || strcmp(before, after))
		add(d, "process", d->x ? d->x->pid : d->y->pid, NULL, before, after);
	if (!before || !after)
		return 0;
	threads(d);
	descriptors(d);
	return d->x->mm && d->y->mm ? areas(d) : 0;
}

static int by_pid(const void *a, const void *b)
{
	const struct ckpt_task *x = *(struct ckpt_task *const *)a;
	const struct ckpt_task *y = *(struct ckpt_task *const *)b;

	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

static struct ckpt_task **sorted_tasks(struct ckpt_arena *arena, const struct ckpt_snapshot *snap)
{
	struct ckpt_task **v = ckpt_alloc(arena, (snap->n_tasks + 1) * sizeof(*v));

	memcpy(v, snap->tasks, snap->n_tasks * sizeof(*v));
	qsort(v, snap->n_tasks, sizeof(*v), by_pid);
	return v;
}

int ckpt_diff(struct ckpt_look *a, struct ckpt_look *b, struct ckpt_table *t, struct ckpt_err *err)
{
	struct ckpt_task **v = sorted_tasks(a->arena, a->snap);
	struct ckpt_task **w = sorted_tasks(b->arena, b->snap);
	struct diff d = { .a = a, .b = b, .t = t, .err = err };
	size_t i = 0, k = 0;
	int r = 0;

	ckpt_table_init(t, a->arena, "changes", columns, sizeof(columns) / sizeof(columns[0]));
	while (r >= 0 && (i < a->snap->n_tasks || k < b->snap->n_tasks)) {
		int c = i == a->snap->n_tasks ? 1 :
			k == b->snap->n_tasks ? -1 :
						by_pid(&v[i], &w[k]);

		d.x = c <= 0 ? v[i] : NULL;
		d.y = c >= 0 ? w[k] : NULL;
		r = process(&d);
		i += c <= 0;
		k += c >= 0;
	}
	return r;
}
