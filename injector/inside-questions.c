/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What those who stand are asked at once: all go out before any answer is awaited. Threads have
 * answered for themselves when they came (libinproc/wire.h); a process is asked by the thread that
 * acts for it, for what is asked from outside as well (injector/questions.c).
 */
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "injector/inside-tree.h"
#include "injector/ptrace.h"
#include "injector/questions.h"

#define LOOKS_AT_ONCE (CKPT_WIRE_DATA / sizeof(struct ckpt_wire_look))
#define ASKED_MAX 128
#define STATUS 8192

static bool is_dumpable(const struct ckpt_call *call)
{
	return call->nr == SYS_prctl && call->arg[0] == PR_GET_DUMPABLE;
}

static void add(struct ckpt_member *m, const struct ckpt_call *call, int result_of)
{
	struct ckpt_wire_asked *a = &m->asked[m->n_asked++];

	*a = (struct ckpt_wire_asked){ .nr = call->nr,
				       .buf_arg = call->buf_arg,
				       .result_of = result_of };
	memcpy(a->arg, call->arg, sizeof(a->arg));
}

/* A few more of them are asked for a moment later if they are others by then. */
void ckpt_inside_questions(struct ckpt_inside *in, struct ckpt_member *m)
{
	char status[STATUS];
	uint64_t signals = 0;
	int page;

	m->asked = ckpt_alloc(in->arena, ASKED_MAX * sizeof(*m->asked));
	m->n_asked = 0;
	for (size_t i = 0; i < ckpt_n_first_questions; i++) {
		const struct ckpt_call *call = &ckpt_first_questions[i];

		if (call->nr == SYS_rt_sigaction)
			signals |= 1ull << (call->arg[0] - 1);
		else if (!is_dumpable(call))
			add(m, call, -1);
	}
	page = m->n_asked;
	for (int i = 0; i < CKPT_N_PAGE_QUESTIONS; i++)
		add(m, &ckpt_page_questions[i], i ? page : -1);
	if (ckpt_proc_read(m->acts, "status", status, sizeof(status)) > 0)
		signals |= ckpt_status_number(status, "SigCgt", 16) |
			   ckpt_status_number(status, "SigIgn", 16);
	for (; signals; signals &= signals - 1) {
		const struct ckpt_call call = { .nr = SYS_rt_sigaction,
						.arg = { __builtin_ctzll(signals) + 1, 0, 0, 8 },
						.buf_arg = 2 };

		add(m, &call, -1);
	}
}

/* ---- asking ---- */

