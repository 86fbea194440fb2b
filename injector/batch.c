/* SPDX-License-Identifier: Apache-2.0 */
/* Many system calls of a thread for the price of one stop. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/text.h"
#include "injector/batch.h"
#include "injector/filters.h"
#include "injector/ptrace.h"
#include "injector/questions.h"

#define CALLS_MAX 64
#define DATA_MAX 4096
#define CHAIN_MAX 12288 /* CALLS_MAX of them, with nothing to pop behind `syscall` */
#define GIVEN (-1)
#define WORDS_OF_STORE 3
#define UNANSWERED INT64_MIN
#define STATUS 8192
#define NOWHERE (1ull << 62) /* an address that is no argument of any call */

struct question {
	struct ckpt_call call; /* its buf is not used */
	size_t at;             /* of its buffer, in script.in */
	uint64_t fourth;       /* argument of all of its chain */
	int result_of;         /* another question, by its place: argument 0; or GIVEN */
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
	bool proc_is_ours;
};

struct ckpt_round {
	pid_t answers; /* whose answers these are */
	struct script asked;
	bool in_chain[CALLS_MAX], done[CALLS_MAX];
	int64_t ret[CALLS_MAX];
	uint8_t out[DATA_MAX];
};

static void add_question(struct script *s, const struct ckpt_call *call)
{
	s->q[s->n++] = (struct question){ *call, s->in_len, call->arg[3], GIVEN };
	s->in_len += (call->buf_len + 7) & ~(size_t)7;
}

static void add_page_questions(struct script *s)
{
	memset(s->in, 0, 8);
	for (size_t i = 0; i < CKPT_N_PAGE_QUESTIONS; i++) {
		add_question(s, &ckpt_page_questions[i]);
		s->q[s->n - 1].fourth = ckpt_page_questions[0].arg[3];
		s->q[s->n - 1].result_of = i ? 0 : GIVEN;
	}
}

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

void ckpt_batch_reset(struct ckpt_batch *b)
{
	/* May it look at us? That tells of Landlock (engine/kinds/landlock.c). */
	const struct ckpt_call witness = { SYS_get_robust_list, { getpid() }, -1, NULL, 0, 0 };

	memset(b, 0, sizeof(*b));
	b->proc_is_ours = proc_is_ours();
	for (int of_leader = 0; of_leader < 2; of_leader++) {
		size_t n = of_leader ? ckpt_n_first_questions : CKPT_N_OF_THREAD_QUESTIONS;

		for (size_t i = 0; i < n; i++)
			add_question(&b->learned[of_leader], &ckpt_first_questions[i]);
		add_question(&b->learned[of_leader], &witness);
	}
}

struct ckpt_batch *ckpt_batch_open(struct ckpt_arena *arena)
{
	struct ckpt_batch *b = ckpt_new(arena, struct ckpt_batch);

	ckpt_batch_reset(b);
	return b;
}

struct ckpt_round *ckpt_round_open(struct ckpt_arena *arena)
{
	return ckpt_new(arena, struct ckpt_round);
}

void ckpt_round_forget(struct ckpt_round *round)
{
	round->answers = 0;
}

/* ---- learning ---- */

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

/* T is asked from now on, so what the one before was asked is known. */
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
	if (!ckpt_only_asks(call) || call->buf_arg > 2 || call->arg[4] || call->arg[5] ||
	    s->n == CALLS_MAX || s->in_len + len > DATA_MAX)
		return;
	if (len)
		memcpy(s->in + s->in_len, call->buf, call->buf_len);
	add_question(s, call);
}

bool ckpt_round_answer(const struct ckpt_round *round, const struct ckpt_tracee *t,
		       struct ckpt_call *call)
{
	if (round->answers != t->tid)
		return false;
	for (size_t i = 0; i < round->asked.n; i++) {
		if (!round->done[i] || !same(&round->asked, i, call))
			continue;
		call->ret = round->ret[i];
		if (call->buf_arg >= 0)
			memcpy(call->buf, round->out + round->asked.q[i].at, call->buf_len);
		return true;
	}
	return false;
}

/* ---- can it be done? ---- */

/* One whose default is to be ignored, and that the program does not catch. */
static int find_signal(struct ckpt_batch *b, pid_t pid)
{
	static const int candidates[] = { SIGWINCH, SIGURG };
	char status[STATUS];
	uint64_t caught;

	if (!b->proc_is_ours || ckpt_proc_read(pid, "status", status, sizeof(status)) <= 0 ||
	    !has_one_number(status))
		return -1;
	caught = ckpt_status_number(status, "SigCgt", 16);
	for (int i = 0; i < 2; i++) {
		if (!(caught & 1ull << (candidates[i] - 1)))
			return candidates[i];
	}
	return -1;
}

