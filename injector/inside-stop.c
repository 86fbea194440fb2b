/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking a process tree to stop by itself. Every thread is sent the reserved signal; a process
 * whose threads are all parked connects and says hello. What does not answer is asked again, more
 * and more rarely: each time costs its threads a moment. Children are found when their parents
 * stand.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/clocks.h"
#include "injector/freeze.h"
#include "injector/inside-tree.h"
#include "injector/ptrace.h"
#include "injector/target.h"

#define MS 1000000ull
#define TRY_MS 1000   /* how long a call is waited for */
#define NEW_MS 350    /* threads that come into being meanwhile are called, too */
#define REST_MS 200   /* until the next try */
#define LOOK_MS 1     /* between two looks at what is there */
#define LOOKS_MS 20   /* at the start; then they are rarer */
#define LOOK_NS 10000 /* more for each thread: on its way it needs the processor that we take */
#define RARE_MS 5
#define HURRY_NS 50000 /* where a thread was missed by chance */
#define DISABLED_MS 20
#define TIDS_MAX (CKPT_WIRE_DATA / sizeof(int32_t))

/* ---- calling ---- */

struct call {
	struct ckpt_inside *in;
	struct ckpt_member *m;
	siginfo_t info;
	size_t next; /* in m->called: threads are listed in the same order each time */
	const struct ckpt_asleep *asleep; /* so are these: from here on */
	bool led;  /* somebody is in the handler, and calls who has to be called again, */
	bool late; /* unless who led has given up, and another one leads */
	unsigned int n_refused;
};

static bool was_called(struct call *call, pid_t tid)
{
	const struct ckpt_member *m = call->m;

	for (size_t i = 0; i < m->n_called; i++) {
		size_t at = (call->next + i) % m->n_called;

		if (m->called[at] == tid) {
			call->next = at + 1;
			return true;
		}
	}
	return false;
}

/* It was called, and is neither in the handler nor about to be: it was in the vDSO, where nobody
 * can be held, or all were let go since one did not come. */
static bool has_slipped(struct call *call, pid_t tid)
{
	uint64_t bit = 1ull << (call->in->opts.signal - 1);
	char status[8192];
	bool is_in;

	if ((call->led && !call->late) ||
	    ckpt_proc_read(tid, "status", status, sizeof(status)) <= 0)
		return false;
	is_in = ckpt_status_number(status, "SigBlk", 16) & bit;
	call->led |= is_in;
	return !(call->late ? is_in : call->led) &&
	       !(ckpt_status_number(status, "SigPnd", 16) & bit);
}

static const struct ckpt_asleep *asleep(struct call *call, pid_t tid)
{
	const struct ckpt_asleep *a = call->asleep;

	while (a && a->tid != tid)
		a = a->next;
	for (const struct ckpt_asleep *all = call->m->asleep; !a && all; all = all->next)
		a = all->tid == tid ? all : NULL;
	if (a)
		call->asleep = a->next;
	return a;
}

static int send_signal(struct call *call, pid_t tid, int sig)
{
	const struct ckpt_asleep *a = asleep(call, tid);
	const struct ckpt_inside *in = call->in;
	struct ckpt_wire_sleep sleep = { 0 };

	if (a && a->since)
		sleep = (struct ckpt_wire_sleep){ a->since + in->clock_ahead,
						  in->token ^ a->switches };
	memcpy((char *)&call->info + CKPT_WIRE_SLEEP_AT, &sleep, sizeof(sleep));
	return syscall(SYS_rt_tgsigqueueinfo, call->m->pid, tid, sig, &call->info);
}

/* Each once, but where nobody is there yet who could lead. */
static int call_thread(void *arg, pid_t tid, struct ckpt_err *err)
{
	struct call *call = arg;
	struct ckpt_member *m = call->m;
	bool again = was_called(call, tid);

	(void)err;
	if ((m->state == CKPT_MEMBER_HOOKS && tid == m->leader) ||
	    (tid == m->pid && tid != m->acts))
		return 0;
	if (again && !has_slipped(call, tid))
		return 0;
	call->in->hurry |= again;
	if (!again) {
		m->called = ckpt_grow(call->in->arena, m->called, m->n_called, &m->called_room, 16,
				      sizeof(*m->called));
		m->called[m->n_called++] = tid;
	}
	if (send_signal(call, tid, call->in->opts.signal) < 0 && errno == EAGAIN)
		call->n_refused++;
	return 0;
}

