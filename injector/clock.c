/* SPDX-License-Identifier: Apache-2.0 */
#include "injector/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/clocks.h"

#define NS 1000000000ll
#define OFFSETS "/proc/self/timens_offsets"

/* "monotonic SECONDS NS": NS is never negative. */
static int put(int fd, const char *clock, int64_t offset, struct ckpt_err *err)
{
	int64_t ns = (offset % NS + NS) % NS;

	if (dprintf(fd, "%s %lld %lld\n", clock, (long long)((offset - ns) / NS), (long long)ns) <
	    0)
		return ckpt_fail(err, -errno, "clock %s: cannot set it", clock);
	return 0;
}

/* The offsets are from the clocks of the machine: ours may have some already. */
static int put_all(const struct ckpt_plan *plan, const int64_t own[CKPT_N_CLOCKS],
		   struct ckpt_err *err)
{
	CKPT_FD fd = open(OFFSETS, O_WRONLY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return ckpt_fail(err, -errno, OFFSETS ": cannot open");
	r = put(fd, "monotonic", plan->clock_ahead_ns[CKPT_MONOTONIC] + own[CKPT_MONOTONIC], err);
	if (r >= 0)
		r = put(fd, "boottime", plan->clock_ahead_ns[CKPT_BOOTTIME] + own[CKPT_BOOTTIME],
			err);
	return r;
}

int ckpt_clock_enter(const struct ckpt_plan *plan, int *oldp, struct ckpt_err *err)
{
	int64_t own[CKPT_N_CLOCKS];
	int r;

	*oldp = -1;
	if (!plan->own_clock)
		return 0;
	CKPT_FD offsets = open(OFFSETS, O_RDONLY | O_CLOEXEC);
	if (offsets < 0)
		return ckpt_fail(err, -errno, OFFSETS ": cannot open");
	r = ckpt_clock_offsets(offsets, own, err);
	if (r < 0)
		return r;
	CKPT_FD old = open("/proc/self/ns/time", O_RDONLY | O_CLOEXEC);
	if (old < 0 || unshare(CLONE_NEWTIME) < 0)
		return ckpt_fail(err, -errno, "cannot make a time namespace");
	*oldp = ckpt_take_fd(&old);
	return put_all(plan, own, err);
}

void ckpt_clock_leave(int old)
{
	if (old < 0)
		return;
	setns(old, CLONE_NEWTIME); /* not in a box: our own one is not of its user namespace */
	close(old);
}
