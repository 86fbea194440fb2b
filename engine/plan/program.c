/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds the last stage of a task: its memory (memory-calls.c), its threads, what its kinds ask for
 * by phase, the barriers, and where it waits to be given its registers. Addresses are final: home
 * lies where the layout says.
 */
#include <linux/prctl.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include "engine/memory/layout.h"
#include "engine/plan/memory-calls.h"
#include "engine/plan/planner.h"
#include "engine/plan/program-builder.h"

#define STACK 2048 /* bytes; the interpreter needs less than 300 */
#define HOME_MAX (1ull << 30)

void ckpt_program_call(struct ckpt_program_builder *b, uint32_t thread, enum ckpt_when when,
		       const struct ckpt_sv_call *call)
{
	struct ckpt_call_list *l = when == CKPT_PARKED ? &b->parked :
							 &b->threads[thread].phase[when];

	l->v = ckpt_grow(b->p->arena, l->v, l->n, &l->room, 16, sizeof(*l->v));
	l->v[l->n++] = *call;
}

uint64_t ckpt_program_data(struct ckpt_program_builder *b, const void *data, size_t size)
{
	uint64_t at = (b->data_len + 15) & ~15ull;

	if (at + size > b->data_room) {
		uint8_t *more;

		b->data_room = 2 * (at + size) + 4096;
		more = ckpt_alloc(b->p->arena, b->data_room);
		if (b->data_len)
			memcpy(more, b->data, b->data_len);
		b->data = more;
	}
	memcpy(b->data + at, data, size);
	b->data_len = at + size;
	return b->layout->home + at;
}

uint64_t ckpt_program_leader_word(struct ckpt_program_builder *b)
{
	static const uint32_t zero;

	if (!b->leader_word)
		b->leader_word = ckpt_program_data(b, &zero, sizeof(zero));
	return b->leader_word;
}

static void emit_tiles(struct ckpt_program_builder *b, uint32_t thread,
		       const struct ckpt_regs *regs)
{
	static const uint64_t config[8] = { 1, 0, 64, 0, 0, 0, 1, 0 }; /* palette 1; tile 0: 64
									  bytes by 1 row */
	struct ckpt_sv_call call = { .flags = CKPT_SV_TILES };

	if (!regs->xstate_len ||
	    !(ckpt_xstate_bv(regs->xstate, regs->xstate_len) >> CKPT_XFEATURE_TILEDATA & 1))
		return;
	call.arg[0] = ckpt_program_data(b, config, sizeof(config));
	ckpt_program_call(b, thread, CKPT_AFTER_MEMORY, &call);
}

/* Everything that is not a descriptor of the task goes: the bank, and what the builder had. Before
 * the kinds' calls: a POSIX lock is lost when any descriptor of the file is closed. */
static void emit_close(struct ckpt_program_builder *b)
{
	const struct ckpt_task *task = b->task;
	/* Who shares them may need them until all is in place. */
	enum ckpt_when when = ckpt_snapshot_shares(b->p->snap, task, CLONE_FILES) ?
				      CKPT_AFTER_COMMIT :
				      CKPT_AFTER_MEMORY;
	uint32_t from = 0;

	for (size_t i = 0; i <= task->n_fds; i++) {
		uint32_t next = i < task->n_fds ? (uint32_t)task->fds[i].number : UINT32_MAX;

		if (next > from) {
			struct ckpt_sv_call call = {
				.nr = SYS_close_range,
				.arg = { from, i < task->n_fds ? next - 1 : UINT32_MAX, 0 },
			};
			ckpt_program_call(b, 0, when, &call);
		}
		from = next + 1;
	}
}

int ckpt_program_open(struct ckpt_program_builder **bp, struct ckpt_planner *p,
		      const struct ckpt_task *task, struct ckpt_err *err)
{
	struct ckpt_program_builder *b = ckpt_new(p->arena, struct ckpt_program_builder);
	int r;

	b->p = p;
	b->task = task;
	b->layout = p->plan->layout;
	b->threads = ckpt_alloc(p->arena, task->n_threads * sizeof(*b->threads));
	r = ckpt_emit_memory(b, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < task->n_threads; i++)
		emit_tiles(b, i, &task->threads[i].regs);
	emit_close(b);
	*bp = b;
	return 0;
}

static uint64_t gate(const struct ckpt_program_builder *b, size_t word)
{
	return b->layout->gates + word;
}

