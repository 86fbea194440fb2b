/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that the C library makes for itself block all signals but its own: they have to come to
 * a checkpoint like all others, and what the library tells its threads has to reach them.
 */
#include <aio.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "tests/lib/act.h"

static unsigned long n_expired;
static int ends[2];
static timer_t timer;

static void expired(union sigval v)
{
	CHECK_INT(v.sival_int, 7);
	__atomic_add_fetch(&n_expired, 1, __ATOMIC_RELEASE);
}

static void do_timer(struct act *a)
{
	unsigned long before = n_expired;

	(void)a;
	CHECK(EVENTUALLY(__atomic_load_n(&n_expired, __ATOMIC_ACQUIRE) > before + 3));
}

/* It waits in read(2) for what is written here. */
static void do_aio(struct act *a)
{
	static char text[4];
	struct aiocb cb = { .aio_fildes = ends[0], .aio_buf = text, .aio_nbytes = sizeof(text) };
	const struct aiocb *list[1] = { &cb };

	(void)a;
	CHECK_CALL(aio_read(&cb));
	test_sleep_ms(10);
	CHECK_INT(aio_error(&cb), EINPROGRESS);
	CHECK(write(ends[1], "abcd", 4) == 4);
	while (aio_suspend(list, 1, NULL) < 0)
		;
	CHECK_INT(aio_error(&cb), 0);
	CHECK_INT(aio_return(&cb), 4);
	CHECK(!memcmp(text, "abcd", 4));
}

/* Every thread has to hear of it. */
static void do_setuid(struct act *a)
{
	(void)a;
	CHECK_CALL(setreuid(-1, -1));
	CHECK_CALL(setregid(-1, getegid()));
	usleep(500);
}

static struct act acts[] = {
	{ "a timer", do_timer },
	{ "asynchronous reads", do_aio },
	{ "setuid", do_setuid },
};

static void setup(void)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD,
			       .sigev_notify_function = expired,
			       .sigev_value.sival_int = 7 };
	struct itimerspec t = { { 0, 3000000 }, { 0, 3000000 } };

	CHECK_CALL(pipe(ends));
	CHECK_CALL(timer_create(CLOCK_MONOTONIC, &ev, &timer));
	CHECK_CALL(timer_settime(timer, 0, &t, NULL));
	act_start(acts, ARRAY_SIZE(acts));
}

static void check(void)
{
	act_end(acts, ARRAY_SIZE(acts));
	CHECK_CALL(timer_delete(timer));
}

CASES({ "timers, asynchronous reads and changes of ids go on", setup, check,
	.flags = CASE_INSIDE | CASE_MANY | CASE_LOSSY })
