/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pending signals with what was sent along. They can only be taken out of their queue, so each goes
 * back to its end at once; when a mark that was put there before comes out, all have gone round and
 * the order is the old one. Never more than one is on its way.
 *
 * A timer whose signal is taken goes on, and may expire before the next checkpoint: of those that
 * wait, one says for all how often it did, as the kernel has it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include "libinproc/inproc.h"
#include "libinproc/sys.h"

#define AT_ONCE (CKPT_WIRE_DATA / sizeof(siginfo_t))
#define FIRST_QUEUED 32 /* below that there is one of each at most, and those of timers */
#define FEW_TRIES 10
#define TIMERS_MAX 8          /* of more, each signal is on its own */
#define PUT_TRIES 1000        /* a millisecond each */
#define MARK 0x636b7074       /* in si_value of the mark, */
#define TIMER_MARK (MARK + 1) /* and of those in a timer's place */

int ckpt_open_task(pid_t tid, const char *name)
{
	char path[48] = "/proc/self/task/", digits[12], *to = path + 16;
	int n = 0;

	for (; tid; tid /= 10)
		digits[n++] = '0' + tid % 10;
	while (n)
		*to++ = digits[--n];
	*to++ = '/';
	strcpy(to, name);
	return ckpt_sys(SYS_open, path, O_RDONLY | O_CLOEXEC);
}

uint64_t ckpt_status_set(pid_t tid, const char *key)
{
	char text[2048];
	const char *at;
	uint64_t set = 0;
	int64_t len;
	int fd = ckpt_open_task(tid, "status");

	if (fd < 0)
		return 0;
	len = ckpt_sys(SYS_read, fd, text, sizeof(text) - 1);
	ckpt_sys(SYS_close, fd);
	text[len > 0 ? len : 0] = '\0';
	at = strstr(text, key);
	for (at = at ? at + strlen(key) : ""; *at && *at != '\n'; at++)
		set = set << 4 | (uint64_t)(*at <= '9' ? *at - '0' : *at - 'a' + 10);
	return set;
}

/* A timer's signals, taken together: the first of them, and how often it expired in all. */
struct timer {
	siginfo_t info;
	int64_t expired;
};

/* One signal's queue, that of a thread or of its process. The thread itself moves it: the kernel
 * lets nobody else queue what looks as if the kernel had sent it, and what comes between taking and
 * putting back is as short as can be. */
struct queue {
	int sig;
	bool of_process; /* then the thread is the main one: to the kernel it is the process */
	siginfo_t *out;
	uint64_t skip, n; /* of those found, how many are not wanted, and how many are in OUT */
	struct timer timers[TIMERS_MAX];
	unsigned int n_timers;
};

/* The next one: a thread's own come before those of the process. */
static bool take(int sig, siginfo_t *info)
{
	static const struct timespec now;
	uint64_t set = 1ull << (sig - 1);

	return ckpt_sys(SYS_rt_sigtimedwait, &set, info, &now, 8) == sig;
}

/* All of a user's processes share what may be pending (RLIMIT_SIGPENDING): another one may have had
 * the place meanwhile. */
static int64_t put(bool of_process, int sig, const siginfo_t *info)
{
	static const struct timespec soon = { 0, 1000000 };
	pid_t pid = ckpt_session->pid;
	int64_t r = -EAGAIN;

	for (int i = 0; i < PUT_TRIES && r == -EAGAIN; i++) {
		if (i)
			ckpt_sys(SYS_nanosleep, &soon, NULL);
		r = of_process ?
			    ckpt_sys(SYS_rt_sigqueueinfo, pid, sig, info) :
			    ckpt_sys(SYS_rt_tgsigqueueinfo, pid, ckpt_sys(SYS_gettid), sig, info);
	}
	return r;
}

/* A thread takes those of its process as well, when it has none of its own. */
static bool has(bool of_process, int sig)
{
	return ckpt_status_set(ckpt_sys(SYS_gettid), of_process ? "\nShdPnd:\t" : "\nSigPnd:\t") &
	       1ull << (sig - 1);
}

static void make_mark(int sig, int value, siginfo_t *info)
{
	*info = (siginfo_t){ .si_signo = sig, .si_code = SI_QUEUE };
	info->si_pid = ckpt_session->pid;
	info->si_value.sival_int = value;
}

static bool is_mark(const siginfo_t *info, int value)
{
	return info->si_code == SI_QUEUE && info->si_pid == ckpt_session->pid &&
	       info->si_value.sival_int == value;
}

/* A timer's signal is kept here. True: it is the first, in whose place the mark has to be put that
 * INFO becomes. False: nothing of it goes back. */
static bool keep(struct queue *q, siginfo_t *info)
{
	int64_t expired = 1ll + info->si_overrun;
	unsigned int i = 0;

	while (i < q->n_timers && q->timers[i].info.si_timerid != info->si_timerid)
		i++;
	if (i < q->n_timers) {
		q->timers[i].expired += expired;
		return false;
	}
	if (i == TIMERS_MAX)
		return true;
	q->timers[q->n_timers++] = (struct timer){ *info, expired };
	make_mark(q->sig, TIMER_MARK + i, info);
	return true;
}

/* The first time all of them: what a timer sends from then on is not among those kept. */
static int64_t first_time(struct queue *q, siginfo_t *info)
{
	if (info->si_code == SI_TIMER && !keep(q, info))
		return 0;
	return put(q->of_process, q->sig, info);
}

