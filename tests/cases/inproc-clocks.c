/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that look at the clock all the time: nearly always they are in the vDSO, where nobody
 * can be parked. Signals of their own come there, too, look at the clock in turn, and jump out.
 */
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include "tests/lib/act.h"

#define LOOKS 20000

static __thread sigjmp_buf place;
static __thread volatile sig_atomic_t jumps; /* to the place, which is there */
static __thread unsigned long n_signals;

static struct timespec look(clockid_t clock)
{
	struct timespec t = { -1, -1 };

	CHECK_INT(clock_gettime(clock, &t), 0);
	CHECK(t.tv_sec >= 0 && t.tv_nsec >= 0 && t.tv_nsec < 1000000000);
	return t;
}

/* Locals and the registers that calls keep have to be what they were. */
static void look_on(clockid_t clock)
{
	unsigned long a = LOOKS, b = a ^ 0x5555, c = a * 7, sum = 0;
	struct timespec last = look(clock), now;

	for (unsigned long i = 0; i < LOOKS; i++) {
		now = look(clock);
		if (now.tv_sec < last.tv_sec ||
		    (now.tv_sec == last.tv_sec && now.tv_nsec < last.tv_nsec))
			case_fail("clock %d goes back", clock);
		last = now;
		sum += (a ^ b ^ c) + i;
	}
	CHECK(sum == LOOKS * (a ^ b ^ c) + LOOKS * (LOOKS - 1ul) / 2);
}

static void do_monotonic(struct act *a)
{
	(void)a;
	look_on(CLOCK_MONOTONIC);
}

static void do_coarse(struct act *a)
{
	(void)a;
	look_on(CLOCK_MONOTONIC_COARSE);
}

static void do_others(struct act *a)
{
	struct timeval t;
	unsigned int cpu, node;

	(void)a;
	for (int i = 0; i < LOOKS; i++) {
		CHECK_INT(gettimeofday(&t, NULL), 0);
		/* time(2) is that of the last tick. */
		CHECK(t.tv_usec >= 0 && t.tv_usec < 1000000 && time(NULL) >= t.tv_sec - 1);
		CHECK_INT(getcpu(&cpu, &node), 0);
	}
}

static void on_signal(int sig)
{
	(void)sig;
	n_signals++;
	for (int i = 0; i < 500; i++)
		look(CLOCK_MONOTONIC);
	if (jumps) {
		jumps = false;
		siglongjmp(place, 1);
	}
}

/* A timer that sends its signal to this thread. */
static void start_timer(struct act *a, int sig)
{
	struct itimerspec each = { { 0, 700000 }, { 0, 700000 } };
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = sig };
	timer_t timer;

	event._sigev_un._tid = syscall(SYS_gettid);
	CHECK_CALL(timer_create(CLOCK_MONOTONIC, &event, &timer));
	CHECK_CALL(timer_settime(timer, 0, &each, NULL));
	a->own[0] = true;
}

static void do_interrupted(struct act *a)
{
	if (!a->own[0])
		start_timer(a, SIGUSR1);
	look_on(CLOCK_MONOTONIC);
}

static void do_jumping(struct act *a)
{
	if (sigsetjmp(place, 1))
		return;
	jumps = true;
	if (!a->own[0])
		start_timer(a, SIGUSR2);
	for (int i = 0; i < LOOKS; i++)
		look(CLOCK_MONOTONIC);
	jumps = false;
}

static struct act lookers[] = {
	{ "the clock", do_monotonic },
	{ "the coarse clock", do_coarse },
	{ "the other functions", do_others },
};

static struct act interrupted[] = {
	{ "with signals", do_interrupted },
	{ "with signals that jump out", do_jumping },
};

static void setup_interrupted(void)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	CHECK_CALL(sigaction(SIGUSR1, &act, NULL));
	CHECK_CALL(sigaction(SIGUSR2, &act, NULL));
	act_start(interrupted, ARRAY_SIZE(interrupted));
}

static void check_interrupted(void)
{
	unsigned long before[ARRAY_SIZE(interrupted)];

	for (size_t i = 0; i < ARRAY_SIZE(interrupted); i++)
		before[i] = __atomic_load_n(&interrupted[i].rounds, __ATOMIC_ACQUIRE);
	for (size_t i = 0; i < ARRAY_SIZE(interrupted); i++)
		if (!EVENTUALLY(__atomic_load_n(&interrupted[i].rounds, __ATOMIC_ACQUIRE) >
				before[i] + 2))
			case_fail("%s: does not go on", interrupted[i].name);
}

ACTS(lookers)
#define FLAGS (CASE_INSIDE | CASE_MANY | CASE_LOSSY)
CASES({ "looking at the clock all the time", setup_lookers, check_lookers, .flags = FLAGS },
      { "signals while the clock is looked at", setup_interrupted, check_interrupted,
	.flags = FLAGS })
