/* SPDX-License-Identifier: Apache-2.0 */
/* The list of those who are in the handler: who comes leads them, or waits there for orders, which
 * hundreds get by one call. */
#include <linux/futex.h>
#include "libinproc/inproc.h"
#include "libinproc/sys.h"

uint64_t ckpt_now_ns(void)
{
	struct timespec t = { 0 };

	ckpt_sys(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

void ckpt_futex_wake(uint32_t *word)
{
	ckpt_sys(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX);
}

void ckpt_futex_wait(uint32_t *word, uint32_t value, int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000l };

	ckpt_sys(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, ms < 0 ? NULL : &t);
}

enum { HELD = 1, WAITED_FOR }; /* a lock that is not free */

void ckpt_lock(uint32_t *word)
{
	uint32_t free = 0;

	if (__atomic_compare_exchange_n(word, &free, HELD, false, __ATOMIC_ACQUIRE,
					__ATOMIC_RELAXED))
		return;
	while (__atomic_exchange_n(word, WAITED_FOR, __ATOMIC_ACQUIRE))
		ckpt_futex_wait(word, WAITED_FOR, 1);
}

void ckpt_unlock(uint32_t *word)
{
	if (__atomic_exchange_n(word, 0, __ATOMIC_RELEASE) == WAITED_FOR)
		ckpt_futex_wake(word);
}

enum ckpt_role ckpt_enter(struct ckpt_session *s, struct ckpt_parked *me, bool may_lead)
{
	enum ckpt_role role = CKPT_PASSER;

	ckpt_lock(&s->lock);
	me->round = s->round;
	if (s->stopping) {
		me->next = s->parked;
		s->parked = me;
		__atomic_add_fetch(&s->n_parked, 1, __ATOMIC_SEQ_CST);
		role = CKPT_PARKED;
	} else if (may_lead && !s->leader) {
		s->leader = me;
		s->stopping = true;
		s->n_parked = 0;
		role = CKPT_LEADER;
	}
	ckpt_unlock(&s->lock);
	if (role == CKPT_PARKED && __atomic_load_n(&s->n_parked, __ATOMIC_SEQ_CST) >=
					   __atomic_load_n(&s->n_wanted, __ATOMIC_SEQ_CST))
		ckpt_futex_wake(&s->n_parked);
	return role;
}

/* ---- those who are parked ---- */

/* All wait for one word, so that one call lets hundreds go; an order for one of them wakes few. */
static uint32_t bit_of(const struct ckpt_parked *p)
{
	return 1u << (p->tid % 32);
}

int64_t ckpt_parked_run(struct ckpt_parked *p, int64_t (*function)(void *arg), void *arg)
{
	struct ckpt_session *s = ckpt_session;

	if (p == s->leader)
		return function(arg);
	p->function = function;
	p->arg = arg;
	__atomic_store_n(&p->order, CKPT_RUN, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&s->turn, 1, __ATOMIC_SEQ_CST);
	ckpt_sys(SYS_futex, &s->turn, FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG, INT32_MAX, NULL, NULL,
		 bit_of(p));
	while (__atomic_load_n(&p->order, __ATOMIC_SEQ_CST) == CKPT_RUN)
		ckpt_futex_wait(&p->order, CKPT_RUN, -1);
	return p->ret;
}

static void run(struct ckpt_parked *me)
{
	me->ret = me->function(me->arg);
	__atomic_store_n(&me->order, CKPT_WAIT, __ATOMIC_SEQ_CST);
	ckpt_futex_wake(&me->order);
}

/* It is the same whether we are here for the first time or after a restore. */
void ckpt_park(struct ckpt_session *s, struct ckpt_parked *me)
{
	for (;;) {
		uint32_t turn = __atomic_load_n(&s->turn, __ATOMIC_SEQ_CST);

		if (__atomic_load_n(&s->round, __ATOMIC_SEQ_CST) != me->round)
			return;
		if (__atomic_load_n(&me->order, __ATOMIC_SEQ_CST) == CKPT_RUN)
			run(me);
		else
			ckpt_sys(SYS_futex, &s->turn, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, turn,
				 NULL, NULL, bit_of(me));
	}
}

void ckpt_release(struct ckpt_session *s)
{
	ckpt_wind_back_share(s);
	ckpt_lock(&s->lock);
	s->stopping = false;
	s->parked = NULL;
	/* Nothing is written to their stacks: a copy that was made shares the pages with them. */
	__atomic_add_fetch(&s->round, 1, __ATOMIC_SEQ_CST);
	ckpt_unlock(&s->lock);
	__atomic_add_fetch(&s->turn, 1, __ATOMIC_SEQ_CST);
	ckpt_futex_wake(&s->turn);
}
