/* SPDX-License-Identifier: Apache-2.0 */
/* A tree whose clocks are not ours: it lives in another time namespace, all of it in the same. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "engine/base/cleanup.h"
#include "engine/base/clocks.h"
#include "engine/capture/state.h"

int ckpt_capture_clocks(struct ckpt_capture *c, struct ckpt_err *err)
{
	int64_t theirs[CKPT_N_CLOCKS], ours[CKPT_N_CLOCKS];
	Ckpt__Inventory *inv = c->snap->inventory;
	int r;

	if (!c->time_ns[0] || !strcmp(c->time_ns, c->our_ns[CKPT_NS_TIME]))
		return 0;
	CKPT_FD their_fd =
		c->src->ops->open_proc(c->src, c->tasks[0].frozen->pid, "timens_offsets", err);
	if (their_fd < 0)
		return their_fd;
	CKPT_FD our_fd = open("/proc/self/timens_offsets", O_RDONLY | O_CLOEXEC);
	if (our_fd < 0)
		return ckpt_fail(err, -errno, "/proc/self/timens_offsets: cannot open");
	r = ckpt_clock_offsets(their_fd, theirs, err);
	if (r >= 0)
		r = ckpt_clock_offsets(our_fd, ours, err);
	if (r < 0)
		return r;
	inv->has_monotonic_ahead_ns = inv->has_boottime_ahead_ns = true;
	inv->monotonic_ahead_ns = theirs[CKPT_MONOTONIC] - ours[CKPT_MONOTONIC];
	inv->boottime_ahead_ns = theirs[CKPT_BOOTTIME] - ours[CKPT_BOOTTIME];
	return 0;
}
