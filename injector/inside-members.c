/* SPDX-License-Identifier: Apache-2.0 */
/* Who is in a tree that is asked, and what is to be known of its members before they stand. */
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "injector/freeze.h"
#include "injector/inside-tree.h"
#include "injector/ptrace.h"
#include "injector/target.h"

#define MS 1000000ull
#define EXEC_MS 300 /* as long a program that is being executed may have no library */

struct ckpt_member *ckpt_inside_member(const struct ckpt_inside *in, pid_t pid)
{
	struct ckpt_member *m = in->members;

	while (m && m->pid != pid)
		m = m->next;
	return m;
}

pid_t ckpt_inside_acts(const struct ckpt_inside *in, pid_t tid)
{
	const struct ckpt_member *m = ckpt_inside_member(in, tid);

	return m ? m->acts : tid;
}

/* They are asked for in their order. */
size_t ckpt_inside_index(struct ckpt_member *m, pid_t tid)
{
	size_t first = __atomic_load_n(&m->at, __ATOMIC_RELAXED);

	for (size_t i = 0; i < m->n_tids; i++) {
		size_t at = (first + i) % m->n_tids;

		if (m->tids[at] != tid)
			continue;
		__atomic_store_n(&m->at, at, __ATOMIC_RELAXED);
		return at;
	}
	return m->n_tids;
}

struct ckpt_member *ckpt_inside_of_thread(const struct ckpt_inside *in, pid_t tid)
{
	struct ckpt_member *m = ckpt_inside_member(in, tid);

	for (struct ckpt_member *o = m ? NULL : in->members; o && !m; o = o->next)
		if (ckpt_inside_index(o, tid) < o->n_tids)
			m = o;
	return m;
}

static struct ckpt_member *add(struct ckpt_inside *in, pid_t pid, pid_t ppid)
{
	struct ckpt_member *m = ckpt_new(in->arena, struct ckpt_member);

	m->pid = pid;
	m->ppid = ppid;
	m->sock = m->pidfd = m->copy_sock = m->copy_mem = -1;
	m->tids = ckpt_new(in->arena, pid_t);
	m->tids[0] = pid;
	m->acts = ckpt_target_acts(pid);
	m->n_tids = 1;
	*in->last = m;
	in->last = &m->next;
	in->n_members++;
	return m;
}

struct look {
	struct ckpt_inside *in;
	struct ckpt_member *m;
	size_t n_new;
	struct ckpt_asleep **last; /* of the member's */
};

static int look_at_thread(void *arg, pid_t tid, struct ckpt_err *err)
{
	struct look *look = arg;
	struct ckpt_asleep *a = ckpt_asleep_read(look->in->arena, &look->in->clocks, tid, true);

	(void)err;
	if (a) {
		*look->last = a;
		look->last = &a->next;
	}
	return 0;
}

static int look_at_threads(struct look *look, struct ckpt_err *err)
{
	look->m->asleep = NULL;
	look->last = &look->m->asleep;
	return ckpt_each_thread(look->m->pid, look_at_thread, look, err);
}

int ckpt_inside_look_again(struct ckpt_inside *in, struct ckpt_member *m, struct ckpt_err *err)
{
	struct look look = { .in = in, .m = m };

	return look_at_threads(&look, err);
}

bool ckpt_inside_has_ended(struct ckpt_member *m)
{
	struct ckpt_proc_stat st;

	if (ckpt_proc_stat(m->pid, &st) < 0)
		m->state = CKPT_MEMBER_GONE;
	else if ((st.state == 'Z' || st.state == 'X') && st.n_threads <= 1)
		m->state = CKPT_MEMBER_ZOMBIE;
	else
		return false;
	return true;
}

/* A program that is just being executed has no library yet. */
static int check_patiently(struct ckpt_member *m, int signal, struct ckpt_err *err)
{
	int r = -ENOSYS;

	for (int i = 0; i < EXEC_MS && r == -ENOSYS; i++) {
		int same = signal;

		if (i)
			nanosleep(&(struct timespec){ .tv_nsec = MS }, NULL);
		*err = (struct ckpt_err)CKPT_ERR_INIT;
		r = ckpt_inside_check(m->pid, &same, err);
		if (ckpt_inside_has_ended(m))
			return -ESRCH;
	}
	return r;
}

