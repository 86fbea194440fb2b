/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line on a terminal that is rewritten: bytes, share, rate, time left. Nothing
 * is shown of what is over in half a second.
 */
#include <stdio.h>
#include <unistd.h>
#include "engine/base/clocks.h"
#include "tools/ckpt.h"

#define PATIENCE 500000000ull /* ns before the first line */
#define PERIOD 100000000ull   /* ns between lines */

void ckpt_progress_init(struct ckpt_progress *p, const char *verb)
{
	*p = (struct ckpt_progress){ .on = isatty(STDERR_FILENO),
				     .verb = verb,
				     .start = ckpt_now_ns() };
}

static void line(const struct ckpt_progress *p, uint64_t done, uint64_t total, uint64_t elapsed)
{
	char now[24], all[24], rate[24], text[160];
	uint64_t left_s = done && total > done ?
				  (uint64_t)((double)elapsed / done * (total - done) / 1e9) :
				  0;
	int n;

	ckpt_size_text(done, now);
	ckpt_size_text(total, all);
	ckpt_size_text((uint64_t)(done * 1e9 / elapsed), rate);
	if (total)
		n = snprintf(text, sizeof(text),
			     "\r\033[K%s %s of %s (%u %%), %s/s, %llu:%02llu left", p->verb, now,
			     all, (unsigned int)(done >= total ? 100 : done * 100.0 / total), rate,
			     (unsigned long long)(left_s / 60), (unsigned long long)(left_s % 60));
	else
		n = snprintf(text, sizeof(text), "\r\033[K%s %s, %s/s", p->verb, now, rate);
	if (write(STDERR_FILENO, text, n) < 0)
		return;
}

void ckpt_progress_show(void *arg, uint64_t done, uint64_t total)
{
	struct ckpt_progress *p = arg;
	uint64_t now;

	if (!p->on)
		return;
	now = ckpt_now_ns();
	if (now - p->start < PATIENCE || now - p->last < PERIOD)
		return;
	p->last = now;
	p->shown = true;
	line(p, done, total, now - p->start);
}

void ckpt_progress_end(struct ckpt_progress *p)
{
	if (p->shown && write(STDERR_FILENO, "\r\033[K", 4) < 0)
		return;
	p->shown = false;
}
