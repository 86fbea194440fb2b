/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include "engine/base/clocks.h"
#include "engine/base/progress.h"

void ckpt_progress_begin(struct ckpt_progress *p, const char *doing, uint64_t total)
{
	if (!p)
		return;
	p->doing = doing;
	p->start = ckpt_now_ns();
	p->total = total;
	__atomic_store_n(&p->done, 0, __ATOMIC_RELAXED);
}

void ckpt_progress_add(struct ckpt_progress *p, uint64_t bytes)
{
	if (!p)
		return;
	__atomic_fetch_add(&p->done, bytes, __ATOMIC_RELAXED);
	p->show(p);
}

void ckpt_progress_at(struct ckpt_progress *p, uint64_t done, uint64_t total)
{
	if (!p)
		return;
	p->doing = NULL;
	p->total = total;
	__atomic_store_n(&p->done, done, __ATOMIC_RELAXED);
	p->show(p);
}