static int add_child(void *arg, pid_t pid, struct ckpt_err *err)
{
	struct look *look = arg;
	struct ckpt_member *m = ckpt_inside_member(look->in, pid);
	int r;

	if (pid == getpid()) /* started by the library of a subreaper */
		return 0;
	if (m) {
		if (m->state != CKPT_MEMBER_GONE)
			m->ppid = look->m->pid;
		return 0;
	}
	m = add(look->in, pid, look->m->pid);
	look->n_new++;
	if (ckpt_inside_has_ended(m))
		return 0;
	r = check_patiently(m, look->in->opts.signal, err);
	if (r == -ESRCH)
		return 0;
	if (r < 0 && ckpt_inside_is_stopped(look->in, m)) {
		*err = (struct ckpt_err)CKPT_ERR_INIT;
		r = 0;
	}
	m->pidfd = syscall(SYS_pidfd_open, pid, 0);
	return r < 0 ? ckpt_in(err, r, "child of process %d", look->m->pid) : 0;
}

int ckpt_inside_add_children(struct ckpt_inside *in, struct ckpt_member *m, size_t *n_newp,
			     struct ckpt_err *err)
{
	struct look look = { .in = in, .m = m };
	int r = 0;

	m->children_seen = true;
	for (size_t i = 0; r >= 0 && !in->opts.one && !m->childless && i < m->n_tids; i++)
		r = ckpt_each_child(-1, m->pid, m->tids[i], add_child, &look, err);
	*n_newp += look.n_new;
	return r;
}

int ckpt_inside_look_ahead(struct ckpt_inside *in, struct ckpt_err *err)
{
	struct look look = { .in = in };
	struct ckpt_proc_stat st;
	int r = 0;

	look.m = add(in, in->root, ckpt_proc_stat(in->root, &st) < 0 ? 0 : st.ppid);
	look.m->pidfd = syscall(SYS_pidfd_open, in->root, 0);
	look.m->toldp = in->opts.told;
	for (; r >= 0 && look.m; look.m = look.m->next) {
		r = look_at_threads(&look, err);
		if (r >= 0)
			r = ckpt_inside_add_children(in, look.m, &look.n_new, err);
		look.m->children_seen = false;
		ckpt_inside_questions(in, look.m);
		if (in->opts.snapshot)
			ckpt_inside_copy_ahead(in, look.m);
	}
	return r;
}

bool ckpt_inside_stands(const struct ckpt_member *m)
{
	return m->state == CKPT_MEMBER_PARKED || m->state == CKPT_MEMBER_HELD;
}

/* Its parent has ended, and somebody outside took it. */
static bool has_left(const struct ckpt_inside *in, const struct ckpt_member *m)
{
	const struct ckpt_member *parent = ckpt_inside_member(in, m->ppid);

	return m != in->members && m->state != CKPT_MEMBER_GONE &&
	       !(parent && ckpt_inside_stands(parent));
}

/* The children of one that leaves leave, too. */
static void let_leave(struct ckpt_inside *in)
{
	size_t n;

	do {
		n = 0;
		for (struct ckpt_member *m = in->members; m; m = m->next) {
			if (!has_left(in, m))
				continue;
			in->n_held -= m->state == CKPT_MEMBER_HELD;
			ckpt_inside_let_go_one(m, false, "it is not part of the tree any more");
			m->state = CKPT_MEMBER_GONE;
			n++;
		}
	} while (n);
}

/* Orphans of those that ended come to a subreaper, or leave the tree. */
int ckpt_inside_settle(struct ckpt_inside *in, bool *donep, struct ckpt_err *err)
{
	size_t n_new = 0;
	int r;

	if (in->members->state != CKPT_MEMBER_PARKED)
		return ckpt_refuse(err, CKPT_E_VANISHED, -ESRCH,
				   "process %d: it ended before it could be stopped", in->root);
	for (struct ckpt_member *m = in->members; m; m = m->next) {
		if (m->state == CKPT_MEMBER_ZOMBIE)
			ckpt_inside_has_ended(m); /* reaped, before its parent stood */
		if (!ckpt_inside_stands(m))
			continue;
		r = ckpt_inside_add_children(in, m, &n_new, err);
		if (r < 0)
			return r;
	}
	*donep = !n_new;
	if (*donep)
		let_leave(in);
	return 0;
}
