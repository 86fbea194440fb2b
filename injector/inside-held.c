/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members that are stopped (SIGSTOP, Ctrl-Z) run no handler, and to continue them would be seen by
 * their parents. So they are held by ptrace(2), each alone, when all others stand: of them it is
 * asked from outside what the others say from inside.
 */
#include "injector/inside-tree.h"
#include "injector/ptrace.h"
#include "injector/source-ptrace.h"

bool ckpt_inside_is_stopped(const struct ckpt_inside *in, const struct ckpt_member *m)
{
	struct ckpt_proc_stat st;

	/* One that has been called has the signal waiting, and the root has a parent outside. */
	return m != in->members && m->state == CKPT_MEMBER_RUNS && m->sock < 0 && !m->n_called &&
	       ckpt_proc_stat(m->pid, &st) >= 0 && st.state == 'T';
}

static int hold(struct ckpt_inside *in, struct ckpt_member *m, struct ckpt_err *err)
{
	const struct ckpt_ptrace_opts opts = {
		.timeout_s = in->opts.wait_s,
		.log = in->log,
		.one = true,
	};
	struct ckpt_source *src;
	size_t n;
	int r = ckpt_source_ptrace_open(&src, in->arena, m->pid, &opts, err);

	if (r >= 0)
		r = src->ops->freeze(src, in->arena, &m->frozen, &n, err);
	if (r < 0 && ckpt_inside_has_ended(m))
		return 0;
	if (r < 0)
		return ckpt_in(err, r, "child of process %d, which is stopped", m->ppid);
	m->held = src;
	m->tids = m->frozen->tids;
	m->n_tids = m->frozen->n_tids;
	m->state = CKPT_MEMBER_HELD;
	in->n_held++;
	return 0;
}

int ckpt_inside_hold_stopped(struct ckpt_inside *in, struct ckpt_err *err)
{
	int r = 0;

	for (struct ckpt_member *m = in->members; r >= 0 && m; m = m->next)
		if (ckpt_inside_is_stopped(in, m))
			r = hold(in, m, err);
	return r;
}

struct ckpt_source *ckpt_inside_held(const struct ckpt_inside *in, pid_t tid)
{
	const struct ckpt_member *m = in->n_held ? ckpt_inside_of_thread(in, tid) : NULL;

	return m ? m->held : NULL;
}
