/* SPDX-License-Identifier: Apache-2.0 */
/* Who the tasks are: identity, place in the tree, threads and their registers. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/capture/state.h"

/* The name stands in parentheses, with newline and backslash escaped, and may hold parentheses
 * itself. */
static const char *parse_comm(const char *text, char *comm, size_t size)
{
	const char *p = strchr(text, '('), *end = strrchr(text, ')');
	size_t n = 0;

	if (!p || !end || end < p)
		return NULL;
	for (p++; p < end && n < size; p++) {
		char ch = *p;

		if (ch == '\\' && p + 1 < end)
			ch = *++p == 'n' ? '\n' : *p;
		comm[n++] = ch;
	}
	return end + 1;
}

int ckpt_stat_parse(const char *text, struct ckpt_stat *st, struct ckpt_err *err)
{
	uint64_t field[53]; /* counted from 1, as in proc(5) */
	const char *p;

	memset(st, 0, sizeof(*st));
	p = parse_comm(text, st->comm, sizeof(st->comm));
	if (!p || p[0] != ' ' || !p[1])
		return ckpt_fail(err, -EBADMSG, "stat: cannot be understood");
	p += 2; /* the state, a letter, is the third */
	for (int i = 4; i <= 52; i++) {
		int64_t number;

		p += *p == ' ';
		/* Some are signed, limits and masks do not fit into a signed number. */
		if (ckpt_parse_i64(&p, 10, &number))
			field[i] = number;
		else if (!ckpt_parse_u64(&p, 10, &field[i]))
			return ckpt_fail(err, -EBADMSG, "stat: bad field %d", i);
	}
	st->pgrp = field[5];
	st->session = field[6];
	st->flags = field[9];
	st->n_threads = field[20];
	st->start_code = field[26];
	st->end_code = field[27];
	st->start_stack = field[28];
	st->start_data = field[45];
	st->end_data = field[46];
	st->start_brk = field[47];
	st->arg_start = field[48];
	st->arg_end = field[49];
	st->env_start = field[50];
	st->env_end = field[51];
	st->exit_code = field[52];
	return 0;
}

uint64_t ckpt_status_u64(const char *text, const char *key)
{
	const char *p = ckpt_line_after(text, key);
	uint64_t value;

	return p && ckpt_parse_u64(&p, 10, &value) ? value : 0;
}

static int read_stat(struct ckpt_capture *c, struct ckpt_capture_task *t, struct ckpt_err *err)
{
	char text[1024];
	ssize_t n;

	CKPT_FD fd = c->src->ops->open_proc(c->src, t->frozen->pid, "stat", err);
	if (fd < 0)
		return fd;
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return ckpt_fail(err, -errno, "stat: cannot read");
	text[n] = '\0';
	t->stat_text = ckpt_strdup(c->arena, text);
	return ckpt_stat_parse(text, &t->stat, err);
}

/* Unprintable characters of a name must not reach a terminal. */
static const char *make_who(struct ckpt_arena *arena, pid_t pid, const char comm[16])
{
	char buf[48], safe[17] = "";

	for (int i = 0; i < 16 && comm[i]; i++)
		safe[i] = comm[i] < 32 || comm[i] == 127 ? '?' : comm[i];
	snprintf(buf, sizeof(buf), "process %d (%s)", pid, safe);
	return ckpt_strdup(arena, buf);
}

static uint32_t find_parent(const struct ckpt_capture *c, size_t before, pid_t ppid)
{
	for (size_t i = 0; i < before; i++) {
		if (c->tasks[i].frozen->pid == ppid)
			return i + 1;
	}
	return 0;
}

