/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts the primes below a number, and takes checkpoints of itself on the way. Runs with ckpt-run
 * and without: cc primes.c -o primes; ckpt-run -D folder ./primes 2000000 500000
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "libinproc/ckpt.h"

#define BLOCK (1u << 16)

static unsigned char *sieve; /* of one block; made anew for each */
static unsigned long n_primes, n_restored;

/* Called in a signal handler: it only notes what happened. */
static int on_restore(enum ckpt_event event, void *arg)
{
	(void)event;
	++*(unsigned long *)arg;
	return 0;
}

static void count_block(unsigned long from, unsigned long to)
{
	memset(sieve, 1, BLOCK);
	for (unsigned long p = 2; p * p < to; p++) {
		unsigned long n = p * p > from ? p * p : (from + p - 1) / p * p;

		for (; n < to; n += p)
			sieve[n - from] = 0;
	}
	for (unsigned long n = from > 2 ? from : 2; n < to; n++)
		n_primes += sieve[n - from];
}

static void take_checkpoint(unsigned long at)
{
	int r;

	if (!ckpt_available())
		return;
	/* What is in a buffer would be written twice: by us, and by the restored program. */
	fflush(stdout);
	r = ckpt_now();
	if (r == CKPT_TAKEN)
		printf("%lu: checkpoint\n", at);
	else if (r == CKPT_RESTORED)
		printf("%lu: restored\n", at);
	else
		printf("%lu: no checkpoint: %s\n", at, ckpt_error());
	fflush(stdout);
}

int main(int argc, char **argv)
{
	unsigned long limit = argc > 1 ? strtoul(argv[1], NULL, 10) : 2000000;
	unsigned long every = argc > 2 ? strtoul(argv[2], NULL, 10) : 500000, next = every;

	sieve = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (sieve == MAP_FAILED || !every)
		return 1;
	if (ckpt_available()) {
		ckpt_exclude(sieve, BLOCK);
		ckpt_on(CKPT_ON_RESTORE, on_restore, &n_restored);
	}
	for (unsigned long from = 0; from < limit; from += BLOCK) {
		count_block(from, from + BLOCK < limit ? from + BLOCK : limit);
		if (from + BLOCK < next || from + BLOCK >= limit)
			continue;
		take_checkpoint(from + BLOCK);
		next += every;
	}
	printf("%lu primes, restored %lu times\n", n_primes, n_restored);
	return 0;
}
