/* SPDX-License-Identifier: Apache-2.0 */
/* Timers: the three interval timers and POSIX timers with their ids, targets and what is left of
 * their time. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include "tests/lib/case.h"

static void setup_interval(void)
{
	struct itimerval real = { { 5, 500 }, { 1000, 0 } }, virtual = { { 0, 0 }, { 2000, 0 } },
			 prof = { { 7, 0 }, { 3000, 0 } };

	CHECK_CALL(setitimer(ITIMER_REAL, &real, NULL));
	CHECK_CALL(setitimer(ITIMER_VIRTUAL, &virtual, NULL));
	CHECK_CALL(setitimer(ITIMER_PROF, &prof, NULL));
}

static void look(int which, long left, long s, long us)
{
	struct itimerval t;

	CHECK_CALL(getitimer(which, &t));
	CHECK_INT(t.it_interval.tv_sec, s);
	CHECK_INT(t.it_interval.tv_usec, us);
	CHECK(t.it_value.tv_sec <= left && t.it_value.tv_sec >= left - 20);
}

static void check_interval(void)
{
	look(ITIMER_REAL, 1000, 5, 500);
	look(ITIMER_VIRTUAL, 2000, 0, 0);
	look(ITIMER_PROF, 3000, 7, 0);
}

static volatile int alarms, profiled;

static void on_signal(int sig)
{
	if (sig == SIGALRM)
		alarms++;
	else
		profiled++;
}

static void setup_running(void)
{
	struct itimerval often = { { 0, 10000 }, { 0, 10000 } };

	signal(SIGALRM, on_signal);
	signal(SIGPROF, on_signal);
	CHECK_CALL(setitimer(ITIMER_REAL, &often, NULL));
	CHECK_CALL(setitimer(ITIMER_PROF, &often, NULL));
	CHECK(EVENTUALLY(alarms > 2));
}

static void check_running(void)
{
	int before = alarms, prof = profiled;
	int64_t start = test_now_ns();

	CHECK(EVENTUALLY(alarms > before + 5));
	while (profiled < prof + 2)
		CHECK(test_now_ns() - start < 5000000000);
	setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL);
	setitimer(ITIMER_PROF, &(struct itimerval){ 0 }, NULL);
}

/* ---- POSIX timers, by raw calls: the ids are those of the kernel ---- */

static int ids[6];
static pthread_t thread;
static pid_t tid;
static volatile int stop;

static int make(clockid_t clock, int notify, int sig, void *value, pid_t to)
{
	struct sigevent ev = { .sigev_notify = notify,
			       .sigev_signo = sig,
			       .sigev_value.sival_ptr = value };
	int id = -1;

	ev._sigev_un._tid = to;
	CHECK_CALL(syscall(SYS_timer_create, clock, &ev, &id));
	return id;
}

static void set(int id, int flags, int64_t value, int64_t interval)
{
	struct itimerspec t = {
		.it_value = { value / 1000000000, value % 1000000000 },
		.it_interval = { interval / 1000000000, interval % 1000000000 },
	};

	CHECK_CALL(syscall(SYS_timer_settime, id, flags, &t, NULL));
}

static void *take(void *arg)
{
	siginfo_t info;
	sigset_t s;

	sigemptyset(&s);
	sigaddset(&s, SIGRTMIN + 1);
	__atomic_store_n(&tid, gettid(), __ATOMIC_RELEASE);
	while (!stop)
		test_sleep_ms(1);
	for (int i = 0; i < 3; i++) {
		CHECK_INT(sigtimedwait(&s, &info, &(struct timespec){ 5, 0 }), SIGRTMIN + 1);
		CHECK_INT(info.si_code, SI_TIMER);
		CHECK(info.si_ptr == &tid);
	}
	return arg;
}