static int fill_threads(struct ckpt_capture *c, struct ckpt_capture_task *t, struct ckpt_err *err)
{
	struct ckpt_task *task = t->task;
	size_t first = t->frozen->ended ? 1 : 0;
	int r;

	task->n_threads = first + t->frozen->n_tids;
	task->threads = ckpt_alloc(c->arena, task->n_threads * sizeof(task->threads[0]));
	task->threads[0].tid = task->pid;
	task->threads[0].ended = t->frozen->ended;
	for (size_t i = first; i < task->n_threads; i++) {
		struct ckpt_thread *thread = &task->threads[i];

		thread->tid = t->frozen->tids[i - first];
		r = c->src->ops->regs(c->src, thread->tid, c->arena, &thread->regs, err);
		if (r < 0) {
			ckpt_in(err, r, "%s: thread %d", t->who, thread->tid);
			r = ckpt_capture_problem(c, r, err);
		}
		if (r >= 0 && thread->regs.waits_longer)
			ckpt_capture_lost(
				c,
				"%s: thread %d: it waits with a time limit and was interrupted "
				"before: restored, it waits longer by what it had waited until then",
				t->who, thread->tid);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The areas come later. */
static Ckpt__Mm *make_mm(struct ckpt_arena *arena, const struct ckpt_stat *st)
{
	Ckpt__Mm *mm = ckpt_new(arena, Ckpt__Mm);

	ckpt__mm__init(mm);
	mm->start_code = st->start_code;
	mm->end_code = st->end_code;
	mm->start_data = st->start_data;
	mm->end_data = st->end_data;
	mm->start_brk = mm->brk = st->start_brk;
	mm->start_stack = st->start_stack;
	mm->arg_start = st->arg_start;
	mm->arg_end = st->arg_end;
	mm->env_start = st->env_start;
	mm->env_end = st->env_end;
	return mm;
}

static int fill_task(struct ckpt_capture *c, size_t i, struct ckpt_err *err)
{
	struct ckpt_capture_task *t = &c->tasks[i];
	const struct ckpt_frozen *f = t->frozen;
	struct ckpt_task *task = t->task = c->snap->tasks[i] = ckpt_new(c->arena, struct ckpt_task);
	int r = read_stat(c, t, err);

	if (r < 0)
		return ckpt_in(err, r, "process %d", f->pid);
	t->who = make_who(c->arena, f->pid, t->stat.comm);
	task->id = i + 1;
	task->parent = find_parent(c, i, f->ppid);
	if (i && !task->parent)
		return ckpt_fail(err, -ECANCELED, "%s: its parent %d is not part of the tree",
				 t->who, f->ppid);
	task->pid = f->pid;
	task->pgid = t->stat.pgrp;
	task->sid = t->stat.session;
	memcpy(task->comm, t->stat.comm, sizeof(task->comm));
	task->run_state = f->zombie ? CKPT_ZOMBIE : f->stopped ? CKPT_STOPPED : CKPT_RUNNING;
	task->stop_signal = f->stopped ? f->stop_signal : 0;
	if (f->zombie) {
		task->exit_status = t->stat.exit_code;
		return 0;
	}
	task->exit_status = f->ended ? f->exit_status : 0;
	task->mm = make_mm(c->arena, &t->stat);
	return fill_threads(c, t, err);
}

int ckpt_capture_tasks(struct ckpt_capture *c, const struct ckpt_frozen *frozen, size_t n,
		       struct ckpt_err *err)
{
	if (!n)
		return ckpt_fail(err, -ESRCH, "process tree: cannot find a task");
	c->n_tasks = c->snap->n_tasks = n;
	c->tasks = ckpt_alloc(c->arena, n * sizeof(c->tasks[0]));
	c->snap->tasks = ckpt_alloc(c->arena, n * sizeof(c->snap->tasks[0]));
	for (size_t i = 0; i < n; i++)
		c->tasks[i].frozen = &frozen[i];
	/* While the registers are read: it takes the helper longer than that. */
	ckpt_capture_scope_start(c, 0);
	for (size_t i = 0; i < n; i++) {
		int r = fill_task(c, i, err);

		if (r < 0)
			return r;
	}
	return 0;
}
