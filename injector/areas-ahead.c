/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frozen, the same areas have to be where they were, with the same flags (what madvise(2), mlock(2)
 * and mseal(2) say): else they are read once more then. Where the kernel does not tell flags at
 * once, they are read once more afterwards: what was so before and after was so in between, unless
 * it was changed and changed back meanwhile. Of an area that is gone by then nothing can be said.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "engine/base/arch/x86-64.h"
#include "engine/base/cleanup.h"
#include "engine/base/clocks.h"
#include "engine/base/pass.h"
#include "engine/base/text.h"
#include "engine/capture/helper.h"
#include "injector/area-words.h"
#include "injector/areas-ahead.h"
#include "injector/ptrace.h"

/* Less is read in half a millisecond, when it stands still. */
#define SMALL (16ull << 20) /* bytes in memory */
#define SMALL_AREAS 100
#define WORDS_MAX 4096 /* areas, for more a frozen tree would notice it */

struct reading {
	struct ckpt_job job;
	struct ahead *of;
	struct ckpt_map *map;
	size_t n;
	bool good;
	uint64_t since, took; /* CLOCK_MONOTONIC */
};

struct ahead {
	struct ckpt_maps_before before;
	struct ckpt_arena *arena;
	struct ckpt_helper *helper;
	struct reading first, last;
	struct ckpt_area_words words;
	struct ckpt_area_word *word; /* when the first reading began; NULL: not told here */
	size_t n_words;
	bool held; /* that is what they were all through it */
	bool used, checking;
};

static bool read_of(struct ckpt_arena *arena, pid_t pid, const char *name, struct ckpt_map **mapp,
		    size_t *np)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	CKPT_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && ckpt_maps_read(arena, fd, mapp, np, &ignored) >= 0;
}

static bool is_small(struct ckpt_arena *arena, pid_t pid)
{
	struct ckpt_map *map;
	char text[128];
	const char *p = text;
	uint64_t pages;
	size_t n;

	return ckpt_proc_read(pid, "statm", text, sizeof(text)) > 0 &&
	       ckpt_parse_u64(&p, 10, &pages) && ckpt_parse_u64(&p, 10, &pages) &&
	       pages * CKPT_PAGE < SMALL && read_of(arena, pid, "maps", &map, &n) &&
	       n < SMALL_AREAS;
}

static void read_words(struct ahead *a, struct ckpt_arena *arena)
{
	if (a->words.link < 0)
		ckpt_area_words_open(&a->words, a->before.pid);
	a->word = ckpt_alloc(arena, WORDS_MAX * sizeof(*a->word));
	if (!ckpt_area_words_read(&a->words, a->word, WORDS_MAX, &a->n_words))
		a->word = NULL;
}

static bool are_same_words(const struct ahead *a, struct ckpt_arena *arena)
{
	struct ckpt_area_word *now = ckpt_alloc(arena, WORDS_MAX * sizeof(*now));
	size_t n;

	return ckpt_area_words_read(&a->words, now, WORDS_MAX, &n) && n == a->n_words &&
	       !memcmp(now, a->word, n * sizeof(*now));
}

/* All bits of a word have a name in smaps, "??" at least, but for those of protection keys. What
 * was changed and changed back in the middle of the reading has too many names or too few. */
static bool are_named(const struct ahead *a)
{
	const struct ckpt_map *m = a->first.map, *end = m + a->first.n;

	for (size_t i = 0; i < a->n_words; i++, m++) {
		while (m < end && m->start < a->word[i].start)
			m++;
		if (m == end || m->start != a->word[i].start ||
		    m->n_flags + __builtin_popcount(m->pkey) !=
			    __builtin_popcountll(a->word[i].word))
			return false;
	}
	return true;
}

static void read_all(struct ckpt_job *job, struct ckpt_arena *arena)
{
	struct reading *r = (struct reading *)job;
	struct ahead *a = r->of;

	ckpt_pass_always();
	r->since = ckpt_now_ns();
	if (r == &a->first)
		read_words(a, arena);
	r->good = read_of(arena, a->before.pid, "smaps", &r->map, &r->n);
	if (r == &a->first)
		a->held = r->good && a->word && are_named(a) && are_same_words(a, arena);
	r->took = ckpt_now_ns() - r->since;
}

