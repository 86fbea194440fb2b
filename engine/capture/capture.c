/* SPDX-License-Identifier: Apache-2.0 */
/* The order of a capture. Nothing here changes the target; what must (a remote call) the source
 * undoes. */
#include <errno.h>
#include "engine/capture/numa.h"
#include "engine/capture/state.h"
#include "engine/capture/witness.h"
#include "engine/memory/live.h"

int ckpt_capture_problem(struct ckpt_capture *c, int code, const struct ckpt_err *err)
{
	if (code >= 0)
		return 0;
	if (err->number == CKPT_E_NONE)
		return code;
	ckpt_problem_add_err(c->problems, err);
	return 0;
}

/* From here on the memory that is looked at stands still, be it a copy. */
static void look_ahead(struct ckpt_capture *c)
{
	ckpt_capture_areas_ahead(c);
	ckpt_capture_scan_ahead(c);
}

static bool has_content(const struct ckpt_capture *c)
{
	for (size_t i = 0; i < c->n_files; i++)
		if (c->files[i]->obj && c->files[i]->obj->has_content)
			return true;
	return false;
}

/* What descriptors refer to is collected first: it goes on changing. So does the content of a file
 * that nobody else can read any more, and of memory that is shared: then there is no snapshot. */
static int snapshot(struct ckpt_capture *c, struct ckpt_err *err)
{
	int r, copied;

	if (!c->src->ops->snapshot)
		return 0;
	/* Who makes one has the descriptors for a moment: nobody looks for holders then. */
	r = copied = c->src->ops->copied(c->src, err);
	if (r >= 0)
		r = ckpt_capture_file_objects(c, err);
	if (r >= 0 && copied && !c->problems->n && !has_content(c))
		r = c->src->ops->snapshot(c->src, err);
	if (r >= 0)
		look_ahead(c);
	return r;
}

/* What does not change while a tree stands still is asked before. */
static void look_at_machine(struct ckpt_capture *c)
{
	struct ckpt_collect cc = { .src = c->src, .arena = c->arena, .capture = c };

	ckpt_capture_scope_ours(c);
	ckpt_cpus_online(&cc);
	ckpt_has_labels(&cc);
	ckpt_numa_many_nodes(c);
}

static int run(struct ckpt_capture *c, struct ckpt_err *err)
{
	static const struct {
		const char *what;
		int (*step)(struct ckpt_capture *c, struct ckpt_err *err);
	} steps[] = {
		{ "what is shared", ckpt_capture_shared },
		{ "descriptors", ckpt_capture_files },
		{ "what is in flight", ckpt_capture_in_flight },
		{ "state", ckpt_capture_state },
		{ "a copy", snapshot },
		{ "areas", ckpt_capture_areas },
		{ "files", ckpt_capture_file_objects },
		{ "pages", ckpt_capture_memory },
	};
	struct ckpt_frozen *frozen;
	size_t n;
	int r;

	look_at_machine(c);
	ckpt_witness_ahead(c);
	r = c->src->ops->freeze(c->src, c->arena, &frozen, &n, err);
	if (r < 0)
		return r;
	ckpt_logf(c->opts->log, 3, "frozen: %zu processes", n);
	r = c->opts->live ? ckpt_live_confirm(c->opts->live, c->src, err) : 0;
	if (r >= 0)
		r = ckpt_capture_tasks(c, frozen, n, err);
	if (r >= 0 && !c->src->ops->snapshot)
		look_ahead(c);
	for (size_t i = 0; r >= 0 && i < sizeof(steps) / sizeof(steps[0]); i++) {
		r = ckpt_capture_go_on(c, err);
		if (r < 0)
			return r;
		r = steps[i].step(c, err);
		ckpt_logf(c->opts->log, 4, "captured: %s", steps[i].what);
	}
	return r;
}

static void finish(struct ckpt_capture *c)
{
	struct ckpt_snapshot *snap = c->snap;

	snap->n_objects = c->n_files + c->n_state;
	snap->objects = ckpt_alloc(c->arena, snap->n_objects * sizeof(snap->objects[0]));
	for (size_t i = 0; i < c->n_files; i++)
		snap->objects[i] = c->files[i]->obj;
	for (size_t i = 0; i < c->n_state; i++)
		snap->objects[c->n_files + i] = c->state[i];
	for (size_t i = 0; i < snap->n_objects; i++)
		snap->objects[i]->id = i + 1;
}

int ckpt_capture(struct ckpt_source *src, const struct ckpt_capture_opts *opts,
		 struct ckpt_arena *arena, struct ckpt_snapshot **snapp,
		 struct ckpt_memory_work **workp, struct ckpt_problems *problems,
		 struct ckpt_err *err)
{
	struct ckpt_capture *c = ckpt_new(arena, struct ckpt_capture);
	int r;

	c->src = src;
	c->arena = arena;
	c->opts = opts;
	c->problems = problems;
	c->snap = ckpt_new(arena, struct ckpt_snapshot);
	c->snap->inventory = ckpt_new(arena, Ckpt__Inventory);
	ckpt__inventory__init(c->snap->inventory);
	c->work = ckpt_memory_open(src, arena);
	*workp = NULL;
	c->helper = opts->helper;
	r = run(c, err);
	ckpt_helper_drain(c->helper);
	ckpt_capture_scope_end(c);
	ckpt_capture_areas_end(c);
	ckpt_capture_scan_end(c);
	ckpt_capture_files_end(c);
	ckpt_witness_end(c);
	ckpt_capture_query_end(c);
	if (r < 0) {
		ckpt_memory_close(c->work);
		return r;
	}
	finish(c);
	*snapp = c->snap;
	*workp = c->work;
	return 0;
}
