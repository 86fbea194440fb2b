/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of a process that stands still: a hash of each page that is there and not zero. Left
 * out is what the kernel writes (rseq), what is dead (below the stack pointers) and where the
 * process waits for the harness.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/arch/x86-64.h"
#include "tests/fidelity/oracle.h"
#include "tests/lib/proc.h"

#define AREA_MOST (64ul << 20)
#define PAGE ORACLE_PAGE
#define KEPT_MOST 8192 /* pages, to say where they differ */
#define KEPT_AREA                                                                                \
	(8 << 20) /* of larger ones none: for stacks, of which each side leaves out another part \
		   */
#define WHERE (sizeof(((struct oracle_page *)0)->where) - 6) /* of a name */
#define AT_ONCE 64
#define DEAD_MOST (64ul << 10) /* below a stack pointer; further down may be something else */
#define RED_ZONE 128
#define WAITS_IN \
	1024         /* what is left of a wait: the kernel writes it when the wait is interrupted */
#define CANCEL 0x308 /* where glibc notes that a thread of several waits in a call */
#define OWN_TLS 256  /* where the preloaded library has its few words of each thread */

#define THERE (3ull << 62) /* of an entry of pagemap: present or swapped */

struct reader {
	struct oracle *o;
	struct ckpt_source *src;
	pid_t pid, name;
	int pagemap, mem;
	uint64_t library_end; /* of what is mapped of the preloaded library; 0: there is none */
	const struct oracle_page *like; /* of the other side */
	size_t n_like;
};

static void leave_out(struct reader *r, uint64_t start, uint64_t end)
{
	struct oracle *o = r->o;

	o->gaps = realloc(o->gaps, (o->n_gaps + 1) * sizeof(*o->gaps));
	if (!o->gaps)
		abort();
	o->gaps[o->n_gaps++] = (struct oracle_gap){ r->name, { start, end } };
}

void oracle_blank(const struct oracle *o, pid_t name, uint64_t addr, unsigned char *page)
{
	for (size_t i = 0; i < o->n_gaps; i++) {
		uint64_t start = o->gaps[i].at.start, end = o->gaps[i].at.end;

		start = start < addr ? addr : start;
		end = end > addr + PAGE ? addr + PAGE : end;
		if (o->gaps[i].name == name && start < end)
			memset(page + (start - addr), 0, end - start);
	}
}

static uint64_t hash_page(const unsigned char *page)
{
	uint64_t h = 14695981039346656037ul, any = 0, word;

	for (size_t i = 0; i < PAGE; i += 8) {
		memcpy(&word, page + i, 8);
		any |= word;
		h = (h ^ word) * 1099511628211ul;
		h ^= h >> 29;
	}
	return any ? h | 1 : 0;
}

/* The other side may leave out more of it, or less. */
static bool near_gap(const struct oracle *o, pid_t name, const struct oracle_area *a)
{
	for (size_t i = 0; i < o->n_gaps; i++)
		if (o->gaps[i].name == name && o->gaps[i].at.start < a->end &&
		    o->gaps[i].at.end > a->start)
			return true;
	return false;
}

static void add_page(struct reader *r, uint64_t addr, const struct oracle_area *a,
		     unsigned char *page)
{
	struct oracle *o = r->o;
	size_t len = strlen(a->name);
	struct oracle_page *p;
	uint64_t h;
	bool kept;

	oracle_blank(o, r->name, addr, page);
	h = hash_page(page);
	if (!h)
		return;
	if (o->n_pages == o->pages_room) {
		o->pages_room = o->pages_room ? 2 * o->pages_room : 1024;
		o->pages = realloc(o->pages, o->pages_room * sizeof(*o->pages));
		if (!o->pages)
			abort();
	}
	p = &o->pages[o->n_pages++];
	*p = (struct oracle_page){ .name = r->name, .addr = addr, .hash = h };
	p->anonymous = a->perms[3] == 'p' && a->name[0] != '/';
	snprintf(p->where, sizeof(p->where), "%s %s", a->perms,
		 a->name + (len < WHERE ? 0 : len - WHERE));
	kept = a->end - a->start <= KEPT_AREA && (o->n_kept < KEPT_MOST || near_gap(o, r->name, a));
	p->bytes = kept ? malloc(PAGE) : NULL;
	o->n_kept += p->bytes != NULL;
	if (p->bytes)
		memcpy(p->bytes, page, PAGE);
}

static void read_pages(struct reader *r, uint64_t addr, size_t n, const struct oracle_area *a)
{
	static unsigned char pages[AT_ONCE * PAGE];

	if (pread(r->mem, pages, n * PAGE, addr) != (ssize_t)(n * PAGE)) {
		for (size_t i = 0; n > 1 && i < n; i++)
			read_pages(r, addr + i * PAGE, 1, a);
		return;
	}
	for (size_t i = 0; i < n; i++)
		add_page(r, addr + i * PAGE, a, pages + i * PAGE);
}

