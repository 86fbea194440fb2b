/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seccomp(2) filters. They are put on while the threads still have their privilege, and bind nobody
 * before ckpt has let go. What all threads of a process have in common its leader puts on for all
 * of them: SECCOMP_FILTER_FLAG_TSYNC later demands that they have it in common.
 */
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/syscall.h>
#include "engine/base/filter.h"
#include "engine/base/text.h"
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/host.h"
#include "engine/plan/plan.h"
#include "proto/seccomp.pb-c.h"

#define FILTERS_MAX 8192 /* the kernel takes 32768 instructions of all, and counts 4 for each */

extern const struct ckpt_kind ckpt_kind_seccomp;

/* ---- capture ---- */

static bool is_filtered(struct ckpt_collect *c, const char *status)
{
	const char *mode = ckpt_line_after(status, "Seccomp");

	return c->src->ops->seccomp && mode && ckpt_word_is(mode, "2");
}

/* How many the thread has in common with its leader. */
static int count_shared(struct ckpt_collect *c, const struct ckpt_filter *own, size_t n,
			struct ckpt_err *err)
{
	struct ckpt_collect leader = *c;
	const struct ckpt_filter *theirs;
	const char *status;
	size_t n_theirs, i = 0;
	int r;

	leader.tid = c->pid;
	r = ckpt_status_text(&leader, &status, err);
	if (r < 0 || !is_filtered(c, status))
		return r < 0 ? r : 0;
	r = c->src->ops->seccomp(c->src, c->pid, &theirs, &n_theirs, err);
	if (r < 0)
		return r;
	while (i < n && i < n_theirs && ckpt_filter_same(&own[i], &theirs[i]))
		i++;
	return i;
}

static Ckpt__Seccomp__Filter *keep(struct ckpt_arena *arena, const struct ckpt_filter *f)
{
	Ckpt__Seccomp__Filter *m = ckpt_new(arena, Ckpt__Seccomp__Filter);

	ckpt__seccomp__filter__init(m);
	m->program.data = (uint8_t *)f->prog;
	m->program.len = f->n * sizeof(*f->prog);
	m->has_log = m->log = f->log;
	return m;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Seccomp *m = (void *)msg;
	const struct ckpt_filter *filter;
	const char *status;
	size_t n, from;
	int r = ckpt_status_text(c, &status, err);

	if (r < 0 || !is_filtered(c, status))
		return r < 0 ? r : 1;
	r = c->src->ops->seccomp(c->src, c->tid, &filter, &n, err);
	if (r >= 0)
		r = count_shared(c, filter, n, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		if (ckpt_filter_may_notify(&filter[i]))
			return ckpt_refuse(err, CKPT_E_SECCOMP, -EOPNOTSUPP,
					   "its seccomp filter asks another process "
					   "(SECCOMP_RET_USER_NOTIF)");
	m->shared = r;
	from = c->tid == c->pid ? 0 : m->shared;
	m->filter = ckpt_alloc(c->arena, n * sizeof(*m->filter));
	for (size_t i = from; i < n; i++)
		m->filter[m->n_filter++] = keep(c->arena, &filter[i]);
	return 0;
}

/* ---- plan ---- */

static const Ckpt__Seccomp *of_thread(const struct ckpt_thread *t)
{
	for (size_t i = 0; i < t->n_state; i++)
		if (t->state[i]->kind == &ckpt_kind_seccomp)
			return (const void *)t->state[i]->msg;
	return NULL;
}

/* So many does every thread have in common. */
static size_t common(const struct ckpt_task *task)
{
	size_t least = SIZE_MAX;

	for (size_t i = 0; i < task->n_threads; i++) {
		const Ckpt__Seccomp *m = of_thread(&task->threads[i]);
		size_t n = m ? m->shared : 0;

		least = n < least ? n : least;
	}
	return least;
}

static int check(const struct ckpt_object *obj, const Ckpt__Seccomp *m, const Ckpt__Seccomp *leader,
		 bool leads, struct ckpt_err *err)
{
	size_t most = leader ? leader->n_filter : 0;

	if (m->n_filter > FILTERS_MAX || (leads ? m->shared != m->n_filter : m->shared > most))
		return ckpt_fail(err, -EBADMSG, "seccomp %u: %zu filters, %u shared", obj->id,
				 m->n_filter, m->shared);
	for (size_t i = 0; i < m->n_filter; i++) {
		const ProtobufCBinaryData *prog = &m->filter[i]->program;
		struct ckpt_filter f = { (const void *)prog->data,
					 prog->len / sizeof(struct sock_filter), false };

		if (prog->len % sizeof(struct sock_filter) || !ckpt_filter_sane(&f))
			return ckpt_fail(err, -EBADMSG, "seccomp %u: filter %zu is none", obj->id,
					 i);
	}
	return 0;
}

static void put_on(struct ckpt_planner *p, const Ckpt__Seccomp__Filter *f, unsigned int flags)
{
	struct sock_fprog prog = { .len = f->program.len / sizeof(struct sock_filter) };

	prog.filter = (void *)(intptr_t)ckpt_late_data(p, f->program.data, f->program.len);
	/* SPEC_ALLOW: what the thread has chosen of that is set by another kind. TSYNC returns the
	 * thread with which it cannot be done: everything but 0 is a failure. */
	flags |= SECCOMP_FILTER_FLAG_SPEC_ALLOW | (f->log ? SECCOMP_FILTER_FLAG_LOG : 0);
	ckpt_call_late_want(p, CKPT_AFTER_COMMIT, SYS_seccomp,
			    (int64_t[6]){ SECCOMP_SET_MODE_FILTER, flags,
					  ckpt_late_data(p, &prog, sizeof(prog)) },
			    0);
}

static void emit(struct ckpt_planner *p, const struct ckpt_task *task, const Ckpt__Seccomp *m,
		 const Ckpt__Seccomp *leader, bool leads)
{
	size_t n = common(task);
	bool several = task->n_threads > 1;

	for (size_t i = 0; leads && i < n; i++)
		put_on(p, m->filter[i], several ? SECCOMP_FILTER_FLAG_TSYNC : 0);
	if (n && several)
		ckpt_leader_first(p, CKPT_AFTER_COMMIT);
	for (size_t i = n; leader && i < m->shared; i++)
		put_on(p, leader->filter[i], 0);
	for (size_t i = 0; !leads && i < m->n_filter; i++)
		put_on(p, m->filter[i], 0);
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Seccomp *m = (const void *)obj->msg;
	const struct ckpt_task *task = ckpt_snapshot_task(ckpt_planner_snapshot(p), obj->task);
	const struct ckpt_host *host = ckpt_planner_host(p);
	const Ckpt__Seccomp *leader;
	bool leads;
	int r;

	if (!task || !task->n_threads)
		return ckpt_fail(err, -EBADMSG, "seccomp %u: of no task", obj->id);
	leads = obj->tid == task->pid;
	leader = of_thread(&task->threads[0]);
	r = check(obj, m, leader, leads, err);
	if (r < 0)
		return r;
	if (host && (host->filtered || !ckpt_host_has_init_cap(host, CAP_SYS_ADMIN)))
		ckpt_problem(p, CKPT_E_PRIVILEGE,
			     "process %d has seccomp filters, which takes cap_sys_admin and a ckpt "
			     "that runs under none",
			     task->pid);
	else
		emit(p, task, m, leader, leads);
	return 0;
}

const struct ckpt_kind ckpt_kind_seccomp = {
	.name = "seccomp",
	.scope = CKPT_PER_THREAD,
	.message = &ckpt__seccomp__descriptor,
	.collect = collect,
	.plan = plan,
};