static int send_looks(struct ckpt_inside *in, const struct ckpt_member *m, struct ckpt_err *err)
{
	struct ckpt_wire_look *look = ckpt_alloc(in->arena, LOOKS_AT_ONCE * sizeof(*look));
	struct ckpt_wire_request req = { .verb = CKPT_WIRE_LOOK, .buf_arg = -1 };
	const struct ckpt_asleep *a = m->asleep;

	while (a) {
		size_t n = 0;
		int r;

		for (; a && n < LOOKS_AT_ONCE; a = a->next, n++) {
			look[n] = (struct ckpt_wire_look){
				.tid = a->tid,
				.nr = a->nr,
				.sp = a->sp,
				.since = a->since ? a->since + in->clock_ahead : 0,
				.switches = a->switches
			};
			memcpy(look[n].arg, a->arg, sizeof(a->arg));
		}
		req.len = n * sizeof(*look);
		r = ckpt_inside_send(m, &req, look, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int send_all(struct ckpt_inside *in, const struct ckpt_member *m, struct ckpt_err *err)
{
	const struct ckpt_wire_request calls = { .verb = CKPT_WIRE_CALLS,
						 .tid = m->acts,
						 .buf_arg = -1,
						 .len = m->n_asked * sizeof(*m->asked) };
	const struct ckpt_wire_request threads = { .verb = CKPT_WIRE_THREADS, .buf_arg = -1 };
	const struct ckpt_wire_request excluded = { .verb = CKPT_WIRE_EXCLUDED, .buf_arg = -1 };
	int r = send_looks(in, m, err);

	if (r >= 0)
		r = ckpt_inside_send(m, &calls, m->asked, err);
	if (r >= 0 && m->n_excluded)
		r = ckpt_inside_send(m, &excluded, NULL, err);
	return r < 0 ? r : ckpt_inside_send(m, &threads, NULL, err);
}

/* ---- answers ---- */

static int bad(const struct ckpt_member *m, const char *what, struct ckpt_err *err)
{
	return ckpt_fail(err, -EBADMSG, "process %d: cannot read %s", m->pid, what);
}

static int receive_calls(struct ckpt_inside *in, struct ckpt_member *m, struct ckpt_err *err)
{
	int64_t r = ckpt_inside_receive(in, m, NULL, err);

	if (r == -ECONNRESET)
		return r;
	if (r < 0 || in->reply.len != m->n_asked * sizeof(*m->asked))
		return bad(m, "what it is asked", err);
	memcpy(m->asked, in->data, in->reply.len);
	return 0;
}

static int receive_excluded(struct ckpt_inside *in, struct ckpt_member *m, struct ckpt_err *err)
{
	const struct ckpt_wire_range *range = (const void *)in->data;
	int64_t n = ckpt_inside_receive(in, m, NULL, err);

	if (n < 0)
		return n;
	if ((uint64_t)n != in->reply.len / sizeof(*range))
		return bad(m, "what it leaves out", err);
	m->excluded = ckpt_alloc(in->arena, n * sizeof(*m->excluded));
	for (m->n_excluded = 0; m->n_excluded < (size_t)n; m->n_excluded++)
		m->excluded[m->n_excluded] = (struct ckpt_span){
			range[m->n_excluded].start,
			range[m->n_excluded].start + range[m->n_excluded].len,
		};
	return 0;
}

/* Those of one reply; how many. */
static int take_threads(struct ckpt_inside *in, struct ckpt_member *m, struct ckpt_err *err)
{
	size_t len = in->reply.len;
	char *data = memcpy(ckpt_alloc(in->arena, len), in->data, len);
	int n = 0;

	for (size_t at = 0; at + sizeof(struct ckpt_wire_thread) <= len; n++) {
		const struct ckpt_wire_thread *t = (void *)(data + at);
		size_t i = ckpt_inside_index(m, t->tid);

		at += sizeof(*t) + (((size_t)t->xstate_len + 7) & ~(size_t)7);
		if (at > len || i == m->n_tids)
			return bad(m, "its registers", err);
		m->threads[i] = t;
	}
	return n ? n : bad(m, "its registers", err);
}

static int receive_threads(struct ckpt_inside *in, struct ckpt_member *m, struct ckpt_err *err)
{
	/* One more, for who is none of them. */
	m->threads = ckpt_alloc(in->arena, (m->n_tids + 1) * sizeof(*m->threads));
	for (size_t n = 0; n < m->n_tids;) {
		int64_t r = ckpt_inside_receive(in, m, NULL, err);

		if (r >= 0)
			r = take_threads(in, m, err);
		if (r < 0)
			return r;
		n += r;
	}
	return 0;
}

static int receive_all(struct ckpt_inside *in, struct ckpt_member *m, struct ckpt_err *err)
{
	int r = receive_calls(in, m, err);

	if (r >= 0 && m->n_excluded)
		r = receive_excluded(in, m, err);
	return r < 0 ? r : receive_threads(in, m, err);
}

int ckpt_inside_ask_ahead(struct ckpt_inside *in, struct ckpt_err *err)
{
	int r = 0;

	for (struct ckpt_member *m = in->members; r >= 0 && m; m = m->next) {
		if (m->state != CKPT_MEMBER_PARKED)
			continue;
		if (!m->asked) /* it was found when its parent stood */
			ckpt_inside_questions(in, m);
		r = send_all(in, m, err);
	}
	if (r >= 0)
		r = ckpt_inside_copy_order(in, err);
	for (struct ckpt_member *m = in->members; r >= 0 && m; m = m->next)
		if (m->state == CKPT_MEMBER_PARKED)
			r = receive_all(in, m, err);
	return r;
}

/* ---- what is known by that ---- */

static bool is_first_argument(const struct ckpt_wire_question *q, const struct ckpt_wire_answer *a,
			      uint64_t arg)
{
	pid_t asker;

	if (q->arg != CKPT_WIRE_ASKER)
		return arg == q->arg;
	asker = getpid();
	return arg == (uint64_t)asker && !memcmp(a->buf, &asker, sizeof(asker));
}

static bool has_said(const struct ckpt_wire_thread *t, struct ckpt_call *call)
{
	static const struct ckpt_wire_question questions[] = { CKPT_WIRE_QUESTIONS };

	for (size_t i = 0; i < CKPT_WIRE_N_QUESTIONS; i++) {
		if (call->nr != questions[i].nr || call->buf_arg != questions[i].buf_arg ||
		    (call->buf_arg >= 0 && call->buf_len != questions[i].buf_len) ||
		    (call->buf_arg &&
		     !is_first_argument(&questions[i], &t->answer[i], call->arg[0])) ||
		    (call->buf_arg != 1 && call->arg[1] != questions[i].second) || call->arg[2])
			continue;
		call->ret = t->answer[i].ret;
		if (call->buf_arg >= 0)
			memcpy(call->buf, t->answer[i].buf, call->buf_len);
		return true;
	}
	return false;
}

/* Which argument is a buffer, or was put in there, is no part of the question. */
static bool is_same(const struct ckpt_member *m, const struct ckpt_wire_asked *a,
		    const struct ckpt_call *call)
{
	if (call->nr != a->nr || call->buf_arg != a->buf_arg || call->arg[4] || call->arg[5] ||
	    (call->buf_arg >= 0 && call->buf_len > sizeof(a->buf)))
		return false;
	for (int i = 0; i < 4; i++) {
		uint64_t arg = i || a->result_of < 0 ? a->arg[i] :
						       (uint64_t)m->asked[a->result_of].ret;

		if (i != a->buf_arg && call->arg[i] != arg)
			return false;
	}
	return true;
}

bool ckpt_inside_answered(struct ckpt_member *m, pid_t tid, struct ckpt_call *call)
{
	const struct ckpt_wire_thread *t = m->threads[ckpt_inside_index(m, tid)];

	if (is_dumpable(call)) {
		call->ret = m->dumpable;
		return true;
	}
	if (t && has_said(t, call))
		return true;
	for (size_t i = 0; tid == m->acts && i < m->n_asked; i++) {
		if (!is_same(m, &m->asked[i], call))
			continue;
		call->ret = m->asked[i].ret;
		if (call->buf_arg >= 0)
			memcpy(call->buf, m->asked[i].buf, call->buf_len);
		return true;
	}
	return false;
}