static void setup_posix(void)
{
	struct timespec t;
	sigset_t block;
	int gone;

	sigemptyset(&block);
	sigaddset(&block, SIGRTMIN + 1);
	sigaddset(&block, SIGRTMIN + 2);
	CHECK_CALL(sigprocmask(SIG_BLOCK, &block, NULL));
	CHECK(!pthread_create(&thread, NULL, take, NULL));
	CHECK(EVENTUALLY(__atomic_load_n(&tid, __ATOMIC_ACQUIRE)));
	ids[0] = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 2, (void *)0x1234, 0);
	/* Holes in the numbers. */
	gone = make(CLOCK_REALTIME, SIGEV_NONE, 0, NULL, 0);
	for (int i = 0; i < 5; i++)
		CHECK_CALL(syscall(SYS_timer_delete, make(CLOCK_REALTIME, SIGEV_NONE, 0, NULL, 0)));
	ids[1] = make(CLOCK_REALTIME, SIGEV_NONE, 0, NULL, 0);
	CHECK_CALL(syscall(SYS_timer_delete, gone));
	ids[2] = make(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGRTMIN + 1, &tid, tid);
	ids[3] = make(CLOCK_BOOTTIME, SIGEV_SIGNAL, SIGRTMIN + 2, NULL, 0);
	set(ids[0], 0, 500000000000, 1500000000);
	set(ids[2], 0, 20000000, 20000000);
	clock_gettime(CLOCK_BOOTTIME, &t);
	set(ids[3], TIMER_ABSTIME, (t.tv_sec + 900) * 1000000000ll, 0);
}

static long left(int id, long *interval_ms)
{
	struct itimerspec t;

	CHECK_CALL(syscall(SYS_timer_gettime, id, &t));
	*interval_ms = t.it_interval.tv_sec * 1000 + t.it_interval.tv_nsec / 1000000;
	return t.it_value.tv_sec;
}

static void check_posix(void)
{
	long interval, rest = left(ids[0], &interval);
	siginfo_t info;
	sigset_t s;

	CHECK(rest > 470 && rest <= 500);
	CHECK_INT(interval, 1500);
	CHECK_INT(left(ids[1], &interval), 0);
	rest = left(ids[3], &interval);
	CHECK(rest > 870 && rest <= 900);
	stop = true;
	CHECK(!pthread_join(thread, NULL));
	CHECK_CALL(syscall(SYS_timer_delete, ids[2]));
	set(ids[0], 0, 1000000, 0);
	sigemptyset(&s);
	sigaddset(&s, SIGRTMIN + 2);
	CHECK_INT(sigtimedwait(&s, &info, &(struct timespec){ 5, 0 }), SIGRTMIN + 2);
	CHECK(info.si_ptr == (void *)0x1234);
	CHECK_INT(info.si_timerid, ids[0]);
	CHECK_CALL(syscall(SYS_timer_delete, ids[0]));
	CHECK_CALL(syscall(SYS_timer_delete, ids[1]));
	CHECK(syscall(SYS_timer_delete, ids[1]) < 0 && errno == EINVAL);
	CHECK(make(CLOCK_REALTIME, SIGEV_NONE, 0, NULL, 0) >= 0);
}

/* The C library's timers: a signal to a thread of its own, and a POSIX timer of processor time. */
static timer_t by_thread;
static volatile int called;

static void call(union sigval v)
{
	called += v.sival_int;
}

static void setup_thread(void)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD,
			       .sigev_notify_function = call,
			       .sigev_value.sival_int = 1 };
	struct itimerspec t = { { 0, 20000000 }, { 0, 20000000 } };

	CHECK_CALL(timer_create(CLOCK_MONOTONIC, &ev, &by_thread));
	CHECK_CALL(timer_settime(by_thread, 0, &t, NULL));
	CHECK(EVENTUALLY(called));
}

static void check_thread(void)
{
	int before = called;

	CHECK(EVENTUALLY(called > before + 3));
	CHECK_CALL(timer_delete(by_thread));
}

CASES({ "interval timers keep interval and time left", setup_interval, check_interval },
      { "interval timers go on running", setup_running, check_running, .flags = CASE_LOSSY },
      { "POSIX timers keep id, target, value and time left", setup_posix, check_posix,
	.flags = CASE_LOSSY },
      { "timers that call a function go on", setup_thread, check_thread, .flags = CASE_LOSSY })