/* A thread of libc's own that blocks the signal. Until the leader listens to that other one,
 * libc ignores it; in the handler it is blocked. */
static int call_deaf(void *arg, pid_t tid, struct ckpt_err *err)
{
	struct call *call = arg;
	uint64_t blocked, bit = 1ull << (call->in->opts.signal - 1);
	const uint64_t libc = 1ull << (CKPT_WIRE_LIBC_SIGNAL - 1);
	char status[8192];

	(void)err;
	if (tid == call->m->pid || ckpt_proc_read(tid, "status", status, sizeof(status)) <= 0)
		return 0;
	blocked = ckpt_status_number(status, "SigBlk", 16);
	if (!(blocked & bit) || (blocked & libc) ||
	    !(ckpt_status_number(status, "SigCgt", 16) & libc))
		return 0;
	call->in->hurry = true;
	send_signal(call, tid, CKPT_WIRE_LIBC_SIGNAL);
	return 0;
}

/* Those of timers are known from before; looking at all is for later. */
static int call_all_deaf(struct call *call, struct ckpt_err *err)
{
	if (call->late)
		return ckpt_each_thread(call->m->pid, call_deaf, call, err);
	for (const struct ckpt_asleep *a = call->m->asleep; a; a = a->next) {
		if (a->nr == SYS_rt_sigtimedwait)
			call_deaf(call, a->tid, err);
	}
	return 0;
}

static int call_threads(struct ckpt_inside *in, struct ckpt_member *m, struct ckpt_err *err)
{
	uint64_t tried = ckpt_now_ns() - m->try_began;
	struct call call = { .in = in, .m = m, .led = m->state == CKPT_MEMBER_HOOKS };
	int r;

	call.late = tried > LOOKS_MS * MS;
	call.info.si_signo = in->opts.signal;
	call.info.si_code = SI_QUEUE;
	call.info.si_pid = getpid();
	call.info.si_uid = getuid();
	call.info.si_value.sival_ptr = (void *)in->token;
	r = ckpt_each_thread(m->pid, call_thread, &call, err);
	if (r >= 0)
		r = call_all_deaf(&call, err);
	if (r >= 0 && call.n_refused)
		return ckpt_refuse(
			err, CKPT_E_NO_ANSWER, -EAGAIN,
			"process %d: no more signals can be queued for it (RLIMIT_SIGPENDING)",
			m->pid);
	return r;
}

/* Begins the next try, with a token that is taken for fresh. */
static int begin(struct ckpt_inside *in, struct ckpt_member *m, uint64_t now, struct ckpt_err *err)
{
	int r = 0;

	m->try_began = now;
	m->n_called = 0;
	if (in->listener < 0 || now - in->token_at > TRY_MS * MS)
		r = ckpt_inside_listen(in, err);
	if (!in->frozen_at)
		in->frozen_at = now;
	return r;
}

/* Calls it if it is time for that. */
static int call(struct ckpt_inside *in, struct ckpt_member *m, uint64_t now, struct ckpt_err *err)
{
	int r = 0;

	/* Connected, but no word of it yet: it runs its hooks. */
	if (now < m->not_before || (m->sock >= 0 && m->state == CKPT_MEMBER_RUNS))
		return 0;
	if (m->try_began && now - m->try_began > TRY_MS * MS) {
		m->try_began = 0;
		m->not_before = now + REST_MS * MS;
		return ckpt_inside_why(in, m, err);
	}
	if (!m->try_began) {
		m->acts = ckpt_target_acts(m->pid);
		/* Only after hooks: a look takes time in which a busy tree changes, and the next
		 * try would fail, too. */
		if (m->state == CKPT_MEMBER_HOOKS)
			r = ckpt_inside_look_again(in, m, err);
		if (r >= 0)
			r = begin(in, m, now, err);
	}
	if (r >= 0 && now - m->try_began < NEW_MS * MS)
		r = call_threads(in, m, err);
	return r;
}

/* ---- answers ---- */

/* By these numbers it is read: they have to be those of its threads, whatever it says. */
static bool are_own(const struct ckpt_member *m, const int32_t *tid, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char path[48];
		size_t k = 0;

		while (k < m->n_called && m->called[k] != tid[i])
			k++;
		if (k < m->n_called)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%d", m->pid, tid[i]);
		if (access(path, F_OK) < 0)
			return false;
	}
	return true;
}

