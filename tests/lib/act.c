/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread more than the acts looks at the clock all the time: what it was kept from looking is
 * time that no act could use either.
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include "tests/lib/act.h"

#define LATE_MS 700 /* a busy machine */

static volatile bool over;
static int64_t gaps_ns;
static pthread_t watcher;

bool act_is_over(void)
{
	return over;
}

static void *watch(void *arg)
{
	int64_t last = test_now_ns();

	while (!over) {
		struct timespec t = { 0, 1000000 };
		int64_t now;

		nanosleep(&t, NULL);
		now = test_now_ns();
		if (now - last > 3000000)
			__atomic_add_fetch(&gaps_ns, now - last - 1000000, __ATOMIC_RELAXED);
		last = now;
	}
	return arg;
}

static void *repeat(void *arg)
{
	struct act *a = arg;

	while (!over) {
		a->once(a);
		/* Threads that never rest can keep a small machine from everything else. */
		if (__atomic_add_fetch(&a->rounds, 1, __ATOMIC_RELEASE) % 4 == 0)
			test_sleep_ms(1);
	}
	return NULL;
}

static unsigned long rounds(const struct act *a)
{
	return __atomic_load_n(&a->rounds, __ATOMIC_ACQUIRE);
}

static void all_go_on(struct act *v, size_t n, unsigned long more)
{
	for (size_t i = 0; i < n; i++)
		v[i].until = rounds(&v[i]) + more;
	for (size_t i = 0; i < n; i++)
		if (!EVENTUALLY(rounds(&v[i]) >= v[i].until))
			case_fail("%s does not go on after %lu rounds", v[i].name, rounds(&v[i]));
}

void act_start(struct act *v, size_t n)
{
	CHECK(!pthread_create(&watcher, NULL, watch, NULL));
	for (size_t i = 0; i < n; i++)
		CHECK(!pthread_create(&v[i].thread, NULL, repeat, &v[i]));
	all_go_on(v, n, 1);
}

void act_end(struct act *v, size_t n)
{
	all_go_on(v, n, 2);
	over = true;
	for (size_t i = 0; i < n; i++)
		if (!EVENTUALLY(pthread_tryjoin_np(v[i].thread, NULL) != EBUSY))
			case_fail("%s does not end", v[i].name);
	CHECK(!pthread_join(watcher, NULL));
}

struct act_clock act_clock(void)
{
	return (struct act_clock){ test_now_ns(), __atomic_load_n(&gaps_ns, __ATOMIC_RELAXED) };
}

void act_took(const struct act_clock *c, const char *name, int ms)
{
	int64_t took = test_now_ns() - c->start;
	int64_t gaps = __atomic_load_n(&gaps_ns, __ATOMIC_RELAXED) - c->gaps;

	if (took < ms * 1000000ll - 1000000)
		case_fail("%s ends after %lld us of %d ms", name, (long long)took / 1000, ms);
	if (took - gaps > (ms + LATE_MS) * 1000000ll)
		case_fail("%s ends after %lld ms of %d, %lld of them standing still", name,
			  (long long)took / 1000000, ms, (long long)gaps / 1000000);
}

void act_returned(const struct act *a, const struct act_clock *c, long r, long want, int ms)
{
	if (r != want)
		case_fail("%s returns %ld, not %ld", a->name, r, want);
	act_took(c, a->name, ms);
}
