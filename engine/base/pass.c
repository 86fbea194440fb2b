/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whoever yields gives up the rest of its slice (Linux 6.18), and who has the processor keeps
 * it for a slice: so it is a short one (Linux 6.12), and a busy program gets no more than its
 * share. To be nice would not do: it is a smaller share, and the work has to be at its end some
 * time.
 */
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/clocks.h"
#include "engine/base/pass.h"

#define SLICE_NS 100000 /* the least that the kernel takes */

/* The first part of struct sched_attr, whose header and <sched.h> exclude each other. */
struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t slice, deadline, period;
};

/* Returns the one before; 0: there is none. */
static uint64_t set_slice(uint64_t ns)
{
	struct attr attr = { 0 };
	uint64_t before;

	if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) < 0 ||
	    (attr.policy != SCHED_OTHER && attr.policy != SCHED_BATCH))
		return 0;
	before = attr.slice;
	attr.slice = ns;
	return before && syscall(SYS_sched_setattr, 0, &attr, 0) == 0 ? before : 0;
}

/* Who had to wait is not put back again before it has worked for as long. */
void ckpt_pass(struct ckpt_pass *p)
{
	uint64_t now = ckpt_now_ns(), took;

	if (now < p->next)
		return;
	if (!p->next)
		p->slice = set_slice(SLICE_NS);
	sched_yield();
	p->next = ckpt_now_ns();
	took = p->next - now;
	p->next += took > SLICE_NS ? took : SLICE_NS;
}

void ckpt_pass_end(const struct ckpt_pass *p)
{
	if (p->slice)
		set_slice(p->slice);
}

void ckpt_pass_always(void)
{
	set_slice(SLICE_NS);
}