static bool has_code_for_chains(const struct ckpt_gadgets *g)
{
	return g->pop_rax && g->pop_rdi && g->pop_rsi && g->pop_rdx && g->store;
}

static bool can_chain(struct ckpt_batch *b, struct ckpt_tracee *t)
{
	const struct ckpt_gadgets *g = &t->proc->gadgets;

	if (!has_code_for_chains(g))
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
	/* four registers, the call, what it pops, the answer */
	return 8 + 1 + g->pops / 8 + WORDS_OF_STORE;
}

/* ---- chains ---- */

/* Answers first, then buffers. */
static size_t buffers_at(const struct ckpt_round *round)
{
	return round->asked.n * 8;
}

size_t ckpt_round_data_len(const struct ckpt_round *round)
{
	return buffers_at(round) + round->asked.in_len;
}

struct chain {
	uint64_t *word; /* NULL: they are only counted */
	size_t n;
	uint64_t at;                 /* address of the first word */
	size_t first_arg[CALLS_MAX]; /* of each question: the word that argument 0 is popped from */
	/* What a register holds already is not popped: a frame of one page is made in half of the
	 * time. */
	bool knows[3];
	uint64_t holds[3]; /* %rdi, %rsi, %rdx */
};

static void put_word(struct chain *c, uint64_t word)
{
	if (c->word)
		c->word[c->n] = word;
	c->n++;
}

static void put_argument(struct chain *c, const struct ckpt_gadgets *g, int i, uint64_t value)
{
	const uint64_t pop[3] = { g->pop_rdi, g->pop_rsi, g->pop_rdx };

	if (c->knows[i] && c->holds[i] == value)
		return;
	put_word(c, pop[i]);
	put_word(c, value);
	c->knows[i] = true;
	c->holds[i] = value;
}

/* The kernel changes none of the three. */
static void put_call(struct chain *c, const struct ckpt_gadgets *g, uint64_t nr,
		     const uint64_t arg[3])
{
	for (int i = 0; i < 3; i++)
		put_argument(c, g, i, arg[i]);
	put_word(c, g->pop_rax);
	put_word(c, nr);
	put_word(c, g->call);
	for (uint32_t i = 0; i < g->pops; i += 8)
		put_word(c, 0);
	if (g->pops)
		memset(c->knows, 0, sizeof(c->knows));
}

static void put_store(struct chain *c, const struct ckpt_gadgets *g, uint64_t addr)
{
	put_argument(c, g, g->store_in, addr);
	put_word(c, g->store);
}

/* Another one begins, with registers as ckpt_round_begin() says. */
static void start_chain(struct chain *c)
{
	c->n = 0;
	memset(c->holds, 0, sizeof(c->holds));
	memset(c->knows, 1, sizeof(c->knows));
}

size_t ckpt_chain_to_close(const struct ckpt_gadgets *g, void *end, uint64_t end_at)
{
	uint64_t words[64];
	struct chain c = { .word = words };
	size_t argument = 0;

	if (!has_code_for_chains(g) || 8 * (2 * words_of_call(g) + WORDS_OF_STORE) > sizeof(words))
		return 0;
	/* Twice: only then it is known where the argument lies. */
	for (int pass = 0; pass < 2; pass++) {
		uint64_t at = end_at - 8 * c.n;

		start_chain(&c);
		memset(c.knows, 0, sizeof(c.knows));
		for (uint32_t i = 0; i < g->pops; i += 8)
			put_word(&c, 0);
		put_store(&c, g, at + 8 * argument);
		argument = c.n + 1;
		put_call(&c, g, SYS_close, (uint64_t[3]){ -1 });
	}
	memcpy((char *)end - 8 * c.n, words, 8 * c.n);
	return 8 * c.n;
}

static void arguments_of(const struct ckpt_round *round, size_t i, uint64_t data_at,
			 uint64_t arg[6])
{
	const struct question *q = &round->asked.q[i];

	memcpy(arg, q->call.arg, sizeof(q->call.arg));
	if (q->call.buf_arg >= 0)
		arg[q->call.buf_arg] = data_at + buffers_at(round) + q->at;
}

