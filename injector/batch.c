/* SPDX-License-Identifier: Apache-2.0 */
/* Many system calls of a thread for the price of one stop. */
#include <linux/keyctl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/text.h"
#include "injector/batch.h"
#include "injector/filters.h"
#include "injector/ptrace.h"

#define CALLS_MAX 64
#define DATA_MAX 4096
#define CHAIN_MAX 12288 /* CALLS_MAX of them, with nothing to pop behind `syscall` */
#define UNANSWERED INT64_MIN
#define STATUS 8192

#ifndef PR_GET_MDWE
#define PR_GET_MDWE 66 /* Linux 6.3 */
#endif
#ifndef PR_GET_MEMORY_MERGE
#define PR_GET_MEMORY_MERGE 68 /* Linux 6.4 */
#endif
#define ARCH_GET_FS 0x1003
#define ARCH_GET_GS 0x1004
#define ARCH_GET_CPUID 0x1011 /* Linux 4.12 */
#define ARCH_GET_XCOMP_SUPP 0x1021
#define ARCH_GET_XCOMP_PERM 0x1022
#define MEMBARRIER_QUERY 0
#define MEMBARRIER_GET (1 << 9) /* Linux 6.3 */
#define PERSONALITY_QUERY 0xffffffff
#define THREAD_KEYRING ((uint32_t)KEY_SPEC_THREAD_KEYRING)
#define PROCESS_KEYRING ((uint32_t)KEY_SPEC_PROCESS_KEYRING)

struct question {
	struct ckpt_call call; /* its buf is not used */
	size_t at;             /* of its buffer, in script.in */
};

struct script {
	struct question q[CALLS_MAX];
	size_t n, in_len;
	uint8_t in[DATA_MAX]; /* what the buffers held before */
};

struct ckpt_batch {
	struct script learned[2]; /* of the last thread, of the last leader: a process is asked more
				   */
	struct script now;        /* of LEARNS */
	pid_t learns;
	bool leader;
	int proc_is_ours; /* 1 or -1; 0: not looked at */

	pid_t answers; /* whose answers these are */
	struct script asked;
	bool in_chain[CALLS_MAX], done[CALLS_MAX];
	int64_t ret[CALLS_MAX];
	uint8_t out[DATA_MAX];
};

/* What every leader is asked, for the first one, of whom nothing has been learned yet. A question
 * that is not asked after all costs less than a microsecond. */
static const struct ckpt_call first_questions[] = {
	{ SYS_brk, { 0 }, -1, NULL, 0, 0 },
	{ SYS_getitimer, { ITIMER_REAL }, 1, NULL, 32, 0 },
	{ SYS_getitimer, { ITIMER_VIRTUAL }, 1, NULL, 32, 0 },
	{ SYS_getitimer, { ITIMER_PROF }, 1, NULL, 32, 0 },
	{ SYS_prctl, { PR_GET_DUMPABLE }, -1, NULL, 0, 0 },
	{ SYS_prctl, { PR_GET_CHILD_SUBREAPER }, 1, NULL, 4, 0 },
	{ SYS_prctl, { PR_GET_THP_DISABLE }, -1, NULL, 0, 0 },
	{ SYS_prctl, { PR_GET_MDWE }, -1, NULL, 0, 0 },
	{ SYS_prctl, { PR_GET_MEMORY_MERGE }, -1, NULL, 0, 0 },
	{ SYS_arch_prctl, { ARCH_GET_XCOMP_PERM }, 1, NULL, 8, 0 },
	{ SYS_membarrier, { MEMBARRIER_GET }, -1, NULL, 0, 0 },
	{ SYS_arch_prctl, { ARCH_GET_CPUID }, -1, NULL, 0, 0 },
	{ SYS_prctl, { PR_MCE_KILL_GET }, -1, NULL, 0, 0 },
	{ SYS_prctl, { PR_GET_SECUREBITS }, -1, NULL, 0, 0 },
	{ SYS_get_mempolicy, { 0 }, 0, NULL, 4, 0 },
	{ SYS_prctl, { PR_GET_TIMERSLACK }, -1, NULL, 0, 0 },
	{ SYS_sigaltstack, { 0 }, 1, NULL, 24, 0 },
	{ SYS_personality, { PERSONALITY_QUERY }, -1, NULL, 0, 0 },
	{ SYS_modify_ldt, { 0, 0, 8 }, 1, NULL, 8, 0 },
	{ SYS_keyctl, { KEYCTL_GET_KEYRING_ID, THREAD_KEYRING }, -1, NULL, 0, 0 },
	{ SYS_keyctl, { KEYCTL_GET_KEYRING_ID, PROCESS_KEYRING }, -1, NULL, 0, 0 },
	{ SYS_prctl, { PR_GET_IO_FLUSHER }, -1, NULL, 0, 0 },
	{ SYS_prctl, { PR_GET_PDEATHSIG }, 1, NULL, 4, 0 },
	{ SYS_prctl, { PR_GET_TSC }, 1, NULL, 4, 0 },
	{ SYS_prctl, { PR_GET_TID_ADDRESS }, 1, NULL, 8, 0 },
	{ SYS_rt_sigaction, { SIGCHLD, 0, 0, 8 }, 2, NULL, 32, 0 },
	{ SYS_rt_sigaction, { SIGHUP, 0, 0, 8 }, 2, NULL, 32, 0 },
	{ SYS_rt_sigaction, { SIGINT, 0, 0, 8 }, 2, NULL, 32, 0 },
	{ SYS_rt_sigaction, { SIGQUIT, 0, 0, 8 }, 2, NULL, 32, 0 },
	{ SYS_rt_sigaction, { SIGPIPE, 0, 0, 8 }, 2, NULL, 32, 0 },
	{ SYS_rt_sigaction, { SIGTERM, 0, 0, 8 }, 2, NULL, 32, 0 },
};

