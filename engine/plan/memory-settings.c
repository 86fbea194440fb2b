/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program said of its areas: advice, guard regions, locks, names, seals. Some of it decides
 * over the pages as they come in and is said before; all that forbids something comes last.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include "engine/memory/layout.h"
#include "engine/plan/memory-calls.h"

#define SET_VMA 0x53564d41 /* PR_SET_VMA, PR_SET_VMA_ANON_NAME: Linux 5.17 */
#define NAME_MAX_LEN 80    /* ANON_VMA_NAME_MAX_LEN */
#define HUGE_PAGE (2ull << 20)
#define GUARD_INSTALL 102 /* MADV_GUARD_INSTALL: Linux 6.13 */
#define SYS_MSEAL 462     /* Linux 6.10 */

static void advise(struct ckpt_program_builder *b, uint64_t start, uint64_t end, int advice)
{
	EMIT(b, 0, 0, SYS_madvise, start, end - start, advice);
}

/* Huge pages come back where whole ones are going to be filled: in others a single page would bring
 * in all of a huge one. */
static void emit_huge(struct ckpt_program_builder *b, const Ckpt__Area *a)
{
	struct ckpt_pages runs = ckpt_pages_between(&b->task->pages, a->start, a->end);

	for (size_t i = 0; i < runs.n;) {
		uint64_t start = runs.run[i].at, end = start;

		for (; i < runs.n && runs.run[i].at == end; i++)
			end += runs.run[i].n_pages * CKPT_PAGE;
		start = (start + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
		end = (end < a->end ? end : a->end) & ~(HUGE_PAGE - 1);
		if (start < end)
			advise(b, start, end, MADV_HUGEPAGE);
	}
}

static bool takes_nodes(const Ckpt__Area *a)
{
	return a->nodes.len != 0;
}

/* Some of its nodes, or all of them, are here. */
static bool has_node(const struct ckpt_host *host, const Ckpt__Area *a, bool all)
{
	size_t n = 0, here = 0;

	for (size_t i = 0; i < 8 * a->nodes.len && i < 8 * sizeof(host->nodes); i++) {
		if (!(a->nodes.data[i / 8] >> i % 8 & 1))
			continue;
		n++;
		here += host->nodes[i / 8] >> i % 8 & 1;
	}
	return all ? here == n : here > 0;
}

/* Before pages come; those that have come already, with memory that is moved home, follow. */
static void emit_policy(struct ckpt_program_builder *b, const Ckpt__Area *a)
{
	uint8_t nodes[CKPT_NODE_BYTES] = { 0 };

	if (!a->has_mempolicy || (takes_nodes(a) && !has_node(b->p->host, a, false)))
		return;
	memcpy(nodes, a->nodes.data, a->nodes.len);
	EMIT(b, 0, 0, SYS_mbind, a->start, a->end - a->start, a->mempolicy,
	     takes_nodes(a) ? (int64_t)ckpt_program_data(b, nodes, sizeof(nodes)) : 0,
	     takes_nodes(a) ? 8 * sizeof(nodes) + 1 : 0, /* the kernel looks at one less */
	     MPOL_MF_MOVE);
}

void ckpt_emit_area_first(struct ckpt_program_builder *b, const Ckpt__Area *a)
{
	emit_policy(b, a);
	if (a->flags & CKPT__AREA__FLAG__HUGE)
		emit_huge(b, a);
	if (a->flags & CKPT__AREA__FLAG__NO_HUGE)
		advise(b, a->start, a->end, MADV_NOHUGEPAGE);
}

static void emit_advice(struct ckpt_program_builder *b, const Ckpt__Area *a)
{
	static const struct {
		uint32_t flag;
		int advice;
	} table[] = {
		{ CKPT__AREA__FLAG__DONT_FORK, MADV_DONTFORK },
		{ CKPT__AREA__FLAG__DONT_DUMP, MADV_DONTDUMP },
		{ CKPT__AREA__FLAG__WIPE_ON_FORK, MADV_WIPEONFORK },
		{ CKPT__AREA__FLAG__HUGE, MADV_HUGEPAGE },
		{ CKPT__AREA__FLAG__MERGEABLE, MADV_MERGEABLE },
		{ CKPT__AREA__FLAG__SEQUENTIAL, MADV_SEQUENTIAL },
		{ CKPT__AREA__FLAG__RANDOM, MADV_RANDOM },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (a->flags & table[i].flag)
			advise(b, a->start, a->end, table[i].advice);
}

/* Returns whether the area has any. */
static bool emit_guards(struct ckpt_program_builder *b, const Ckpt__Area *a)
{
	const Ckpt__Mm *mm = b->task->mm;
	bool any = false;

	for (size_t i = 0; i + 1 < mm->n_guards; i += 2) {
		uint64_t start = mm->guards[i] > a->start ? mm->guards[i] : a->start;
		uint64_t end = mm->guards[i + 1] < a->end ? mm->guards[i + 1] : a->end;

		if (start >= end)
			continue;
		advise(b, start, end, GUARD_INSTALL);
		any = true;
	}
	return any;
}

static const char *name_of(const Ckpt__Area *a)
{
	static const char *const prefixes[] = { "[anon:", "[anon_shmem:" };

	for (size_t i = 0; a->name && i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		size_t n = strlen(prefixes[i]);

		if (!strncmp(a->name, prefixes[i], n))
			return a->name + n;
	}
	return NULL;
}

static void emit_name(struct ckpt_program_builder *b, const Ckpt__Area *a)
{
	char name[NAME_MAX_LEN] = "";
	const char *is = name_of(a);
	size_t n = is ? strlen(is) : 0;

	if (n < 2 || n > sizeof(name) || !b->p->host->has_area_names)
		return;
	memcpy(name, is, n - 1); /* without the bracket */
	EMIT(b, 0, 0, SYS_prctl, SET_VMA, 0, a->start, a->end - a->start,
	     ckpt_program_data(b, name, sizeof(name)));
}

/* Locking brings in all pages, and says no where there is none to be had: guard pages, those that
 * nobody may touch, those behind the end of a file. Locked it is then all the same, unless that
 * was too much: locking that brings in nothing shows it. */
static void emit_lock(struct ckpt_program_builder *b, const Ckpt__Area *a, bool guarded)
{
	bool on_fault = a->flags & CKPT__AREA__FLAG__LOCK_ON_FAULT;
	bool may_lack = guarded || !a->prot || a->file;

	if (!(a->flags & CKPT__AREA__FLAG__LOCKED))
		return;
	if (on_fault || may_lack)
		EMIT(b, 0, 0, SYS_mlock2, a->start, a->end - a->start, MLOCK_ONFAULT);
	if (!on_fault)
		EMIT(b, may_lack ? CKPT_SV_MAY_FAIL : 0, 0, SYS_mlock2, a->start, a->end - a->start,
		     0);
}

void ckpt_emit_area_settings(struct ckpt_program_builder *b, const Ckpt__Area *a)
{
	bool guarded;

	emit_advice(b, a);
	guarded = emit_guards(b, a);
	emit_lock(b, a, guarded);
	emit_name(b, a);
}

void ckpt_emit_seals(struct ckpt_program_builder *b)
{
	const Ckpt__Mm *mm = b->task->mm;

	for (size_t i = 0; i < mm->n_areas; i++)
		if (mm->areas[i]->flags & CKPT__AREA__FLAG__SEALED)
			EMIT(b, 0, 0, SYS_MSEAL, mm->areas[i]->start,
			     mm->areas[i]->end - mm->areas[i]->start, 0);
}

void ckpt_emit_future_locks(struct ckpt_program_builder *b)
{
	if (b->task->mm->lock_future)
		EMIT(b, 0, 0, SYS_mlockall, b->task->mm->lock_future);
}

static void lacks(struct ckpt_planner *p, const struct ckpt_task *task, const char *what)
{
	ckpt_problem(p, CKPT_E_KERNEL_FEATURE, "process %d: this kernel has no %s", task->pid,
		     what);
}

static void check_policies(struct ckpt_planner *p, const struct ckpt_task *task)
{
	size_t missing = 0;

	for (size_t i = 0; i < task->mm->n_areas; i++) {
		const Ckpt__Area *a = task->mm->areas[i];

		missing += a->has_mempolicy && !has_node(p->host, a, true);
	}
	if (missing)
		ckpt_loss(p,
			  "process %d: the memory policy of %zu areas: it names nodes that are not "
			  "here",
			  task->pid, missing);
}

static void check_locked(struct ckpt_planner *p, const struct ckpt_task *task)
{
	bool may = ckpt_host_has_init_cap(p->host, CAP_IPC_LOCK);
	uint64_t bytes = 0, limit = p->host->limits[RLIMIT_MEMLOCK].rlim_max;

	for (size_t i = 0; i < task->mm->n_areas; i++)
		if (task->mm->areas[i]->flags & CKPT__AREA__FLAG__LOCKED)
			bytes += task->mm->areas[i]->end - task->mm->areas[i]->start;
	if (task->mm->lock_future && !limit && !may)
		ckpt_problem(p, CKPT_E_PRIVILEGE,
			     "process %d: locks its memory, and RLIMIT_MEMLOCK here is 0",
			     task->pid);
	if (bytes > limit && !may)
		ckpt_problem(p, CKPT_E_PRIVILEGE,
			     "process %d: has %llu bytes of locked memory, and here it can be %llu "
			     "at most (RLIMIT_MEMLOCK); more takes cap_ipc_lock",
			     task->pid, (unsigned long long)bytes, (unsigned long long)limit);
}

void ckpt_check_area_settings(struct ckpt_planner *p, const struct ckpt_task *task)
{
	const struct ckpt_host *host = p->host;
	uint32_t flags = 0;
	bool named = false;

	for (size_t i = 0; i < task->mm->n_areas; i++) {
		flags |= task->mm->areas[i]->flags;
		named |= name_of(task->mm->areas[i]) != NULL;
	}
	check_locked(p, task);
	check_policies(p, task);
	if (task->mm->n_guards && !host->has_guards)
		lacks(p, task, "guard regions (MADV_GUARD_INSTALL, Linux 6.13)");
	if (flags & CKPT__AREA__FLAG__SEALED && !host->has_mseal)
		lacks(p, task, "mseal(2) (Linux 6.10)");
	if (flags & CKPT__AREA__FLAG__DROPPABLE && !host->has_droppable)
		lacks(p, task, "droppable memory (MAP_DROPPABLE, Linux 6.11)");
	if (named && !host->has_area_names)
		ckpt_loss(p, "process %d: names of areas: this kernel keeps none", task->pid);
}

/* Of private memory. What is promised to an area counts, not what it uses. */
static uint64_t huge_bytes(const struct ckpt_snapshot *snap, unsigned int shift)
{
	uint64_t bytes = 0;

	for (size_t t = 0; t < snap->n_tasks; t++) {
		const Ckpt__Mm *mm = snap->tasks[t]->mm;

		for (size_t i = 0; mm && i < mm->n_areas; i++) {
			const Ckpt__Area *a = mm->areas[i];

			if (a->huge_shift == shift && !a->shared &&
			    !(a->flags & CKPT__AREA__FLAG__NO_RESERVE))
				bytes += a->end - a->start;
		}
	}
	return bytes;
}

void ckpt_takes_huge(struct ckpt_planner *p, unsigned int shift, uint64_t bytes)
{
	p->huge[shift] += bytes;
}

void ckpt_plan_huge(struct ckpt_planner *p)
{
	for (unsigned int shift = 16; shift <= 40; shift++) {
		uint64_t need = (huge_bytes(p->snap, shift) + p->huge[shift]) >> shift, have = 0;

		for (size_t i = 0; i < p->host->n_huge; i++)
			have += p->host->huge[i].shift == shift ? p->host->huge[i].free : 0;
		if (need > have)
			ckpt_problem(p, CKPT_E_HUGE_PAGES,
				     "%llu huge pages of %llu kB are needed, and %llu are free",
				     (unsigned long long)need, (1ull << shift) / 1024,
				     (unsigned long long)have);
	}
}
