/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which clocks a restored tree has. On the machine that it was dumped on they went on meanwhile,
 * and there is nothing to do. After a reboot, or on another machine, CLOCK_MONOTONIC may be behind
 * what the program has seen, which no program expects: then it goes on from there, in a time
 * namespace.
 */
#include <linux/capability.h>
#include "engine/plan/planner.h"

#define NS 1000000000ll

static const char *const names[CKPT_N_CLOCKS] = { "CLOCK_MONOTONIC", "CLOCK_BOOTTIME" };

/* By how much a clock of the image is ahead of the same clock here. */
static int64_t ahead(const struct ckpt_planner *p, int clock)
{
	const Ckpt__Inventory *inv = p->snap->inventory;
	uint64_t then = clock == CKPT_MONOTONIC ? inv->monotonic_ns : inv->boottime_ns;

	return (int64_t)then - p->host->clock_ns[clock];
}

static bool goes_back(const struct ckpt_planner *p)
{
	return ahead(p, CKPT_MONOTONIC) > 0 || ahead(p, CKPT_BOOTTIME) > 0;
}

static bool can_have_own(const struct ckpt_planner *p)
{
	return p->host->has_time_ns && (p->host->box || ckpt_host_has_cap(p->host, CAP_SYS_ADMIN));
}

static void name_losses(struct ckpt_planner *p, bool own_then)
{
	for (int i = 0; i < CKPT_N_CLOCKS; i++) {
		int64_t by = ahead(p, i);

		if (by > 0)
			ckpt_loss(p, "%s goes back by %lld s", names[i],
				  (long long)((by + NS - 1) / NS));
		else if (own_then)
			ckpt_loss(p, "%s jumps ahead by %lld s", names[i], (long long)(-by / NS));
	}
}

void ckpt_plan_clock(struct ckpt_planner *p)
{
	const Ckpt__Inventory *inv = p->snap->inventory;
	enum ckpt_clock_choice choice = p->opts->clock;
	bool own_then = inv->has_monotonic_ahead_ns, back = goes_back(p);

	if (!inv->has_monotonic_ns || !inv->has_boottime_ns || inv->monotonic_ns > INT64_MAX / 2 ||
	    inv->boottime_ns > INT64_MAX / 2)
		return;
	if (choice == CKPT_CLOCK_AUTO)
		choice = own_then || back ? CKPT_CLOCK_CONTINUE : CKPT_CLOCK_HOST;
	/* As if no time had passed but since the host was looked at: no timer has been set again
	 * before that. */
	for (int i = 0; i < CKPT_N_CLOCKS; i++)
		p->plan->clock_ahead_ns[i] = ahead(p, i);
	p->plan->own_clock = choice == CKPT_CLOCK_CONTINUE && can_have_own(p);
	if (choice == CKPT_CLOCK_CONTINUE && p->opts->clock == choice && !p->plan->own_clock)
		ckpt_problem(p, p->host->has_time_ns ? CKPT_E_PRIVILEGE : CKPT_E_KERNEL_FEATURE,
			     "--clock continue: a time namespace cannot be made here%s",
			     p->host->has_time_ns ? " (cap_sys_admin)" : "");
	else if (!p->plan->own_clock)
		name_losses(p, own_then);
	else if (back && !own_then)
		ckpt_loss(p, "the clocks of this machine are behind those of the dump: the tree "
			     "gets a time namespace of its own, in which they go on");
}
