/* SPDX-License-Identifier: Apache-2.0 */
/* Dead memory in a target. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "engine/base/arch/x86-64.h"
#include "engine/base/cleanup.h"
#include "injector/ptrace.h"
#include "injector/scratch.h"

#define RED_ZONE 128     /* below the stack pointer: belongs to the running function */
#define ROOM (32u << 10) /* for handlers of signals that come between our death and the return */
#define DEEP (16u << 10) /* further down than handlers usually get */
#define WINDOW 512       /* pages that are looked at, of an area */
#define LOOKS_MAX 16     /* pages whose content is looked at */
#define START_PAGES 8    /* of stack that the start of a program uses, at most */
#define PAGE_TABLE (2ul << 20) /* what one of them maps */
#define NEXT_MAX 4             /* pages that are looked at without asking whether they are there */
#define STACKS_MAX 64          /* other threads whose stacks are looked at */
#define THERE (3ull << 62)     /* of pagemap: present or swapped */

static uint64_t page_of(uint64_t addr)
{
	return addr & ~(CKPT_PAGE - 1);
}

/* What the kernel says of N pages from AT on. */
static bool look(struct ckpt_scratch_map *map, const struct ckpt_proc *proc, uint64_t at, size_t n,
		 uint64_t *entry)
{
	char path[32];

	if (map->pid != proc->pid) {
		ckpt_scratch_map_close(map);
		snprintf(path, sizeof(path), "/proc/%d/pagemap", ckpt_proc_acts(proc));
		map->fd = open(path, O_RDONLY | O_CLOEXEC);
		map->pid = proc->pid;
	}
	return map->fd >= 0 && pread(map->fd, entry, n * 8, at / CKPT_PAGE * 8) == (ssize_t)(n * 8);
}

void ckpt_scratch_map_close(struct ckpt_scratch_map *map)
{
	if (map->pid)
		ckpt_close_fd(&map->fd);
	map->pid = 0;
}

/* At most NEXT_MAX pages. */
static bool are_zero(pid_t pid, uint64_t page, size_t n)
{
	uint64_t word[NEXT_MAX * CKPT_PAGE / 8], any = 0;

	if (ckpt_vm_get(pid, page, word, n * CKPT_PAGE) < 0)
		return false;
	for (size_t i = 0; i < n * CKPT_PAGE / 8; i++)
		any |= word[i];
	return !any;
}

/* A run of pages between LO and HI that nobody ever touched, or that were left zero as we do, so
 * that the second dump takes no more memory than the first; 0: none. Near HI, or else near LO:
 * those pages share the page table of what is in use there, so that no huge page comes into being.
 */
static uint64_t untouched(struct ckpt_scratch_map *map, const struct ckpt_proc *proc, uint64_t lo,
			  uint64_t hi, size_t len, bool near_hi)
{
	uint64_t entry[WINDOW];
	size_t want = (len + CKPT_PAGE - 1) / CKPT_PAGE, n, run = 0, n_looks = 0;
	pid_t pid = ckpt_proc_acts(proc);

	lo = page_of(lo + CKPT_PAGE - 1);
	hi = page_of(hi);
	if (hi <= lo || hi - lo < want * CKPT_PAGE)
		return 0;
	n = (hi - lo) / CKPT_PAGE < WINDOW ? (hi - lo) / CKPT_PAGE : WINDOW;
	if (near_hi)
		lo = hi - n * CKPT_PAGE;
	if (!look(map, proc, lo, n, entry))
		return 0;
	for (size_t k = 0; k < n; k++) {
		size_t i = near_hi ? n - 1 - k : k;
		bool unused = !(entry[i] & THERE) ||
			      (n_looks++ < LOOKS_MAX && are_zero(pid, lo + i * CKPT_PAGE, 1));

		run = unused ? run + 1 : 0;
		if (run == want)
			return lo + (near_hi ? i : i - want + 1) * CKPT_PAGE;
	}
	return 0;
}

/* What lies below it in the thread's own area is free. */
static uint64_t top_of(const struct ckpt_tracee *t)
{
	uint64_t sp = t->found.rsp;

	return (t->rest_at && t->rest_at < sp ? t->rest_at : sp) - RED_ZONE;
}

static const struct ckpt_vm_area *own_area(const struct ckpt_tracee *t)
{
	const struct ckpt_vm_area *a = ckpt_vm_area_at(&t->proc->areas, t->found.rsp);

	return a && ckpt_vm_area_is_plain(a) ? a : NULL;
}

static bool own_stack(const struct ckpt_tracee *t, const struct ckpt_vm_area **ap)
{
	*ap = own_area(t);
	return *ap && ckpt_vm_area_is_stack(&t->proc->areas, *ap);
}

static uint64_t room_in(const struct ckpt_vm_area *a)
{
	uint64_t quarter = (a->end - a->start) / 4;

	return quarter < ROOM ? quarter : ROOM;
}

/* N pages that nobody touched, or that are zero. Reading the first would put a page of zeros there,
 * which costs more to replace than to do without. */
static bool are_free(struct ckpt_scratch_map *map, const struct ckpt_tracee *t, uint64_t at,
		     size_t n)
{
	uint64_t entry[NEXT_MAX], there = 0;

	if (!look(map, t->proc, at, n, entry))
		return false;
	for (size_t i = 0; i < n; i++)
		there |= entry[i] & THERE;
	return !there || are_zero(t->tid, at, n);
}

/* Pages near TOP, where mostly nothing was left: next to it, or below what the start of a program
 * uses. That costs a quarter of a look at many. */
