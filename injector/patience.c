/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that wakes up waits for the end of the time slice of whoever runs, some milliseconds,
 * unless its own slice is shorter (EEVDF): a copier with a long one lets everybody pass. To be nice
 * would not do: that is a smaller share, and what is copied has to be at its end some time.
 */
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "injector/freeze.h"
#include "injector/patience.h"

#define LONGEST_NS 100000000 /* that the kernel takes */

/* The first part of struct sched_attr, whose header and <sched.h> exclude each other. */
struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t slice, deadline, period;
};

static bool read_attr(pid_t tid, struct attr *attr)
{
	return syscall(SYS_sched_getattr, tid, attr, sizeof(*attr), 0) == 0 &&
	       (attr->policy == SCHED_OTHER || attr->policy == SCHED_BATCH);
}

static int set_slice(void *arg, pid_t tid, struct ckpt_err *err)
{
	struct attr attr = { 0 };

	(void)err;
	if (read_attr(tid, &attr)) {
		attr.slice = *(uint64_t *)arg;
		syscall(SYS_sched_setattr, tid, &attr, 0);
	}
	return 0;
}

static void set_slices(uint64_t ns)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;

	ckpt_each_thread(getpid(), set_slice, &ns, &ignored);
}

void ckpt_patience_begin(struct ckpt_patience *p)
{
	struct attr attr = { 0 };

	if (!p->slice && read_attr(0, &attr) && attr.slice) {
		p->slice = attr.slice;
		set_slices(LONGEST_NS);
	}
}

void ckpt_patience_end(struct ckpt_patience *p)
{
	if (p->slice)
		set_slices(p->slice);
	p->slice = 0;
}