static void keep_tids(struct ckpt_inside *in, struct ckpt_member *m, const int32_t *tid, size_t n)
{
	m->leader = tid[0];
	m->tids = ckpt_alloc(in->arena, (n + 1) * sizeof(*m->tids));
	memcpy(m->tids, tid, n * sizeof(*m->tids));
	m->n_tids = n;
	for (size_t i = 1; i < n; i++)
		if (tid[i] == m->pid) {
			m->tids[i] = tid[0];
			m->tids[0] = m->pid;
		}
	m->acts = m->tids[0];
}

static int heard(struct ckpt_inside *in, struct ckpt_member *m, struct ckpt_err *err)
{
	struct ckpt_wire_hello hello;
	int32_t tid[TIDS_MAX];
	int r = ckpt_inside_hello(m->sock, &hello, tid, TIDS_MAX);

	if (r == -EAGAIN)
		return 0;
	if (r < 0 || !are_own(m, tid, hello.n_threads)) {
		ckpt_close_fd(&m->sock);
		m->sock = -1;
		m->state = CKPT_MEMBER_RUNS;
		return 0;
	}
	m->excuse = hello.excuse;
	m->own_fd = hello.own_fd;
	m->dumpable = hello.dumpable;
	m->childless = hello.childless;
	m->n_excluded = hello.n_excluded;
	m->try_began = 0;
	m->state = CKPT_MEMBER_RUNS;
	switch (hello.excuse) {
	case CKPT_WIRE_PARKED:
		m->state = CKPT_MEMBER_PARKED;
		keep_tids(in, m, tid, hello.n_threads);
		return 0;
	case CKPT_WIRE_AGAIN:
		m->state = CKPT_MEMBER_HOOKS;
		m->leader = tid[0];
		return 0;
	case CKPT_WIRE_HOOK: /* it knows */
		if (m->toldp)
			*m->toldp = true;
		return ckpt_refuse(err, CKPT_E_HOOK_REFUSED, -ECANCELED,
				   "process %d: one of its hooks refused the checkpoint (%d)",
				   m->pid, hello.value);
	default:
		m->not_before = ckpt_now_ns() + DISABLED_MS * MS;
		ckpt_close_fd(&m->sock);
		m->sock = -1;
		return 0;
	}
}

