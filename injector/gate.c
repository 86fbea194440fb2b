/* SPDX-License-Identifier: Apache-2.0 */
/* Barriers: a word that counts who has arrived. The blob has the same in sysvec.c. */
#include <linux/futex.h>
#include <limits.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "injector/job.h"

void ckpt_gate_arrive(uint32_t *word)
{
	__atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

bool ckpt_gate_await_ms(uint32_t *word, uint32_t least, unsigned int ms)
{
	struct timespec limit = { ms / 1000, ms % 1000 * 1000000l };
	uint32_t v = __atomic_load_n(word, __ATOMIC_SEQ_CST);

	if (v < least)
		syscall(SYS_futex, word, FUTEX_WAIT, v, &limit, NULL, 0);
	return __atomic_load_n(word, __ATOMIC_SEQ_CST) >= least;
}

void ckpt_gate_await(uint32_t *word, uint32_t least)
{
	while (!ckpt_gate_await_ms(word, least, 1000))
		;
}
