/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contexts of io_setup(2): each is named by the address that its ring of events is mapped at. The
 * ring is taken as it is. Nobody can ask which requests are under way: those that a disk works on
 * are waited for, since they end by themselves, and that there may be others is named.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include "engine/base/cleanup.h"
#include "engine/base/clocks.h"
#include "engine/base/text.h"
#include "engine/capture/state.h"
#include "engine/memory/ring.h"

#define DISKS "/proc/diskstats"
#define DISKS_MS 200 /* the longest that disks are waited for */

/* Does any disk work at something? Not known: it does not. */
static bool disks_work(void)
{
	char line[512];
	FILE *f = fopen(DISKS, "re");
	unsigned long n = 0, under_way = 0;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*u %*u %*s %*u %*u %*u %*u %*u %*u %*u %*u %lu", &n) == 1)
			under_way += n;
	}
	if (f)
		fclose(f);
	return under_way != 0;
}

static void await_disks(void)
{
	uint64_t end = ckpt_now_ns() + DISKS_MS * 1000000ull;

	while (disks_work() && ckpt_now_ns() < end)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* Of a child that inherited the mapping it is none. To ask for no events changes nothing. */
static int is_context(struct ckpt_capture *c, struct ckpt_capture_task *t, uint64_t at,
		      struct ckpt_err *err)
{
	struct ckpt_collect cc = ckpt_collect_of(c, t->frozen->pid, t->frozen->tids[0]);
	struct timespec none = { 0 };
	int64_t ret;
	int r = ckpt_call(&cc, SYS_io_getevents, (uint64_t[6]){ at }, 4, &none, sizeof(none), &ret,
			  err);

	return r < 0 ? r : ret >= 0;
}

static int refuse(struct ckpt_capture_task *t, const Ckpt__Area *area, const char *why,
		  struct ckpt_err *err)
{
	return ckpt_refuse(err, CKPT_E_AREA_KIND, -EOPNOTSUPP,
			   "%s: area %llx-%llx, a ring of io_setup(2): %s", t->who,
			   (unsigned long long)area->start, (unsigned long long)area->end, why);
}

static int take(struct ckpt_capture *c, struct ckpt_capture_task *t, Ckpt__Area *area,
		struct ckpt_err *err)
{
	size_t len = area->end - area->start;
	struct iovec range = { (void *)(uintptr_t)area->start, len };
	struct ckpt_ring ring;
	int r = is_context(c, t, area->start, err);

	if (r < 0)
		return r;
	if (!r)
		return refuse(t, area, "it is that of another process", err);
	if (len > CKPT_RING_MAX)
		return refuse(t, area, "it is too large", err);
	if (!t->rings++)
		await_disks();
	area->ring.data = ckpt_alloc(c->arena, len);
	r = c->src->ops->read_mem(c->src, t->frozen->pid, &range, 1, area->ring.data, err);
	if (r < 0)
		return r;
	memcpy(&ring, area->ring.data, sizeof(ring));
	if (!ckpt_ring_sane(&ring, len))
		return refuse(t, area, "the process has changed what the kernel wrote there", err);
	while (len > sizeof(ring) && !area->ring.data[len - 1])
		len--;
	area->ring.len = len;
	area->has_ring = true;
	return 0;
}

int ckpt_capture_ring(struct ckpt_capture *c, struct ckpt_capture_task *t, Ckpt__Area *area,
		      struct ckpt_err *err)
{
	if (!ckpt_may_call(c, t->frozen->tids[0])) /* why is a problem already */
		return 0;
	if (!t->rings)
		ckpt_capture_lost(c,
				  "%s: what io_submit(2) was asked and is not done, if anything: "
				  "nobody can tell",
				  t->who);
	return ckpt_capture_problem(c, take(c, t, area, err), err);
}
