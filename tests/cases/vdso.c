/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that are nearly always inside of the vDSO, the code that the kernel maps into every
 * process. */
#include <pthread.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include "tests/lib/case.h"

#define N 3

static volatile int stop;
static volatile unsigned long rounds[N];
static pthread_t threads[N];
static const clockid_t clocks[N] = { CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME };

static void *read_clock(void *arg)
{
	int i = (long)arg;
	int64_t last = 0;

	while (!stop) {
		struct timespec t;
		int64_t now;

		CHECK(clock_gettime(clocks[i], &t) == 0);
		now = t.tv_sec * 1000000000ll + t.tv_nsec;
		CHECK(now >= last);
		last = now;
		rounds[i]++;
	}
	return arg;
}

static void setup(void)
{
	for (long i = 0; i < N; i++)
		CHECK(!pthread_create(&threads[i], NULL, read_clock, (void *)i));
	CHECK(EVENTUALLY(rounds[0] > 1000 && rounds[1] > 1000 && rounds[2] > 1000));
}

static void check(void)
{
	for (int i = 0; i < N; i++) {
		unsigned long before = rounds[i];

		CHECK(EVENTUALLY(rounds[i] > before + 1000));
	}
	stop = true;
	for (int i = 0; i < N; i++)
		CHECK(!pthread_join(threads[i], NULL));
	for (int i = 0; i < 1000; i++) {
		struct timeval tv;

		CHECK(gettimeofday(&tv, NULL) == 0 && time(NULL) - tv.tv_sec <= 1);
	}
}

CASES({ "threads inside of the vDSO go on", setup, check, .flags = CASE_RUNS })
