/* SPDX-License-Identifier: Apache-2.0 */
/* For execs.sh: threads, one of which executes this program again a few milliseconds later, which
 * ends the others. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "tests/lib/proc.h"

#define N_THREADS 3
#define END_NS (120 * 1000000000ll)

static void *spin(void *arg)
{
	volatile uint64_t n = 0;

	for (;;)
		n++;
	return arg;
}

/* execer: begins; execer NUMBER START: for the NUMBERth time, since START of CLOCK_MONOTONIC. */
int main(int argc, char **argv)
{
	unsigned int number = argc > 2 ? atoi(argv[1]) : 0;
	int64_t start = argc > 2 ? atoll(argv[2]) : test_now_ns();
	char *next = test_text("%u", number + 1), *since = test_text("%lld", (long long)start);
	pthread_t t;

	for (int i = 0; i < N_THREADS; i++)
		if (pthread_create(&t, NULL, spin, NULL))
			return 1;
	usleep(200 + number * 9973 % 3000);
	if (test_now_ns() - start < END_NS)
		execl("/proc/self/exe", argv[0], next, since, NULL);
	return 1;
}
