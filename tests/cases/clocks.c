/* SPDX-License-Identifier: Apache-2.0 */
/* A program whose clocks are not those of the machine: they go on where they were, as it sees them
 * through the vDSO and through system calls, and so do the times that it waits for. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include "tests/lib/case.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80 /* Linux 5.6 */
#endif
#define AHEAD 1000000 /* seconds */
#define SECOND 1000000000ll
#define WHILE (60 * SECOND)

static int64_t monotonic, boottime, absolute;
static int timer;

static int64_t now(clockid_t clock)
{
	struct timespec t, by_kernel;
	int64_t ns;

	CHECK_CALL(clock_gettime(clock, &t));
	CHECK_CALL(syscall(SYS_clock_gettime, clock, &by_kernel));
	ns = t.tv_sec * SECOND + t.tv_nsec;
	CHECK(by_kernel.tv_sec * SECOND + by_kernel.tv_nsec - ns < WHILE);
	CHECK(by_kernel.tv_sec * SECOND + by_kernel.tv_nsec >= ns);
	return ns;
}

static void put(const char *clock, long seconds)
{
	int fd = open("/proc/self/timens_offsets", O_WRONLY);

	CHECK(dprintf(fd, "%s %ld 0\n", clock, seconds) > 0);
	close(fd);
}

static void setup(void)
{
	struct itimerspec t = { .it_value = { 0 } };
	int fd;

	if (unshare(CLONE_NEWTIME) < 0)
		case_skip("no time namespace: %m");
	put("monotonic", AHEAD);
	put("boottime", 2 * AHEAD);
	fd = CHECK_CALL(open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC));
	CHECK_CALL(setns(fd, CLONE_NEWTIME));
	close(fd);
	monotonic = now(CLOCK_MONOTONIC);
	boottime = now(CLOCK_BOOTTIME);
	CHECK(monotonic > AHEAD * SECOND && boottime > 2 * AHEAD * SECOND);
	absolute = monotonic + 5 * SECOND / 2;
	t.it_value.tv_sec = absolute / SECOND;
	t.it_value.tv_nsec = absolute % SECOND;
	timer = CHECK_CALL(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
	CHECK_CALL(timerfd_settime(timer, TFD_TIMER_ABSTIME, &t, NULL));
}

static void check(void)
{
	int64_t later = now(CLOCK_MONOTONIC);
	uint64_t n = 0;

	CHECK(later >= monotonic && later - monotonic < WHILE);
	later = now(CLOCK_BOOTTIME);
	CHECK(later >= boottime && later - boottime < WHILE);
	while (read(timer, &n, 8) != 8) {
		CHECK_INT(errno, EAGAIN);
		CHECK(now(CLOCK_MONOTONIC) < absolute + WHILE);
		test_sleep_ms(1);
	}
	CHECK_INT(n, 1);
	CHECK(now(CLOCK_MONOTONIC) >= absolute - SECOND / 100);
}

/* Only some of the tree. */
static void setup_apart(void)
{
	if (unshare(CLONE_NEWTIME) < 0)
		case_skip("no time namespace: %m");
}

CASES({ "clocks of its own go on, and so does an absolute timer", setup, check, CASE_ROOT },
      { "clocks of future children only are refused", setup_apart, NULL, CASE_ROOT,
	.refused = { "CKPT-E0208", "time namespace" } })
