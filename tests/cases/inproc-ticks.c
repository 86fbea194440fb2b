/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expirations of POSIX timers that wait to be taken: however many checkpoints come meanwhile, they
 * are as many as there would have been without.
 */
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "tests/lib/case.h"

#define MS 1000000l
#define NS 1000000000l

enum { TO_THREAD, TO_PROCESS, STANDARD, N_TIMERS };

static struct ticks {
	timer_t timer;
	int sig;
	long interval, start, n; /* ns, ns, expirations so far */
} ticks[N_TIMERS] = { { .interval = 2 * MS }, { .interval = 3 * MS }, { .interval = 5 * MS } };

static timer_t once;
static sigset_t set;

static long now(void)
{
	struct timespec t;

	CHECK_CALL(clock_gettime(CLOCK_MONOTONIC, &t));
	return t.tv_sec * NS + t.tv_nsec;
}

/* Takes what is there. In between timers go on: the first is as early as BEFORE, and there are as
 * many until AFTER. */
static void take(struct ticks *t)
{
	struct timespec none = { 0, 0 };
	sigset_t own;
	siginfo_t info;
	long before = now(), after, least, most;
	int n = 0;

	sigemptyset(&own);
	sigaddset(&own, t->sig);
	while (sigtimedwait(&own, &info, &none) == t->sig) {
		CHECK_INT(info.si_code, SI_TIMER);
		CHECK_INT(info.si_value.sival_int, (int)(t - ticks));
		t->n += 1 + info.si_overrun;
		n++;
	}
	after = now();
	least = (before - t->start) / t->interval;
	most = (after - t->start) / t->interval;
	/* One that a checkpoint has put back, one of the timer's own, and more while we take. The
	 * clock is read a moment before or after. */
	if (!n || n > 3 + (after - before) / t->interval || t->n < least - 1 || t->n > most + 1)
		case_fail("timer %d: %d signals, %ld expirations, not %ld to %ld", (int)(t - ticks),
			  n, t->n, least, most);
}

static void start(struct ticks *t, int notify, int sig)
{
	struct sigevent ev = { .sigev_notify = notify, .sigev_signo = sig };
	struct itimerspec it = { { 0, t->interval }, { 0 } };
	long first = now() + t->interval;

	t->sig = sig;
	t->start = first - t->interval;
	ev.sigev_value.sival_int = t - ticks;
	ev._sigev_un._tid = gettid();
	it.it_value = (struct timespec){ first / NS, first % NS };
	CHECK_CALL(timer_create(CLOCK_MONOTONIC, &ev, &t->timer));
	CHECK_CALL(timer_settime(t->timer, TIMER_ABSTIME, &it, NULL));
}

/* All that is pending, all the time. */
static void setup(void)
{
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL,
			       .sigev_signo = SIGRTMIN + 8,
			       .sigev_value.sival_int = 77 };
	struct itimerspec soon = { { 0, 0 }, { 0, 1 } };

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	for (int i = 6; i <= 8; i++)
		sigaddset(&set, SIGRTMIN + i);
	CHECK_CALL(sigprocmask(SIG_BLOCK, &set, NULL));
	start(&ticks[TO_THREAD], SIGEV_THREAD_ID, SIGRTMIN + 6);
	start(&ticks[TO_PROCESS], SIGEV_SIGNAL, SIGRTMIN + 7);
	start(&ticks[STANDARD], SIGEV_SIGNAL, SIGALRM);
	CHECK_CALL(timer_create(CLOCK_MONOTONIC, &ev, &once));
	CHECK_CALL(timer_settime(once, 0, &soon, NULL));
}

static void check(void)
{
	struct timespec none = { 0, 0 };
	sigset_t own;
	siginfo_t info;

	for (int i = 0; i < N_TIMERS; i++) {
		take(&ticks[i]);
		CHECK_CALL(timer_delete(ticks[i].timer));
	}
	sigemptyset(&own);
	sigaddset(&own, SIGRTMIN + 8);
	CHECK_INT(sigtimedwait(&own, &info, &none), SIGRTMIN + 8);
	CHECK_INT(info.si_code, SI_TIMER);
	CHECK_INT(info.si_overrun, 0);
	CHECK_INT(info.si_value.sival_int, 77);
	CHECK_INT(sigtimedwait(&own, &info, &none), -1);
}

CASES({ "expirations that wait are as many as without", setup, check,
	.flags = CASE_INSIDE | CASE_MANY | CASE_STAYS | CASE_LOSSY })