/* What the kinds asked for, between the barriers. */
static size_t put_thread(struct ckpt_program_builder *b, uint32_t thread, struct ckpt_sv_call *to)
{
	struct ckpt_thread_calls *t = &b->threads[thread];
	size_t n = 0;

	for (int when = 0; when < CKPT_PARKED; when++) {
		if (t->phase[when].n)
			memcpy(to + n, t->phase[when].v, t->phase[when].n * sizeof(*to));
		n += t->phase[when].n;
		if (when != CKPT_AFTER_MEMORY)
			continue;
		to[n++] = (struct ckpt_sv_call){
			.flags = CKPT_SV_ARRIVE,
			.arg = { gate(b, offsetof(struct ckpt_gates, ready)) }
		};
		to[n++] = (struct ckpt_sv_call){
			.flags = CKPT_SV_AWAIT,
			.arg = { gate(b, offsetof(struct ckpt_gates, commit)), 1 }
		};
		if (thread == 0) /* the parent may end from now on */
			to[n++] = (struct ckpt_sv_call){ .nr = SYS_prctl,
							 .arg = { PR_SET_PDEATHSIG, 0 } };
	}
	to[n++] = (struct ckpt_sv_call){ .flags = CKPT_SV_ARRIVE,
					 .arg = { gate(b, offsetof(struct ckpt_gates, done)) } };
	if (!b->task->threads[thread].ended) {
		to[n++] = (struct ckpt_sv_call){
			.flags = CKPT_SV_AWAIT,
			.arg = { gate(b, offsetof(struct ckpt_gates, never)), 1 }
		};
		return n;
	}
	to[n++] =
		(struct ckpt_sv_call){ .flags = CKPT_SV_AWAIT,
				       .arg = { gate(b, offsetof(struct ckpt_gates, leave)), 1 } };
	to[n++] = (struct ckpt_sv_call){ .nr = SYS_exit, .arg = { b->task->exit_status >> 8 } };
	return n;
}

static size_t count_calls(const struct ckpt_thread_calls *t)
{
	size_t n = 6;

	for (int when = 0; when < CKPT_PARKED; when++)
		n += t->phase[when].n;
	return n;
}

/* Reserves clone arguments; they are filled when the vectors' addresses are known. */
static void emit_clones(struct ckpt_program_builder *b, uint64_t *args)
{
	struct clone_args zero = { 0 };

	for (size_t i = 1; i < b->task->n_threads; i++) {
		struct ckpt_sv_call call = { .flags = CKPT_SV_CLONE };

		args[i] = ckpt_program_data(b, &zero, sizeof(zero));
		call.arg[0] = args[i];
		call.arg[1] = sizeof(zero);
		ckpt_program_call(b, 0, CKPT_BEFORE_THREADS, &call);
	}
}

static void fill_clone(struct ckpt_program_builder *b, size_t i, uint64_t args, uint64_t tids,
		       uint64_t stack, uint64_t vec)
{
	struct clone_args ca = {
		.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
			 CLONE_SYSVSEM,
		.stack = stack - STACK,
		.stack_size = STACK,
		.set_tid = tids + i * sizeof(pid_t),
		.set_tid_size = 1,
	};
	struct ckpt_call_list *l = &b->threads[0].phase[CKPT_BEFORE_THREADS];

	memcpy(b->data + (args - b->layout->home), &ca, sizeof(ca));
	l->v[l->n - b->task->n_threads + i].want = vec;
}

static uint64_t emit_tids(struct ckpt_program_builder *b)
{
	pid_t *tids = ckpt_alloc(b->p->arena, b->task->n_threads * sizeof(*tids));

	for (size_t i = 0; i < b->task->n_threads; i++)
		tids[i] = b->task->threads[i].tid;
	return ckpt_program_data(b, tids, b->task->n_threads * sizeof(*tids));
}

struct ckpt_task_program *ckpt_program_close(struct ckpt_program_builder *b)
{
	struct ckpt_task_program *prog = ckpt_new(b->p->arena, struct ckpt_task_program);
	size_t n_threads = b->task->n_threads, at;
	uint64_t *vec = ckpt_alloc(b->p->arena, n_threads * sizeof(*vec));
	uint64_t *args = ckpt_alloc(b->p->arena, n_threads * sizeof(*args));
	uint64_t tids = emit_tids(b), stacks;
	uint8_t *bytes;

	emit_clones(b, args);
	at = (b->data_len + 63) & ~63ull;
	for (size_t i = 0; i < n_threads; i++) {
		vec[i] = b->layout->home + at;
		at += (sizeof(struct ckpt_sysvec) +
		       count_calls(&b->threads[i]) * sizeof(struct ckpt_sv_call) + 63) &
		      ~63ull;
	}
	stacks = b->layout->home + at;
	at += n_threads * STACK;
	for (size_t i = 1; i < n_threads; i++)
		fill_clone(b, i, args[i], tids, stacks + (i + 1) * STACK, vec[i]);
	bytes = ckpt_alloc(b->p->arena, at);
	if (b->data_len)
		memcpy(bytes, b->data, b->data_len);
	for (size_t i = 0; i < n_threads; i++) {
		struct ckpt_sysvec *v = (void *)(bytes + (vec[i] - b->layout->home));

		v->thread = i;
		v->status = ckpt_layout_status(b->layout, b->task->id);
		v->n_calls = put_thread(b, i, v->call);
	}
	*prog = (struct ckpt_task_program){
		.bytes = bytes,
		.len = at,
		.entry = vec[0],
		.stack = stacks + STACK,
		.parked = b->parked.v,
		.n_parked = b->parked.n,
		.vec = vec,
	};
	if (at > HOME_MAX || b->layout->home + at > b->layout->end)
		ckpt_problem_add(
			&b->p->plan->problems, CKPT_E_NO_ROOM,
			"process %d: its restore needs %zu bytes, more than there is room for",
			b->task->pid, at);
	return prog;
}
