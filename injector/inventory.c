/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks, machine, and the vDSO, which another kernel needs. */
#include <config.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "engine/base/clocks.h"
#include "engine/store/image.h"
#include "injector/inventory.h"

/* The vDSO of the root: all tasks of one kernel have the same. */
static int read_vdso(const struct ckpt_snapshot *snap, struct ckpt_source *src,
		     struct ckpt_arena *arena, struct ckpt_err *err)
{
	const struct ckpt_task *root = snap->tasks[0];
	Ckpt__Inventory *inv = snap->inventory;

	for (size_t i = 0; root->mm && i < root->mm->n_areas; i++) {
		const Ckpt__Area *a = root->mm->areas[i];
		struct iovec range = { (void *)a->start, a->end - a->start };

		if (!a->name || strcmp(a->name, "[vdso]"))
			continue;
		inv->has_vdso = true;
		inv->vdso.len = range.iov_len;
		inv->vdso.data = ckpt_alloc(arena, range.iov_len);
		return src->ops->read_mem(src, root->pid, &range, 1, inv->vdso.data, err);
	}
	return 0;
}

static uint64_t xfeatures(const struct ckpt_snapshot *snap)
{
	uint64_t all = 0;

	for (size_t i = 0; i < snap->n_tasks; i++) {
		for (size_t j = 0; j < snap->tasks[i]->n_threads; j++) {
			const struct ckpt_regs *regs = &snap->tasks[i]->threads[j].regs;

			all |= ckpt_xstate_bv(regs->xstate, regs->xstate_len);
		}
	}
	return all;
}

/* The date is that of the freeze; the other clocks are read when all timers have been: a program in
 * which they go on from there has none that rings too early. */
static void fill_clocks(Ckpt__Inventory *inv, const struct ckpt_source *src)
{
	uint64_t now = ckpt_now_ns(), ago = now - src->frozen_at;
	uint64_t since = src->thawed_at ? now - src->thawed_at : 0;

	inv->has_time_ns = inv->has_monotonic_ns = inv->has_boottime_ns = true;
	inv->time_ns = ckpt_clock_ns(CLOCK_REALTIME) - ago;
	inv->monotonic_ns = now - since + inv->monotonic_ahead_ns;
	inv->boottime_ns = ckpt_clock_ns(CLOCK_BOOTTIME) - since + inv->boottime_ahead_ns;
}

int ckpt_fill_inventory(struct ckpt_snapshot *snap, struct ckpt_source *src, bool shell_job,
			struct ckpt_arena *arena, struct ckpt_err *err)
{
	Ckpt__Inventory *inv = snap->inventory;
	struct utsname uts;

	inv->format = CKPT_IMAGE_FORMAT;
	inv->ckpt_version = (char *)PACKAGE_VERSION;
	if (!uname(&uts)) {
		inv->hostname = ckpt_strdup(arena, uts.nodename);
		inv->kernel = ckpt_strdup(arena, uts.release);
		inv->machine = ckpt_strdup(arena, uts.machine);
	}
	inv->has_root_pid = inv->has_shell_job = inv->has_outer_sid = inv->has_outer_pgid = true;
	inv->root_pid = snap->tasks[0]->pid;
	inv->shell_job = shell_job;
	inv->outer_sid = getsid(0);
	inv->outer_pgid = getpgid(0);
	inv->has_xfeatures = inv->has_uid = true;
	inv->xfeatures = xfeatures(snap);
	inv->uid = getuid();
	fill_clocks(inv, src);
	return read_vdso(snap, src, arena, err);
}

void ckpt_fill_stats(const struct ckpt_snapshot *snap, struct ckpt_dump_stats *stats)
{
	stats->n_tasks = snap->n_tasks;
	stats->n_threads = 0;
	for (size_t i = 0; i < snap->n_tasks; i++)
		stats->n_threads += snap->tasks[i]->n_threads;
	stats->losses = snap->lost;
	stats->n_losses = snap->n_lost;
}