static void start(struct ahead *a, struct reading *r)
{
	r->job.run = read_all;
	r->of = a;
	ckpt_helper_start(a->helper, &r->job);
}

static bool is_same(const struct ckpt_map *a, const struct ckpt_map *b)
{
	return a->start == b->start && a->end == b->end && a->offset == b->offset &&
	       a->prot == b->prot && a->shared == b->shared && a->ino == b->ino &&
	       a->major == b->major && a->minor == b->minor && !strcmp(a->name, b->name);
}

static bool are_same(const struct ahead *a)
{
	struct ckpt_map *now;
	size_t n;

	if (!read_of(a->arena, a->before.pid, "maps", &now, &n) || n != a->first.n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_same(&now[i], &a->first.map[i]))
			return false;
	return true;
}

/* The less time there is, the less likely is a change that is taken back before the last reading.
 * Words would show it. */
static bool is_old(const struct ahead *a)
{
	return !a->held && ckpt_now_ns() - a->first.since > 2 * a->first.took;
}

static bool still_true(const struct ckpt_maps_before *before, const struct ckpt_source *src,
		       const pid_t *tids, size_t n_tids)
{
	struct ahead *a = (struct ahead *)before;

	(void)src, (void)tids, (void)n_tids;
	a->used = are_same(a) && (!a->word || (a->held && are_same_words(a, a->arena)));
	return a->used;
}

static void close_nothing(struct ckpt_maps_before *before)
{
	(void)before;
}

struct ckpt_maps_before *ckpt_areas_ahead_start(struct ckpt_helper *helper,
						struct ckpt_arena *arena, pid_t pid)
{
	struct ahead *a;

	if (is_small(arena, pid))
		return NULL;
	a = ckpt_new(arena, struct ahead);
	a->words.link = -1;
	a->arena = arena;
	a->helper = helper;
	a->before = (struct ckpt_maps_before){ .pid = pid,
					       .still_true = still_true,
					       .close = close_nothing };
	start(a, &a->first);
	return &a->before;
}

void ckpt_areas_ahead_renew(struct ckpt_maps_before *before)
{
	struct ahead *a = (struct ahead *)before;

	if (ckpt_helper_has_done(a->helper, &a->first.job) && is_old(a))
		start(a, &a->first);
}

struct ckpt_maps_before *ckpt_areas_ahead_read(struct ckpt_maps_before *before)
{
	struct ahead *a = (struct ahead *)before;

	if (!a || ckpt_helper_maps(a->helper))
		return NULL;
	ckpt_helper_wait(a->helper, &a->first.job);
	if (a->first.good && (!are_same(a) || (a->word && !a->held))) {
		start(a, &a->first);
		ckpt_helper_wait(a->helper, &a->first.job);
	}
	before->map = a->first.map;
	before->n = a->first.n;
	if (!a->first.good)
		return NULL;
	ckpt_helper_put(a->helper, before);
	return before;
}

void ckpt_areas_ahead_check(struct ckpt_maps_before *before)
{
	struct ahead *a = (struct ahead *)before;

	if (!a || !a->used || a->word || a->checking)
		return;
	a->checking = true;
	start(a, &a->last);
}

static bool are_same_flags(const struct ckpt_maps_before *before, const struct reading *last)
{
	const struct ckpt_map *now = last->map;
	size_t k = 0;

	for (size_t i = 0; last->good && i < before->n; i++) {
		while (k < last->n && now[k].start < before->map[i].start)
			k++;
		if (k < last->n && is_same(&now[k], &before->map[i]) &&
		    (now[k].flags != before->map[i].flags || now[k].pkey != before->map[i].pkey))
			return false;
	}
	return last->good;
}

int ckpt_areas_ahead_held(struct ckpt_maps_before *before, struct ckpt_err *err)
{
	struct ahead *a = (struct ahead *)before;

	if (!a || !a->used || a->word)
		return 0;
	ckpt_areas_ahead_check(before);
	ckpt_helper_wait(a->helper, &a->last.job);
	if (are_same_flags(before, &a->last))
		return 0;
	return ckpt_fail(err, -ESTALE, "process %d: areas changed during the freeze", before->pid);
}

void ckpt_areas_ahead_close(struct ckpt_maps_before *before)
{
	struct ahead *a = (struct ahead *)before;

	if (a)
		ckpt_area_words_close(&a->words);
}
