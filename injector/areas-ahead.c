/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frozen, the same areas have to be where they were, with the same flags (what madvise(2), mlock(2)
 * and mseal(2) say): else they are read once more then. Where the kernel does not tell flags at
 * once, they are read once more afterwards: what was so before and after was so in between, unless
 * it was changed and changed back meanwhile. Of an area that is gone by then nothing can be said.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "engine/base/arch/x86-64.h"
#include "engine/base/cleanup.h"
#include "engine/base/clocks.h"
#include "engine/base/pass.h"
#include "engine/base/text.h"
#include "engine/capture/helper.h"
#include "engine/capture/maps.h"
#include "injector/area-words.h"
#include "injector/areas-ahead.h"
#include "injector/freeze.h"
#include "injector/ptrace.h"

/* Less is read in half a millisecond, when it stands still. */
#define SMALL (16ull << 20) /* bytes in memory */
#define SMALL_AREAS 100
#define WORDS_MAX 4096 /* areas, for more a frozen tree would notice it */

struct reading {
	struct ckpt_map *map;
	size_t n;
	bool good;
};

struct process {
	struct ckpt_maps_before before; /* the first reading */
	struct ckpt_areas_ahead *of;
	struct process *next;
	uint64_t since, took;        /* of the first reading, CLOCK_MONOTONIC; 0: has to be read */
	struct ckpt_area_word *word; /* when that began; NULL: not told here */
	size_t n_words;
	bool good;
	bool held; /* words are what they were all through it */
	bool used;
	struct reading last;
};

struct ckpt_areas_ahead {
	struct ckpt_job before, after;
	struct ckpt_helper *helper;
	struct ckpt_arena *arena;
	pid_t root;
	struct ckpt_area_words words;
	struct process *first;
	bool goes_on, asked, checking, failed;
};

static struct reading read_of(struct ckpt_arena *arena, pid_t pid, const char *name)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;
	struct reading r = { 0 };
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	CKPT_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	r.good = fd >= 0 && ckpt_maps_read(arena, fd, &r.map, &r.n, &ignored) >= 0;
	return r;
}

static bool is_small(struct ckpt_arena *arena, pid_t pid)
{
	struct reading maps;
	char text[128];
	const char *p = text;
	uint64_t pages;

	if (ckpt_proc_read(pid, "statm", text, sizeof(text)) <= 0 ||
	    !ckpt_parse_u64(&p, 10, &pages) || !ckpt_parse_u64(&p, 10, &pages))
		return true;
	if (pages * CKPT_PAGE >= SMALL)
		return false;
	maps = read_of(arena, pid, "maps");
	return !maps.good || maps.n < SMALL_AREAS;
}

/* ---- words ---- */

static void read_words(struct process *p, struct ckpt_arena *arena)
{
	CKPT_FREE struct ckpt_area_word *now = malloc(WORDS_MAX * sizeof(*now));

	p->word = NULL;
	if (!now ||
	    !ckpt_area_words_read(&p->of->words, p->before.pid, now, WORDS_MAX, &p->n_words))
		return;
	p->word = ckpt_alloc(arena, p->n_words * sizeof(*now));
	memcpy(p->word, now, p->n_words * sizeof(*now));
}

static bool are_same_words(const struct process *p)
{
	CKPT_FREE struct ckpt_area_word *now = malloc(WORDS_MAX * sizeof(*now));
	size_t n;

	return now && ckpt_area_words_read(&p->of->words, p->before.pid, now, WORDS_MAX, &n) &&
	       n == p->n_words && !memcmp(now, p->word, n * sizeof(*now));
}

/* All bits of a word have a name in smaps, "??" at least, but for those of protection keys. What
 * was changed and changed back in the middle of the reading has too many names or too few. */
static bool are_named(const struct process *p)
{
	const struct ckpt_map *m = p->before.map, *end = m + p->before.n;

	for (size_t i = 0; i < p->n_words; i++, m++) {
		while (m < end && m->start < p->word[i].start)
			m++;
		if (m == end || m->start != p->word[i].start ||
		    m->n_flags + __builtin_popcount(m->pkey) !=
			    __builtin_popcountll(p->word[i].word))
			return false;
	}
	return true;
}

/* ---- before the freeze ---- */

static bool is_same(const struct ckpt_map *a, const struct ckpt_map *b)
{
	return a->start == b->start && a->end == b->end && a->offset == b->offset &&
	       a->prot == b->prot && a->shared == b->shared && a->ino == b->ino &&
	       a->major == b->major && a->minor == b->minor && !strcmp(a->name, b->name);
}

static bool are_same(const struct process *p)
{
	struct reading now = read_of(p->of->arena, p->before.pid, "maps");

	if (!now.good || now.n != p->before.n)
		return false;
	for (size_t i = 0; i < now.n; i++)
		if (!is_same(&now.map[i], &p->before.map[i]))
			return false;
	return true;
}

static bool still_true(const struct ckpt_maps_before *before, const struct ckpt_source *src,
		       const pid_t *tids, size_t n_tids)
{
	struct process *p = (struct process *)before;

	(void)src, (void)tids, (void)n_tids;
	p->used = (p->word ? p->held && are_same_words(p) : p->of->goes_on) && are_same(p);
	return p->used;
}

static void close_nothing(struct ckpt_maps_before *before)
{
	(void)before;
}

/* The less time there is, the less likely is a change that is taken back before the last reading.
 * Words would show it. */
