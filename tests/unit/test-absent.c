/* SPDX-License-Identifier: Apache-2.0 */
/* The list of absent pages against a plain array of pages, over random calls. */
#include <stdlib.h>
#include "engine/base/arch/x86-64.h"
#include "engine/memory/absent.h"
#include "tests/lib/tap.h"

#define N 256 /* pages */
#define BASE 0x100000ull

static uint64_t model[N]; /* offset + 1; 0: not absent */

static uint64_t at(size_t page)
{
	return BASE + page * CKPT_PAGE;
}

static bool same(const struct ckpt_absent *a)
{
	for (size_t i = 0; i < N; i++) {
		struct ckpt_run rest;
		bool found = ckpt_absent_find(a, at(i), &rest);

		if (found != (model[i] != 0) || (found && rest.offset + 1 != model[i]))
			return false;
	}
	for (size_t i = 0; i < a->n; i++)
		if (!a->run[i].n_pages ||
		    (i && a->run[i - 1].at + a->run[i - 1].n_pages * CKPT_PAGE > a->run[i].at))
			return false;
	return true;
}

static void drop(struct ckpt_absent *a, size_t from, size_t n)
{
	ckpt_absent_drop(a, at(from), at(from + n));
	for (size_t i = from; i < from + n; i++)
		model[i] = 0;
}

static void move(struct ckpt_absent *a, size_t from, size_t to, size_t n)
{
	uint64_t moved[N];

	ckpt_absent_move(a, at(from), at(to), n * CKPT_PAGE);
	for (size_t i = 0; i < n; i++) {
		moved[i] = model[from + i];
		model[from + i] = 0;
	}
	for (size_t i = 0; i < n; i++)
		model[to + i] = moved[i];
}

static void fill(struct ckpt_absent *a, uint64_t *offset)
{
	for (size_t i = rand() % 4; i < N;) {
		size_t n = 1 + rand() % 20;

		n = n < N - i ? n : N - i;
		ckpt_absent_add(a, (struct ckpt_run){ at(i), n, *offset });
		for (size_t k = 0; k < n; k++)
			model[i + k] = *offset + k * CKPT_PAGE + 1;
		*offset += (n + 5) * CKPT_PAGE;
		i += n + rand() % 3;
	}
}

static bool run_round(unsigned int seed)
{
	struct ckpt_absent a = { 0 }, b;
	uint64_t offset = 0;
	bool ok;

	srand(seed);
	memset(model, 0, sizeof(model));
	fill(&a, &offset);
	ok = same(&a);
	for (int i = 0; ok && i < 200; i++) {
		size_t from = rand() % N, n = 1 + rand() % 16, to = rand() % N;

		n = n < N - from ? n : N - from;
		if (rand() % 2 && to + n <= N && (to + n <= from || from + n <= to))
			move(&a, from, to, n);
		else if (rand() % 4 == 0)
			drop(&a, from, n);
		ok = same(&a);
	}
	ok = ok && ckpt_absent_copy(&b, &a) && same(&b);
	ckpt_absent_free(&a);
	ckpt_absent_free(&b);
	return ok;
}

int main(void)
{
	unsigned int bad = 0;

	for (unsigned int seed = 1; seed <= 300; seed++)
		if (!run_round(seed))
			bad = seed;
	ok(!bad, "absent pages are where they are expected, whatever happens (seed %u)", bad);
	return tap_end();
}
