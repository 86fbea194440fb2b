/* SPDX-License-Identifier: Apache-2.0 */
/* A plan for people and for golden files: step by step, stable, one line each. */
#include <stdio.h>
#include "engine/memory/layout.h"
#include "engine/model/escape.h"
#include "engine/model/show.h"
#include "engine/plan/plan.h"
#include "engine/plan/program.h"

static const char *const verbs[] = {
	[CKPT_CREATE] = "create",   [CKPT_LINK] = "link",         [CKPT_SESSION] = "session",
	[CKPT_FORK] = "fork",       [CKPT_STAND_IN] = "stand-in", [CKPT_LEAD] = "lead",
	[CKPT_GROUP] = "group",     [CKPT_INSTALL] = "install",   [CKPT_ATTACH] = "attach",
	[CKPT_ENTER] = "enter",     [CKPT_MAKE] = "make",         [CKPT_FETCH] = "fetch",
	[CKPT_CONTROL] = "control",
};

/* Names in it may be hostile. */
static void print_safe(const char *text, FILE *out)
{
	ckpt_print_escaped(out, text);
	fputc('\n', out);
}

static void print_step(const struct ckpt_plan *plan, const struct ckpt_step *s, FILE *out)
{
	const struct ckpt_snapshot *snap = plan->snap;
	char who[32] = "builder", what[600] = "";

	if (s->actor)
		snprintf(who, sizeof(who), "process %d", snap->tasks[s->actor - 1]->pid);
	if (s->verb == CKPT_FORK) {
		snprintf(what, sizeof(what), "process %d (%s)", snap->tasks[s->object - 1]->pid,
			 snap->tasks[s->object - 1]->comm);
	} else if (s->verb == CKPT_STAND_IN) {
		snprintf(what, sizeof(what), "%d for the leader of its %s", s->number,
			 s->object ? "session" : "group");
	} else if (s->verb == CKPT_GROUP) {
		if (s->number < 0)
			snprintf(what, sizeof(what), "that of the caller");
		else
			snprintf(what, sizeof(what), "%d", s->number);
	} else if (s->verb == CKPT_INSTALL) {
		snprintf(what, sizeof(what), "%s %u as fd %d%s",
			 snap->objects[s->object - 1]->kind->name, s->object, s->number,
			 s->cloexec ? ", close-on-exec" : "");
	} else if (s->object) {
		int n = snprintf(what, sizeof(what),
				 "%s %u: ", snap->objects[s->object - 1]->kind->name, s->object);

		ckpt_show_message(snap->objects[s->object - 1]->msg, what + n, sizeof(what) - n);
	}
	fprintf(out, "%s: %s ", who, verbs[s->verb]);
	print_safe(what, out);
}

static void print_program(const struct ckpt_plan *plan, uint32_t task, FILE *out)
{
	const struct ckpt_task_program *prog = plan->programs[task - 1];
	const struct ckpt_task *t = plan->snap->tasks[task - 1];

	for (size_t i = 0; prog && i < t->n_threads; i++) {
		const struct ckpt_sysvec *v =
			(const void *)(prog->bytes + (prog->vec[i] - plan->layout->home));

		fprintf(out, "process %d: thread %d: %u calls\n", t->pid, t->threads[i].tid,
			v->n_calls);
		for (uint32_t k = 0; k < v->n_calls; k++) {
			const struct ckpt_sv_call *c = &v->call[k];

			fprintf(out,
				"  %4u: call %d(%#llx, %#llx, %#llx, %#llx, %#llx, %#llx) flags %u want %#llx\n",
				k, c->nr, (unsigned long long)c->arg[0],
				(unsigned long long)c->arg[1], (unsigned long long)c->arg[2],
				(unsigned long long)c->arg[3], (unsigned long long)c->arg[4],
				(unsigned long long)c->arg[5], c->flags,
				(unsigned long long)c->want);
		}
	}
}

static void print_rules(const struct ckpt_plan *plan, FILE *out)
{
	for (size_t id = 1; id <= plan->snap->n_objects; id++)
		if (plan->ruled[id]) {
			fprintf(out, "rule \"%s\": takes object %zu: ", plan->ruled[id]->text, id);
			print_safe(plan->snap->objects[id - 1]->file.link ?: "?", out);
		}
}

void ckpt_plan_print(const struct ckpt_plan *plan, FILE *out, bool with_programs)
{
	print_rules(plan, out);
	for (size_t i = 0; i < plan->n_steps; i++)
		print_step(plan, &plan->steps[i], out);
	for (size_t i = 0; with_programs && i < plan->snap->n_tasks; i++)
		print_program(plan, i + 1, out);
}
