/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line on a terminal that is rewritten: bytes, share, rate, time left. Nothing is shown of what
 * is over in half a second. Drawn by whoever has moved bytes, which may be a process of ours in
 * other namespaces: hence memory that is shared. A tree may stand still meanwhile, so that nothing
 * here waits: neither for a terminal that was stopped (Ctrl-S), nor to be the foreground again.
 */
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include "engine/base/clocks.h"
#include "engine/base/progress.h"
#include "tools/ckpt.h"

#define PATIENCE 500000000ull /* ns before the first line */
#define PERIOD 100000000ull   /* ns between lines */
#define NEVER UINT64_MAX

struct ckpt_bar {
	struct ckpt_progress progress; /* first */
	const char *verb;
	uint64_t next; /* when a line is due, atomic */
	bool shown;    /* there is a line to be cleared */
};

static bool may_write(void)
{
	struct pollfd there = { .fd = STDERR_FILENO, .events = POLLOUT };
	pid_t foreground = tcgetpgrp(STDERR_FILENO); /* 0, -1: not of this session, or namespace */

	return (foreground <= 0 || foreground == getpgrp()) && poll(&there, 1, 0) == 1 &&
	       there.revents == POLLOUT;
}

static void draw(const struct ckpt_bar *bar, uint64_t now)
{
	const struct ckpt_progress *p = &bar->progress;
	const char *verb = p->doing ? p->doing : bar->verb;
	uint64_t done = __atomic_load_n(&p->done, __ATOMIC_RELAXED), total = p->total;
	uint64_t elapsed = now > p->start ? now - p->start : 1, left_s;
	char so_far[24], all[24], rate[24], text[160];
	int n;

	done = total && done > total ? total : done; /* the last chunk need not be a whole one */
	left_s = done ? (uint64_t)((double)elapsed / done * (total - done) / 1e9) : 0;
	ckpt_size_text(done, so_far);
	ckpt_size_text(total, all);
	ckpt_size_text((uint64_t)(done * 1e9 / elapsed), rate);
	if (total && done)
		n = snprintf(text, sizeof(text),
			     "\r\033[K%s %s of %s (%u %%), %s/s, %llu:%02llu left", verb, so_far,
			     all, (unsigned int)(done * 100.0 / total), rate,
			     (unsigned long long)(left_s / 60), (unsigned long long)(left_s % 60));
	else if (total)
		n = snprintf(text, sizeof(text), "\r\033[K%s %s", verb, all);
	else
		n = snprintf(text, sizeof(text), "\r\033[K%s %s, %s/s", verb, so_far, rate);
	if (write(STDERR_FILENO, text, n) < 0)
		return;
}

/* Of several threads one draws. */
static void show(struct ckpt_progress *p)
{
	struct ckpt_bar *bar = (struct ckpt_bar *)p;
	uint64_t now = ckpt_now_ns(), next = __atomic_load_n(&bar->next, __ATOMIC_RELAXED);

	if (now < next || !__atomic_compare_exchange_n(&bar->next, &next, now + PERIOD, false,
						       __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return;
	if (!may_write())
		return;
	bar->shown = true;
	draw(bar, now);
}

/* A log on the terminal says itself how far it is. */
static bool is_wanted(const struct ckpt_tool *t)
{
	return isatty(STDERR_FILENO) && (t->opts.verbosity <= 0 || t->logfd >= 0);
}

void ckpt_bar_begin(struct ckpt_tool *t, const char *verb)
{
	uint64_t now = ckpt_now_ns();
	void *shared;

	if (!is_wanted(t))
		return;
	if (!t->bar) {
		shared = mmap(NULL, sizeof(*t->bar), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		t->bar = shared == MAP_FAILED ? NULL : shared;
	}
	if (!t->bar)
		return;
	*t->bar = (struct ckpt_bar){ .progress = { .start = now, .show = show },
				     .verb = verb,
				     .next = now + PATIENCE };
	ckpt_arena_show(t->arena, &t->bar->progress);
}

void ckpt_bar_end(struct ckpt_tool *t)
{
	struct ckpt_bar *bar = t->bar;

	if (!bar)
		return;
	/* Who was born of us and lives on, as those do who fill memory, draws nothing more. */
	__atomic_store_n(&bar->next, NEVER, __ATOMIC_RELAXED);
	ckpt_arena_show(t->arena, NULL);
	if (bar->shown && write(STDERR_FILENO, "\r\033[K", 4) < 0)
		return;
	bar->shown = false;
}