static bool is_old(const struct process *p)
{
	return !p->held && ckpt_now_ns() - p->since > 2 * p->took;
}

static void read_first(struct process *p, struct ckpt_arena *arena)
{
	struct reading r;

	p->since = ckpt_now_ns();
	read_words(p, arena);
	r = read_of(arena, p->before.pid, "smaps");
	p->before.map = r.map;
	p->before.n = r.n;
	p->good = r.good;
	p->held = p->good && p->word && are_named(p) && are_same_words(p);
	p->took = ckpt_now_ns() - p->since;
}

struct look {
	struct ckpt_areas_ahead *a;
	struct ckpt_arena *arena;
};

static void look(void *arg, pid_t pid)
{
	const struct look *l = arg;
	struct process *p = l->a->first;

	while (p && p->before.pid != pid)
		p = p->next;
	if (p || is_small(l->arena, pid))
		return;
	p = ckpt_new(l->arena, struct process);
	p->before = (struct ckpt_maps_before){ .pid = pid,
					       .still_true = still_true,
					       .close = close_nothing };
	p->of = l->a;
	p->next = l->a->first;
	l->a->first = p;
}

static void read_before(struct ckpt_job *job, struct ckpt_arena *arena)
{
	struct ckpt_areas_ahead *a = (struct ckpt_areas_ahead *)job;
	struct look l = { a, arena };
	const struct ckpt_each each = { NULL, look, &l };

	ckpt_pass_always();
	ckpt_each_below(arena, a->root, &each);
	if (a->first && !a->asked)
		ckpt_area_words_open(&a->words);
	a->asked = a->first;
	if (!a->goes_on && a->words.program < 0)
		return;
	for (struct process *p = a->first; p; p = p->next)
		if (!p->since || is_old(p))
			read_first(p, arena);
}

static void start(struct ckpt_areas_ahead *a)
{
	a->before.run = read_before;
	ckpt_helper_start(a->helper, &a->before);
}

struct ckpt_areas_ahead *ckpt_areas_ahead_start(struct ckpt_helper *helper,
						struct ckpt_arena *arena, pid_t root, bool goes_on)
{
	struct ckpt_areas_ahead *a = ckpt_new(arena, struct ckpt_areas_ahead);

	a->helper = helper;
	a->arena = arena;
	a->root = root;
	a->goes_on = goes_on;
	a->words.program = -1;
	start(a);
	return a;
}

void ckpt_areas_ahead_renew(struct ckpt_areas_ahead *a)
{
	if (ckpt_helper_has_done(a->helper, &a->before))
		start(a);
}

void ckpt_areas_ahead_read(struct ckpt_areas_ahead *a)
{
	bool again = false;

	if (!a)
		return;
	ckpt_helper_wait(a->helper, &a->before);
	for (struct process *p = a->first; p; p = p->next) {
		if (!p->good || (are_same(p) && (p->held || !p->word)))
			continue;
		p->since = 0;
		again = true;
	}
	if (again) {
		start(a);
		ckpt_helper_wait(a->helper, &a->before);
	}
	for (struct process *p = a->first; p; p = p->next)
		if (p->good && !ckpt_helper_maps(a->helper, p->before.pid))
			ckpt_helper_put(a->helper, &p->before);
}

/* ---- after it ---- */

static bool has_to_be_read(const struct process *p)
{
	return p->used && !p->word;
}

static void read_after(struct ckpt_job *job, struct ckpt_arena *arena)
{
	struct ckpt_areas_ahead *a =
		(struct ckpt_areas_ahead *)((char *)job - offsetof(struct ckpt_areas_ahead, after));

	ckpt_pass_always();
	for (struct process *p = a->first; p; p = p->next)
		if (has_to_be_read(p))
			p->last = read_of(arena, p->before.pid, "smaps");
}

void ckpt_areas_ahead_check(struct ckpt_areas_ahead *a)
{
	bool any = false;

	for (struct process *p = a ? a->first : NULL; p; p = p->next)
		any |= has_to_be_read(p);
	if (!any || a->checking)
		return;
	a->checking = true;
	a->after.run = read_after;
	ckpt_helper_start(a->helper, &a->after);
}

static bool are_same_flags(const struct process *p)
{
	const struct ckpt_map *first = p->before.map, *now = p->last.map;
	size_t k = 0;

	for (size_t i = 0; p->last.good && i < p->before.n; i++) {
		while (k < p->last.n && now[k].start < first[i].start)
			k++;
		if (k < p->last.n && is_same(&now[k], &first[i]) &&
		    (now[k].flags != first[i].flags || now[k].pkey != first[i].pkey))
			return false;
	}
	return p->last.good;
}

int ckpt_areas_ahead_held(struct ckpt_areas_ahead *a, struct ckpt_err *err)
{
	ckpt_areas_ahead_check(a);
	if (!a || !a->checking)
		return 0;
	ckpt_helper_wait(a->helper, &a->after);
	for (struct process *p = a->first; p; p = p->next) {
		if (!has_to_be_read(p) || are_same_flags(p))
			continue;
		a->failed = true;
		return ckpt_fail(err, -ESTALE, "process %d: areas changed during the freeze",
				 p->before.pid);
	}
	return 0;
}

bool ckpt_areas_ahead_failed(const struct ckpt_areas_ahead *a)
{
	return a && a->failed;
}

void ckpt_areas_ahead_close(struct ckpt_areas_ahead *a)
{
	if (a)
		ckpt_area_words_close(&a->words);
}
