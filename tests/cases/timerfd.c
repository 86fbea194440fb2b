/* SPDX-License-Identifier: Apache-2.0 */
/* Timer descriptors: what is left of a relative time, an absolute one, ticks that nobody has read
 * yet. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include "tests/lib/case.h"

#define SECOND 1000000000ll

static int64_t ns(struct timespec t)
{
	return t.tv_sec * SECOND + t.tv_nsec;
}

static int make(int clock, int flags, int64_t value, int64_t interval)
{
	struct itimerspec t = {
		.it_value = { value / SECOND, value % SECOND },
		.it_interval = { interval / SECOND, interval % SECOND },
	};
	int fd = CHECK_CALL(timerfd_create(clock, TFD_NONBLOCK));

	CHECK_CALL(timerfd_settime(fd, flags, &t, NULL));
	return fd;
}

static int64_t left(int fd)
{
	struct itimerspec t;

	CHECK_CALL(timerfd_gettime(fd, &t));
	return ns(t.it_value);
}

static int relative, far, periodic, unarmed, expired, ticking;
static int64_t relative_set;

static void setup(void)
{
	uint64_t n;

	relative_set = test_now_ns();
	relative = make(CLOCK_MONOTONIC, 0, 100 * SECOND, 0);
	far = make(CLOCK_BOOTTIME, 0, 100000 * SECOND, 0);
	periodic = make(CLOCK_MONOTONIC, 0, 200 * SECOND, 7 * SECOND);
	unarmed = CHECK_CALL(timerfd_create(CLOCK_REALTIME, 0));
	expired = make(CLOCK_MONOTONIC, 0, 1, 0);
	ticking = make(CLOCK_MONOTONIC, 0, 1000000, 1000000000000000ll);
	test_sleep_ms(5);
	CHECK(read(expired, &n, 8) == 8);
}

/* Time stands still for a relative timer while the program does not exist. */
static void check(void)
{
	int64_t ran = test_now_ns() - relative_set - case_gap_ns(), rest = left(relative);
	struct itimerspec t;
	uint64_t n = 0;

	CHECK(rest > 0 && rest <= 100 * SECOND - ran + SECOND / 2);
	CHECK(rest >= 100 * SECOND - (test_now_ns() - relative_set) - SECOND / 2);
	CHECK(left(far) > 99900 * SECOND && left(far) <= 100000 * SECOND);
	CHECK_CALL(timerfd_gettime(periodic, &t));
	CHECK_INT(ns(t.it_interval), 7 * SECOND);
	CHECK(ns(t.it_value) > 100 * SECOND && ns(t.it_value) <= 200 * SECOND);
	CHECK_INT(left(unarmed), 0);
	CHECK_INT(left(expired), 0);
	CHECK(read(expired, &n, 8) < 0 && errno == EAGAIN);
	CHECK(read(ticking, &n, 8) == 8);
	CHECK_INT(n, 1);
	CHECK(left(ticking) > 1000 * SECOND);
}

static int soon, absolute, beating;
static int64_t absolute_at;

static void setup_running(void)
{
	soon = make(CLOCK_MONOTONIC, 0, SECOND, 0);
	absolute_at = test_now_ns() + SECOND;
	absolute = make(CLOCK_MONOTONIC, TFD_TIMER_ABSTIME, absolute_at, 0);
	beating = make(CLOCK_MONOTONIC, 0, SECOND / 100, SECOND / 100);
}

static void check_running(void)
{
	struct pollfd p[2] = { { soon, POLLIN, 0 }, { beating, POLLIN, 0 } };
	uint64_t n = 0;

	CHECK_INT(poll(p, 1, 3000), 1);
	CHECK(read(soon, &n, 8) == 8);
	CHECK_INT(n, 1);
	CHECK(EVENTUALLY(read(absolute, &n, 8) == 8));
	CHECK(read(beating, &n, 8) == 8);
	CHECK(n >= 2);
	CHECK_INT(poll(p + 1, 1, 1000), 1);
	CHECK(read(beating, &n, 8) == 8);
	CHECK(n >= 1 && n < 50);
}

/* Every clock, and a time that is given up when the clock is set. */
static const int clocks[] = { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME_ALARM,
			      CLOCK_BOOTTIME_ALARM };
static int of_clock[ARRAY_SIZE(clocks)], n_clocks, cancelled, read_once;

static void setup_clocks(void)
{
	struct timespec now;
	uint64_t n;

	for (n_clocks = 0; n_clocks < (int)ARRAY_SIZE(clocks); n_clocks++) {
		of_clock[n_clocks] = timerfd_create(clocks[n_clocks], TFD_NONBLOCK);
		if (of_clock[n_clocks] < 0) /* an alarm wants a privilege */
			break;
		CHECK_CALL(timerfd_settime(of_clock[n_clocks], 0,
					   &(struct itimerspec){ { 3, 5 }, { 1000, 0 } }, NULL));
	}
	CHECK(n_clocks >= 3);
	clock_gettime(CLOCK_REALTIME, &now);
	cancelled = make(CLOCK_REALTIME, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET,
			 (now.tv_sec + 1000) * SECOND, 0);
	read_once = make(CLOCK_REALTIME, 0, 1, 500 * SECOND);
	test_sleep_ms(2);
	CHECK(read(read_once, &n, 8) == 8);
}

static void check_clocks(void)
{
	struct itimerspec t;
	uint64_t n;

	for (int i = 0; i < n_clocks; i++) {
		CHECK_CALL(timerfd_gettime(of_clock[i], &t));
		CHECK(ns(t.it_value) > 900 * SECOND && ns(t.it_value) <= 1000 * SECOND);
		CHECK_INT(ns(t.it_interval), 3 * SECOND + 5);
		CHECK(read(of_clock[i], &n, 8) < 0 && errno == EAGAIN);
	}
	CHECK(left(cancelled) > 900 * SECOND);
	CHECK(read(cancelled, &n, 8) < 0 && errno == EAGAIN);
	CHECK(left(read_once) > 400 * SECOND);
	CHECK(read(read_once, &n, 8) < 0 && errno == EAGAIN);
}

CASES({ "timer descriptors keep what is left, interval and unread ticks", setup, check },
      { "timer descriptors go on running", setup_running, check_running },
      { "timer descriptors of every clock", setup_clocks, check_clocks })