/* Something was in it on the other side. */
static bool is_like(const struct reader *r, uint64_t addr)
{
	size_t low = 0, high = r->n_like;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (r->like[mid].addr < addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low < r->n_like && r->like[low].addr == addr;
}

/* Memory of devices and of the kernel, and what nobody may read. */
static bool passed_over(const struct oracle_area *a)
{
	return !strncmp(a->name, "[v", 2) || strstr(a->flags, " io") || strstr(a->flags, " pf") ||
	       strstr(a->flags, " dp") || a->end - a->start > AREA_MOST;
}

static void see_library(void *to, const struct oracle_area *a)
{
	struct reader *r = to;

	if (strstr(a->name, "/libckpt-inproc.so"))
		r->library_end = a->end;
}

/* The preloaded library's own: its data, its notes (cleared by a fork) and its stacks. They have
 * names where the kernel knows names. */
static bool of_library(const struct reader *r, const struct oracle_area *a)
{
	return r->library_end && a->perms[1] == 'w' &&
	       (strstr(a->name, "/libckpt-inproc.so") || strstr(a->name, "[anon:ckpt") ||
		(!a->name[0] && (a->start == r->library_end || strstr(a->flags, " wf") ||
				 strstr(a->flags, " nr nh"))));
}

static void see_area(void *to, const struct oracle_area *a)
{
	struct reader *r = to;
	uint64_t entries[512], addr = a->start;
	size_t run = 0;

	if (passed_over(a) || of_library(r, a))
		return;
	while (addr < a->end) {
		size_t n = (a->end - addr) / PAGE < 512 ? (a->end - addr) / PAGE : 512;

		if (pread(r->pagemap, entries, n * 8, addr / PAGE * 8) != (ssize_t)(n * 8))
			return;
		for (size_t i = 0; i < n; i++, addr += PAGE) {
			bool wanted = entries[i] & THERE || is_like(r, addr);

			if (run && (!wanted || run == AT_ONCE)) {
				read_pages(r, addr - run * PAGE, run, a);
				run = 0;
			}
			run += wanted;
		}
	}
	if (run)
		read_pages(r, addr - run * PAGE, run, a);
}

/* Where a thread has its stack pointer, its memory is dead below. */
static void leave_out_of_thread(struct reader *r, pid_t tid)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_arena *arena;
	struct ckpt_regs regs;
	uint64_t addr = 0;
	uint32_t size = 0, signature = 0;

	if (r->src->ops->rseq(r->src, tid, &addr, &size, &signature, &err) == 0 && size)
		leave_out(r, addr, addr + size);
	if (ckpt_arena_open(&arena, 1 << 20, &err) < 0)
		return;
	if (r->src->ops->regs(r->src, tid, arena, &regs, &err) == 0) {
		leave_out(r, regs.gp.rsp - RED_ZONE - DEAD_MOST, regs.gp.rsp + WAITS_IN);
		leave_out(r, regs.gp.fs_base + CANCEL, regs.gp.fs_base + CANCEL + 4);
		if (r->library_end)
			leave_out(r, regs.gp.fs_base - OWN_TLS, regs.gp.fs_base);
	}
	ckpt_arena_close(arena);
}

/* Reading through the source ends the calls of threads, which use their memory. To go on in that
 * way would share no longer what is shared copy-on-write. */
static void end_calls(struct reader *r, pid_t tid)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_arena *arena;
	struct ckpt_regs regs;
	char c;

	if (ckpt_arena_open(&arena, 1 << 20, &err) < 0)
		return;
	if (r->src->ops->regs(r->src, tid, arena, &regs, &err) == 0)
		r->src->ops->read_mem(r->src, r->pid,
				      &(struct iovec){ (void *)(uintptr_t)regs.gp.rsp, 1 }, 1, &c,
				      &err);
	ckpt_arena_close(arena);
}

static void find_like(struct reader *r)
{
	const struct oracle *like = r->o->how->like;

	for (size_t i = 0; like && i < like->n_pages; i++) {
		if (like->pages[i].name != r->name)
			continue;
		if (!r->n_like)
			r->like = &like->pages[i];
		r->n_like++;
	}
}

void oracle_add_pages(struct oracle *o, struct ckpt_source *src, const struct ckpt_frozen *task,
		      pid_t name)
{
	struct reader r = { .o = o, .src = src, .pid = task->pid, .name = name };
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", task->pid);
	r.pagemap = open(path, O_RDONLY | O_CLOEXEC);
	if (r.pagemap < 0)
		return;
	oracle_each_area(task->pid, see_library, &r);
	for (size_t i = 0; i < task->n_tids; i++)
		leave_out_of_thread(&r, task->tids[i]);
	for (size_t i = 0; i < o->how->n_busy; i++)
		if (o->how->busy[i].name == name)
			leave_out(&r, o->how->busy[i].start, o->how->busy[i].end);
	snprintf(path, sizeof(path), "/proc/%d/mem", task->pid);
	r.mem = open(path, O_RDONLY | O_CLOEXEC);
	end_calls(&r, task->tids[0]);
	find_like(&r);
	oracle_each_area(task->pid, see_area, &r);
	close(r.pagemap);
	close(r.mem);
}