static void add_question(struct script *s, const struct ckpt_call *call)
{
	s->q[s->n++] = (struct question){ *call, s->in_len };
	s->in_len += (call->buf_len + 7) & ~(size_t)7;
}

void ckpt_batch_reset(struct ckpt_batch *b)
{
	memset(b, 0, sizeof(*b));
	for (size_t i = 0; i < sizeof(first_questions) / sizeof(first_questions[0]); i++)
		add_question(&b->learned[1], &first_questions[i]);
}

struct ckpt_batch *ckpt_batch_open(struct ckpt_arena *arena)
{
	struct ckpt_batch *b = ckpt_new(arena, struct ckpt_batch);

	ckpt_batch_reset(b);
	return b;
}

/* ---- which calls ---- */

static bool prctl_asks(uint64_t option)
{
	static const uint8_t options[] = {
		PR_GET_PDEATHSIG,    PR_GET_DUMPABLE,
		PR_GET_KEEPCAPS,     PR_GET_TIMING,
		PR_GET_NAME,         PR_GET_TSC,
		PR_GET_SECUREBITS,   PR_GET_TIMERSLACK,
		PR_MCE_KILL_GET,     PR_GET_CHILD_SUBREAPER,
		PR_GET_NO_NEW_PRIVS, PR_GET_TID_ADDRESS,
		PR_GET_THP_DISABLE,  PR_GET_SPECULATION_CTRL,
		PR_GET_IO_FLUSHER,   PR_GET_MDWE,
		PR_GET_MEMORY_MERGE,
	};

	return memchr(options, option, sizeof(options)) && option < 256;
}

/* Calls that change nothing, whoever makes them: some are made that nobody will want to know of
 * this thread. */
static bool only_asks(const struct ckpt_call *call)
{
	switch (call->nr) {
	case SYS_prctl:
		return prctl_asks(call->arg[0]);
	case SYS_arch_prctl:
		return call->arg[0] == ARCH_GET_FS || call->arg[0] == ARCH_GET_GS ||
		       call->arg[0] == ARCH_GET_CPUID || call->arg[0] == ARCH_GET_XCOMP_SUPP ||
		       call->arg[0] == ARCH_GET_XCOMP_PERM;
	case SYS_sigaltstack:
		return !call->arg[0] && call->buf_arg == 1;
	case SYS_rt_sigaction:
		return !call->arg[1] && call->buf_arg == 2;
	case SYS_personality:
		return call->arg[0] == PERSONALITY_QUERY;
	case SYS_brk:
		return !call->arg[0];
	case SYS_membarrier:
		return call->arg[0] == MEMBARRIER_QUERY || call->arg[0] == MEMBARRIER_GET;
	case SYS_modify_ldt:
		return !call->arg[0];
	case SYS_keyctl: /* those two, and never to be made: asking for a session's makes one */
		return call->arg[0] == KEYCTL_GET_KEYRING_ID && !call->arg[2] &&
		       (call->arg[1] == THREAD_KEYRING || call->arg[1] == PROCESS_KEYRING);
	case SYS_get_mempolicy:
	case SYS_getitimer:
	case SYS_timer_gettime:
	case SYS_timer_getoverrun:
	case SYS_get_robust_list:
	case SYS_gettid:
	case SYS_getpid:
	case SYS_getppid:
		return true;
	default:
		return false;
	}
}

static uint64_t arg_of(const struct ckpt_call *call, int i)
{
	return i == call->buf_arg ? 0 : call->arg[i];
}