/* The result goes to the answers, and to where the questions that want it pop it from. */
static void put_question(const struct ckpt_round *round, struct chain *c,
			 const struct ckpt_gadgets *g, size_t i, uint64_t data_at)
{
	uint64_t arg[6];

	arguments_of(round, i, data_at, arg);
	c->knows[0] &= round->asked.q[i].result_of == GIVEN;
	c->first_arg[i] = c->n + 1;
	put_call(c, g, round->asked.q[i].call.nr, arg);
	c->knows[0] &= round->asked.q[i].result_of == GIVEN;
	put_store(c, g, data_at + 8 * i);
	for (size_t k = i + 1; k < round->asked.n; k++) {
		if (round->asked.q[k].result_of != (int)i)
			continue;
		c->knows[g->store_in] = false; /* or it would count what is not yet known */
		put_store(c, g, c->at + 8 * c->first_arg[k]);
		c->knows[g->store_in] = false;
	}
}

static void put_end(struct chain *c, const struct ckpt_tracee *t)
{
	put_call(c, &t->proc->gadgets, SYS_tgkill,
		 (uint64_t[3]){ t->proc->pid, t->tid, t->proc->silent_signal });
}

/* Bytes of a chain that asks everything: one of them that asks less is not longer. */
static size_t most_of_chain(const struct ckpt_round *round, const struct ckpt_tracee *t)
{
	struct chain c = { .word = NULL };

	start_chain(&c);
	for (size_t i = 0; i < round->asked.n; i++)
		put_question(round, &c, &t->proc->gadgets, i, NOWHERE);
	put_end(&c, t);
	return 8 * c.n;
}

size_t ckpt_round_begin(struct ckpt_round *round, struct ckpt_batch *b, struct ckpt_tracee *t,
			const struct ckpt_call *first)
{
	size_t len;

	if (first && b->learns != t->tid)
		start_learning(b, t);
	round->answers = 0;
	round->asked.n = round->asked.in_len = 0;
	if (!first || !ckpt_wants_page(first))
		round->asked = b->learned[t->tid == t->proc->pid];
	else if (!t->n_filters)
		add_page_questions(&round->asked);
	memset(round->done, 0, sizeof(round->done));
	if (round->asked.n < 2 || !can_chain(b, t))
		return 0;
	len = most_of_chain(round, t);
	return len <= CHAIN_MAX ? len : 0;
}

/* Chooses what is asked now. False: nothing is left. */
static bool choose(struct ckpt_round *round, const struct ckpt_tracee *t, uint64_t data_at,
		   uint64_t *fourthp)
{
	bool any = false;

	for (size_t i = 0; i < round->asked.n; i++) {
		const struct question *q = &round->asked.q[i];
		uint64_t arg[6];

		arguments_of(round, i, data_at, arg);
		round->in_chain[i] = !round->done[i] && (!any || q->fourth == *fourthp) &&
				     ckpt_filters_bear(t, q->call.nr, arg);
		if (!round->in_chain[i])
			continue;
		any = true;
		*fourthp = q->fourth;
	}
	return any;
}

size_t ckpt_round_make(struct ckpt_round *round, struct ckpt_tracee *t,
		       const struct ckpt_chain_room *to, uint64_t *fourthp, int *signalp)
{
	const struct ckpt_gadgets *g = &t->proc->gadgets;
	uint64_t words[CHAIN_MAX / 8];
	struct chain c = { .word = words };

	if (!choose(round, t, to->data_at, fourthp))
		return 0;
	*signalp = t->proc->silent_signal;
	/* Twice: only then it is known where each word lies. */
	for (int pass = 0; pass < 2; pass++) {
		c.at = to->chain_end_at - 8 * c.n;
		start_chain(&c);
		for (size_t i = 0; i < round->asked.n; i++)
			if (round->in_chain[i])
				put_question(round, &c, g, i, to->data_at);
		put_end(&c, t);
	}
	memcpy((char *)to->chain_end - 8 * c.n, words, 8 * c.n);
	for (size_t i = 0; i < round->asked.n; i++)
		((int64_t *)to->data)[i] = UNANSWERED;
	memcpy((char *)to->data + buffers_at(round), round->asked.in, round->asked.in_len);
	return 8 * c.n;
}

bool ckpt_round_take(struct ckpt_round *round, struct ckpt_tracee *t, const void *data)
{
	const int64_t *ret = data;

	for (size_t i = 0; i < round->asked.n; i++) {
		struct question *q = &round->asked.q[i];

		if (!round->in_chain[i])
			continue;
		if (ret[i] == UNANSWERED)
			return false;
		round->ret[i] = ret[i];
		round->done[i] = true;
		if (q->result_of != GIVEN)
			q->call.arg[0] = ret[q->result_of];
		if (q->call.buf_arg >= 0)
			memcpy(round->out + q->at, (const char *)data + buffers_at(round) + q->at,
			       q->call.buf_len);
	}
	round->answers = t->tid;
	return true;
}