/* Anybody may connect who guesses the name; only members are listened to. */
static void take_connections(struct ckpt_inside *in)
{
	for (;;) {
		struct ucred peer;
		socklen_t len = sizeof(peer);
		struct ckpt_member *m;
		int fd = accept4(in->listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			return;
		m = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 ?
			    NULL :
			    ckpt_inside_member(in, peer.pid);
		if (!m || m->sock >= 0 || m->state != CKPT_MEMBER_RUNS) {
			close(fd);
			continue;
		}
		m->sock = fd;
		ckpt_inside_limit(m);
	}
}

static long until_next_look(const struct ckpt_inside *in)
{
	uint64_t ns = LOOK_MS * MS;

	if (in->hurry)
		return HURRY_NS;
	if (ckpt_now_ns() - in->frozen_at >= LOOKS_MS * MS)
		return RARE_MS * MS;
	for (const struct ckpt_member *m = in->members; m; m = m->next)
		ns += m->state == CKPT_MEMBER_RUNS ? m->n_called * LOOK_NS : 0;
	return ns < RARE_MS * MS ? ns : RARE_MS * MS;
}

/* Until something happens, or it is time to call again. */
static int listen_a_moment(struct ckpt_inside *in, struct ckpt_err *err)
{
	struct pollfd *p = calloc(1 + in->n_members, sizeof(*p));
	struct timespec moment = { 0, until_next_look(in) };
	size_t n = 0;
	int r = 0;

	if (!p)
		return ckpt_fail(err, -ENOMEM, "cannot wait for answers");
	p[n++] = (struct pollfd){ in->listener, POLLIN, 0 };
	for (struct ckpt_member *m = in->members; m; m = m->next)
		if (m->sock >= 0 && m->state != CKPT_MEMBER_PARKED)
			p[n++] = (struct pollfd){ m->sock, POLLIN, 0 };
	in->hurry = false;
	ppoll(p, n, &moment, NULL);
	free(p);
	take_connections(in);
	for (struct ckpt_member *m = in->members; r >= 0 && m; m = m->next)
		if (m->sock >= 0 && m->state != CKPT_MEMBER_PARKED)
			r = heard(in, m, err);
	return r;
}

/* One look at everybody. *DONEP: all stand, and all their children are known. */
static int go_round(struct ckpt_inside *in, uint64_t now, bool *donep, struct ckpt_err *err)
{
	size_t n_new = 0, n_stopped = 0;
	int r = 0;

	*donep = true;
	for (struct ckpt_member *m = in->members; r >= 0 && m; m = m->next) {
		if (ckpt_inside_stands(m)) {
			if (!m->children_seen)
				r = ckpt_inside_add_children(in, m, &n_new, err);
		} else if (ckpt_inside_is_stopped(in, m)) {
			n_stopped++;
		} else if (m->state == CKPT_MEMBER_RUNS || m->state == CKPT_MEMBER_HOOKS) {
			*donep = false;
			if (!ckpt_inside_has_ended(m))
				r = call(in, m, now, err);
		}
	}
	*donep &= !n_new;
	if (r < 0 || !*donep || !n_stopped)
		return r;
	*donep = false; /* they may have children */
	in->hurry = true;
	return ckpt_inside_hold_stopped(in, err);
}

static int out_of_time(const struct ckpt_inside *in, struct ckpt_err *err)
{
	struct ckpt_member *m = in->members;
	int r;

	while (m && m->state != CKPT_MEMBER_RUNS && m->state != CKPT_MEMBER_HOOKS)
		m = m->next;
	if (!m)
		return 0;
	if (m->excuse == CKPT_WIRE_DISABLED)
		return ckpt_refuse(err, CKPT_E_DISABLED, -ETIMEDOUT,
				   "process %d: it has disabled checkpoints for longer than %u s",
				   m->pid, in->opts.wait_s);
	r = m->sock >= 0 ? 0 : ckpt_inside_why(in, m, err);
	if (r < 0)
		return r;
	if (m->sock >= 0)
		return ckpt_refuse(err, CKPT_E_NO_ANSWER, -ETIMEDOUT,
				   "process %d: its hooks take longer than %u s", m->pid,
				   in->opts.wait_s);
	return ckpt_refuse(err, CKPT_E_NO_ANSWER, -ETIMEDOUT,
			   "process %d: it does not answer within %u s", m->pid, in->opts.wait_s);
}

static int stop(struct ckpt_inside *in, struct ckpt_err *err)
{
	bool done = false;
	int r = 0;

	while (r >= 0 && !done) {
		uint64_t now = ckpt_now_ns();

		if (now > in->deadline)
			r = out_of_time(in, err);
		if (r >= 0)
			r = go_round(in, now, &done, err);
		if (r >= 0 && !done)
			r = listen_a_moment(in, err);
		if (r >= 0 && done)
			r = ckpt_inside_settle(in, &done, err);
	}
	return r < 0 ? r : ckpt_inside_ask_ahead(in, err);
}

int ckpt_inside_stop(struct ckpt_inside *in, struct ckpt_err *err)
{
	int r = ckpt_inside_look_ahead(in, err);

	in->clock_ahead = ckpt_clock_ahead(in->members->pid, CKPT_MONOTONIC);
	if (r >= 0)
		r = ckpt_inside_listen(in, err);
	in->deadline = ckpt_now_ns() + in->opts.wait_s * 1000 * MS;
	if (r >= 0)
		r = stop(in, err);
	if (r < 0) {
		char sentence[1400];

		ckpt_err_sentence(err, sentence, sizeof(sentence));
		ckpt_inside_let_go(in, false, sentence);
	}
	return r;
}

void ckpt_inside_let_go_one(struct ckpt_member *m, bool done, const char *why)
{
	ckpt_inside_go(m, done, why);
	ckpt_inside_copy_end(m);
	if (m->held)
		m->held->ops->thaw(m->held);
	m->held = NULL;
	ckpt_close_fd(&m->pidfd);
	m->pidfd = -1;
}

void ckpt_inside_let_go(struct ckpt_inside *in, bool done, const char *why)
{
	/* First, so that a call that was one too many leads nowhere. */
	ckpt_close_fd(&in->listener);
	in->listener = -1;
	for (struct ckpt_member *m = in->members; m; m = m->next)
		ckpt_inside_let_go_one(m, done, why);
}