static uint64_t near_to(struct ckpt_scratch_map *map, const struct ckpt_tracee *t, uint64_t lo,
			uint64_t top, size_t len)
{
	static const size_t down[] = { 0, START_PAGES };
	size_t n = (len + CKPT_PAGE - 1) / CKPT_PAGE;

	for (int i = 0; i < 2; i++) {
		uint64_t at = page_of(top) - (down[i] + n) * CKPT_PAGE;

		if (n > NEXT_MAX || page_of(top) < lo + (down[i] + n) * CKPT_PAGE ||
		    at / PAGE_TABLE != top / PAGE_TABLE)
			return 0;
		if (are_free(map, t, at, n))
			return at;
	}
	return 0;
}

static uint64_t in_own_stack(struct ckpt_scratch_map *map, const struct ckpt_tracee *t, size_t len)
{
	const struct ckpt_vm_area *a;
	uint64_t lo, at;

	if (!own_stack(t, &a))
		return 0;
	lo = a->start + room_in(a);
	at = near_to(map, t, lo, top_of(t), len);
	return at ? at : untouched(map, t->proc, lo, top_of(t), len, true);
}

/* Where the stack pointers of all threads in an area leave off. */
static uint64_t lowest_top(const struct ckpt_proc *proc, const struct ckpt_vm_area *a)
{
	uint64_t lowest = a->end;

	for (size_t i = 0; i < proc->n; i++) {
		const struct ckpt_tracee *t = proc->threads[i];

		if (t->state == CKPT_TRACEE_STOPPED && t->found.rsp >= a->start &&
		    t->found.rsp < a->end && top_of(t) < lowest)
			lowest = top_of(t);
	}
	return lowest;
}

static uint64_t in_main_stack(struct ckpt_scratch_map *map, const struct ckpt_tracee *t, size_t len)
{
	const struct ckpt_vm_areas *areas = &t->proc->areas;

	for (size_t i = areas->n; i-- > 0;) {
		const struct ckpt_vm_area *a = &areas->v[i];

		if (a->what == CKPT_AREA_STACK && ckpt_vm_area_is_plain(a))
			return untouched(map, t->proc, a->start + room_in(a),
					 lowest_top(t->proc, a), len, false);
	}
	return 0;
}

static uint64_t in_other_stack(struct ckpt_scratch_map *map, const struct ckpt_tracee *t,
			       size_t len)
{
	const struct ckpt_proc *proc = t->proc;

	for (size_t i = 0; i < proc->n && i < STACKS_MAX; i++) {
		const struct ckpt_tracee *other = proc->threads[i];
		const struct ckpt_vm_area *a;
		uint64_t at;

		if (other == t || other->state != CKPT_TRACEE_STOPPED || !own_stack(other, &a) ||
		    a->end - a->start < 2 * ROOM)
			continue;
		at = untouched(map, proc, a->start + ROOM, lowest_top(proc, a) - ROOM, len, false);
		if (at)
			return at;
	}
	return 0;
}

static uint64_t in_largest_hole(struct ckpt_scratch_map *map, const struct ckpt_tracee *t,
				size_t len)
{
	const struct ckpt_vm_areas *areas = &t->proc->areas;
	uint64_t best = 0, best_size = 2 * ROOM;

	for (size_t i = 0; i < areas->n; i++) {
		const struct ckpt_vm_area *a = &areas->v[i];
		uint64_t at;

		if (!ckpt_vm_area_is_plain(a) || a->end - a->start < best_size)
			continue;
		at = untouched(map, t->proc, a->start + ROOM, a->end, len, true);
		if (at) {
			best = at;
			best_size = a->end - a->start;
		}
	}
	return best;
}

static uint64_t below_red_zone(const struct ckpt_tracee *t, size_t len, bool of_stack)
{
	const struct ckpt_vm_area *a;
	bool is_stack = own_stack(t, &a);
	uint64_t at = (top_of(t) - len) & ~63ull;

	return a && is_stack == of_stack && at > a->start && at - a->start >= CKPT_PAGE &&
			       at < top_of(t) ?
		       at :
		       0;
}

int ckpt_scratch_choice(struct ckpt_scratch_map *map, const struct ckpt_tracee *t, size_t len,
			unsigned int n, struct ckpt_scratch *s)
{
	s->touched = false;
	switch (n) {
	case 0:
		s->addr = in_own_stack(map, t, len);
		break;
	case 1:
		s->addr = in_main_stack(map, t, len);
		break;
	case 2:
		s->addr = in_other_stack(map, t, len);
		break;
	case 3:
		s->addr = below_red_zone(t, len, true);
		s->touched = true;
		break;
	case 4:
		s->addr = in_largest_hole(map, t, len);
		break;
	case 5:
		s->addr = below_red_zone(t, len, false);
		s->touched = true;
		break;
	default:
		return -ENOENT;
	}
	return s->addr != 0;
}

uint64_t ckpt_scratch_keep(const struct ckpt_tracee *t, const void *bytes, size_t len)
{
	const struct ckpt_vm_area *a;
	bool is_stack = own_stack(t, &a);
	uint64_t top = t->found.rsp - RED_ZONE - len, at;

	if (!a)
		return 0;
	at = (is_stack && top - a->start >= DEEP + CKPT_PAGE ? top - DEEP : top) & ~63ull;
	if (at < a->start || at >= top + 1)
		return 0;
	return ckpt_vm_put(t->tid, at, bytes, len) < 0 ? 0 : at;
}