static void add(struct queue *q, const siginfo_t *info)
{
	if (q->skip)
		q->skip--;
	else if (q->n < AT_ONCE)
		q->out[q->n++] = *info;
}

static int overrun(const struct timer *t)
{
	return t->expired > INT_MAX ? INT_MAX : (int)(t->expired - 1);
}

static int64_t second_time(struct queue *q, siginfo_t *info)
{
	for (unsigned int i = 0; i < q->n_timers; i++) {
		const struct timer *t = &q->timers[i];

		if (!is_mark(info, TIMER_MARK + i))
			continue;
		*info = t->info;
		info->si_overrun = overrun(t);
		break;
	}
	add(q, info);
	return put(q->of_process, q->sig, info);
}

static int64_t pass(struct queue *q, int64_t (*what)(struct queue *q, siginfo_t *info))
{
	siginfo_t info;
	int64_t r;

	make_mark(q->sig, MARK, &info);
	r = put(q->of_process, q->sig, &info);
	if (r < 0)
		return r;
	while (take(q->sig, &info) && !is_mark(&info, MARK)) {
		int64_t back = what(q, &info);

		r = r < 0 ? r : back;
	}
	return r;
}

/* Until it expires again, ns; 0: it is no signal of a timer that does. */
static int64_t left(const siginfo_t *info)
{
	struct itimerspec t = { 0 };

	if (info->si_code != SI_TIMER || ckpt_sys(SYS_timer_gettime, info->si_timerid, &t) < 0 ||
	    (!t.it_interval.tv_sec && !t.it_interval.tv_nsec))
		return 0;
	return t.it_value.tv_sec * 1000000000ll + t.it_value.tv_nsec;
}

/* Below FIRST_QUEUED what waits already refuses others, but not those of timers: all are taken
 * before the first goes back, which is the only one, if it is of another sort. A timer that expires
 * between would refuse it: that is looked for. */
static int64_t pass_few(struct queue *q)
{
	bool both = !q->of_process && has(true, q->sig), any = false, again = false;
	struct timer all = { .expired = 0 };
	int64_t r = 0, before;

	for (int i = 0; i < FEW_TRIES && (!i || again); i++) {
		siginfo_t info;

		for (before = left(&all.info); (!both || has(false, q->sig)) && take(q->sig, &info);
		     before = left(&all.info)) {
			bool is_timer = info.si_code == SI_TIMER;
			bool is_same = is_timer && all.info.si_code == SI_TIMER &&
				       info.si_timerid == all.info.si_timerid;

			if (!any)
				all = (struct timer){ info, is_timer ? 1ll + info.si_overrun : 1 };
			else if (is_same && !(i && info.si_overrun == all.info.si_overrun))
				all.expired += 1ll + info.si_overrun;
			any = true;
		}
		if (!any)
			return 0;
		if (all.info.si_code == SI_TIMER)
			all.info.si_overrun = overrun(&all);
		r = put(q->of_process, q->sig, &all.info);
		again = r >= 0 && left(&all.info) > before;
	}
	add(q, &all.info);
	return r;
}

static int64_t go_round(struct queue *q)
{
	int64_t r, back;

	q->n_timers = 0;
	if (q->sig < FIRST_QUEUED)
		return pass_few(q);
	r = pass(q, first_time);
	back = pass(q, second_time); /* in any case: what was kept goes back */
	return r < 0 ? r : back;
}

/* Those of the process come after the thread's own: these are set aside for that time. */
static int64_t go_round_process(struct queue *q)
{
	siginfo_t *own = (void *)ckpt_session->in;
	uint32_t n = 0;
	int64_t r = 0, back = 0;

	while (n < AT_ONCE && has(false, q->sig) && take(q->sig, &own[n]))
		n++;
	if (n == AT_ONCE)
		r = -EBUSY;
	else
		r = go_round(q);
	for (uint32_t i = 0; i < n && back >= 0; i++)
		back = put(false, q->sig, &own[i]);
	return r < 0 ? r : back;
}

static int64_t move(void *arg)
{
	struct queue *q = arg;

	return q->of_process ? go_round_process(q) : go_round(q);
}

static struct ckpt_parked *main_thread(void)
{
	struct ckpt_session *s = ckpt_session;
	struct ckpt_parked *p = s->parked;

	if (s->leader->tid == s->pid)
		return s->leader;
	while (p && p->tid != s->pid)
		p = p->next;
	return p;
}

int64_t ckpt_serve_signals(struct ckpt_parked *p, bool of_process, uint64_t from, uint32_t *lenp)
{
	struct queue q = { .of_process = of_process,
			   .out = (void *)ckpt_session->out,
			   .skip = from };
	uint64_t set = ckpt_status_set(p->tid, of_process ? "\nShdPnd:\t" : "\nSigPnd:\t");

	set &= ~ckpt_reserved_bit();
	if (of_process)
		p = main_thread();
	/* What is taken has to be put back. */
	if (set && !p)
		return -EPERM;
	for (; set; set &= set - 1) {
		int64_t r;

		q.sig = __builtin_ctzll(set) + 1;
		r = ckpt_parked_run(p, move, &q);
		if (r < 0)
			return r;
	}
	*lenp = q.n * sizeof(siginfo_t);
	return q.n;
}