static bool same(const struct script *s, size_t i, const struct ckpt_call *call)
{
	const struct ckpt_call *c = &s->q[i].call;

	if (c->nr != call->nr || c->buf_arg != call->buf_arg || c->buf_len != call->buf_len)
		return false;
	for (int k = 0; k < 6; k++) {
		if (arg_of(c, k) != arg_of(call, k))
			return false;
	}
	return call->buf_arg < 0 || !call->buf_len ||
	       !memcmp(s->in + s->q[i].at, call->buf, call->buf_len);
}

static void start_learning(struct ckpt_batch *b, const struct ckpt_tracee *t)
{
	if (b->learns && b->now.n)
		b->learned[b->leader] = b->now;
	b->now.n = b->now.in_len = 0;
	b->learns = t->tid;
	b->leader = t->tid == t->proc->pid;
}

void ckpt_batch_learn(struct ckpt_batch *b, const struct ckpt_tracee *t,
		      const struct ckpt_call *call)
{
	struct script *s = &b->now;
	size_t len = call->buf_arg >= 0 ? (call->buf_len + 7) & ~(size_t)7 : 0;

	if (b->learns != t->tid)
		start_learning(b, t);
	/* Chains set three arguments; the fourth is the same in all of a chain, the others are
	 * zero. */
	if (!only_asks(call) || call->buf_arg > 2 || call->arg[4] || call->arg[5] ||
	    s->n == CALLS_MAX || s->in_len + len > DATA_MAX)
		return;
	if (len)
		memcpy(s->in + s->in_len, call->buf, call->buf_len);
	add_question(s, call);
}

bool ckpt_batch_answer(const struct ckpt_batch *b, const struct ckpt_tracee *t,
		       struct ckpt_call *call)
{
	if (b->answers != t->tid)
		return false;
	for (size_t i = 0; i < b->asked.n; i++) {
		if (!b->done[i] || !same(&b->asked, i, call))
			continue;
		call->ret = b->ret[i];
		if (call->buf_arg >= 0)
			memcpy(call->buf, b->out + b->asked.q[i].at, call->buf_len);
		return true;
	}
	return false;
}

/* ---- can it be done? ---- */

/* Is the number that /proc has for it the one that it has for itself? "NSpid: 7 1" of one in
 * another pid namespace. */
static bool has_one_number(const char *status)
{
	const char *s = ckpt_line_after(status, "NSpid");
	uint64_t number;

	return s && ckpt_parse_u64(&s, 10, &number) && *s == '\n';
}

/* Is the /proc that we see that of our own pid namespace? */
static bool proc_is_ours(void)
{
	char link[16] = "", status[STATUS];

	return readlink("/proc/self", link, sizeof(link) - 1) > 0 && atoi(link) == getpid() &&
	       ckpt_proc_read(getpid(), "status", status, sizeof(status)) > 0 &&
	       has_one_number(status);
}

/* One whose default is to be ignored, and that the program does not catch. */
static int find_signal(struct ckpt_batch *b, pid_t pid)
{
	static const int candidates[] = { SIGWINCH, SIGURG };
	char status[STATUS];
	uint64_t caught;

	if (!b->proc_is_ours)
		b->proc_is_ours = proc_is_ours() ? 1 : -1;
	if (b->proc_is_ours < 0 || ckpt_proc_read(pid, "status", status, sizeof(status)) <= 0 ||
	    !has_one_number(status))
		return -1;
	caught = ckpt_status_number(status, "SigCgt", 16);
	for (int i = 0; i < 2; i++) {
		if (!(caught & 1ull << (candidates[i] - 1)))
			return candidates[i];
	}
	return -1;
}

static bool can_chain(struct ckpt_batch *b, struct ckpt_tracee *t)
{
	const struct ckpt_gadgets *g = &t->proc->gadgets;

	if (!g->pop_rax || !g->pop_rdi || !g->pop_rsi || !g->pop_rdx || !g->store)
		return false;
	if (!t->proc->silent_signal)
		t->proc->silent_signal = find_signal(b, t->tid);
	if (!ckpt_filters_bear(t, SYS_tgkill,
			       (uint64_t[6]){ t->proc->pid, t->tid, t->proc->silent_signal }))
		return false;
	/* Blocked by the program it may be waited for, with signalfd(2). */
	return t->proc->silent_signal > 0 &&
	       !((t->mask | t->waits_with) & 1ull << (t->proc->silent_signal - 1));
}

static size_t words_of_call(const struct ckpt_gadgets *g)
{
	return 8 + 1 + g->pops / 8 + 3; /* four registers, the call, what it pops, the answer */
}

size_t ckpt_batch_chain_len(struct ckpt_batch *b, struct ckpt_tracee *t)
{
	const struct ckpt_gadgets *g = &t->proc->gadgets;
	size_t len;

	if (b->learns != t->tid)
		start_learning(b, t);
	b->answers = 0;
	b->asked = b->learned[t->tid == t->proc->pid];
	memset(b->done, 0, sizeof(b->done));
	if (b->asked.n < 2 || !can_chain(b, t))
		return 0;
	len = (b->asked.n + 1) * words_of_call(g) * 8;
	return len <= CHAIN_MAX ? len : 0;
}

/* ---- chains ---- */

/* Answers first, then buffers. */
static size_t buffers_at(const struct ckpt_batch *b)
{
	return b->asked.n * 8;
}

size_t ckpt_batch_data_len(const struct ckpt_batch *b)
{
	return buffers_at(b) + b->asked.in_len;
}

struct chain {
	uint64_t *word;
	size_t n;
};

static void put(struct chain *c, uint64_t gadget, uint64_t value)
{
	c->word[c->n++] = gadget;
	c->word[c->n++] = value;
}

static void put_call(struct chain *c, const struct ckpt_gadgets *g, uint64_t nr,
		     const uint64_t arg[3])
{
	put(c, g->pop_rdi, arg[0]);
	put(c, g->pop_rsi, arg[1]);
	put(c, g->pop_rdx, arg[2]);
	put(c, g->pop_rax, nr);
	c->word[c->n++] = g->call;
	for (uint32_t i = 0; i < g->pops; i += 8)
		c->word[c->n++] = 0;
}

static void put_store(struct chain *c, const struct ckpt_gadgets *g, uint64_t addr)
{
	put(c, g->store_in == 0 ? g->pop_rdi : g->store_in == 1 ? g->pop_rsi : g->pop_rdx, addr);
	c->word[c->n++] = g->store;
}

static void arguments_of(const struct ckpt_batch *b, size_t i, uint64_t data_at, uint64_t arg[6])
{
	const struct question *q = &b->asked.q[i];

	memcpy(arg, q->call.arg, sizeof(q->call.arg));
	if (q->call.buf_arg >= 0)
		arg[q->call.buf_arg] = data_at + buffers_at(b) + q->at;
}

static void put_question(const struct ckpt_batch *b, struct chain *c, const struct ckpt_gadgets *g,
			 size_t i, uint64_t data_at)
{
	uint64_t arg[6];

	arguments_of(b, i, data_at, arg);
	put_call(c, g, b->asked.q[i].call.nr, arg);
	put_store(c, g, data_at + 8 * i);
}

size_t ckpt_batch_make(struct ckpt_batch *b, struct ckpt_tracee *t, void *to, size_t len,
		       void *data, uint64_t data_at, uint64_t *fourthp, int *signalp)
{
	const struct ckpt_gadgets *g = &t->proc->gadgets;
	uint64_t words[CHAIN_MAX / 8];
	struct chain c = { words, 0 };
	bool any = false;

	for (size_t i = 0; i < b->asked.n; i++) {
		uint64_t arg[6];

		((int64_t *)data)[i] = UNANSWERED;
		arguments_of(b, i, data_at, arg);
		b->in_chain[i] = !b->done[i] && (!any || arg[3] == *fourthp) &&
				 ckpt_filters_bear(t, b->asked.q[i].call.nr, arg);
		if (!b->in_chain[i])
			continue;
		any = true;
		*fourthp = b->asked.q[i].call.arg[3];
		put_question(b, &c, g, i, data_at);
	}
	if (!any)
		return 0;
	*signalp = t->proc->silent_signal;
	put_call(&c, g, SYS_tgkill, (uint64_t[3]){ t->proc->pid, t->tid, *signalp });
	memcpy((char *)to + len - 8 * c.n, words, 8 * c.n);
	memcpy((char *)data + buffers_at(b), b->asked.in, b->asked.in_len);
	return 8 * c.n;
}

bool ckpt_batch_take(struct ckpt_batch *b, struct ckpt_tracee *t, const void *data)
{
	const int64_t *ret = data;

	for (size_t i = 0; i < b->asked.n; i++) {
		const struct question *q = &b->asked.q[i];

		if (!b->in_chain[i])
			continue;
		if (ret[i] == UNANSWERED)
			return false;
		b->ret[i] = ret[i];
		b->done[i] = true;
		if (q->call.buf_arg >= 0)
			memcpy(b->out + q->at, (const char *)data + buffers_at(b) + q->at,
			       q->call.buf_len);
	}
	b->answers = t->tid;
	return true;
}
