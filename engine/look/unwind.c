/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One stack. libunwind asks for registers, words and unwind tables; all of them come from the image
 * and the mapped files. Every word that it reads is counted: whatever an image says, the walk ends.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "engine/look/elf.h"
#include "engine/look/frames.h"
#include "engine/look/libunwind.h"
#include "engine/look/stacks.h"

#define CACHED 256 /* pages */
#define WINDOWS 64 /* functions whose unwind information is in a file only */
#define WINDOW_GAP (1ull << 30)

struct page {
	uint64_t addr; /* 1: none */
	size_t n;      /* bytes that are there */
	unsigned char bytes[CKPT_PAGE];
};

struct ckpt_unwinder {
	struct ckpt_look *look;
	const struct ckpt_task *task;
	const struct ckpt_thread *thread;
	uint64_t *budgetp;
	struct ckpt_libunwind lib;
	unw_addr_space_t as;
	bool guessed;     /* nothing told how to unwind the frame that was stepped from */
	const char *lack; /* why not */
	struct ckpt_window window[WINDOWS];
	size_t n_windows;
	struct page page[CACHED];
};

static bool fetch(struct ckpt_unwinder *u, struct page *page, uint64_t addr)
{
	struct ckpt_look_piece piece = { 0 };
	struct ckpt_err err;

	page->addr = addr;
	page->n = 0;
	while (page->n < CKPT_PAGE) {
		uint64_t at = addr + page->n;
		ssize_t n;

		if (at >= piece.end)
			ckpt_look_piece(u->look, u->task, at, &piece);
		n = ckpt_look_bytes(u->look, &piece, at, page->bytes + page->n, CKPT_PAGE - page->n,
				    &err);
		if (n < 0)
			u->lack = piece.why ? piece.why : NULL;
		if (n < 0)
			return page->n > 0;
		page->n += n;
	}
	return true;
}

static bool in_window(const struct ckpt_unwinder *u, uint64_t addr, void *buf, size_t len)
{
	for (size_t i = 0; i < u->n_windows; i++) {
		const struct ckpt_window *w = &u->window[i];

		/* libunwind reads aligned words: the rest of the last one too. */
		if (addr < w->at || addr - w->at >= w->len)
			continue;
		memset(buf, 0, len);
		memcpy(buf, w->bytes + (addr - w->at),
		       len < w->len - (addr - w->at) ? len : w->len - (addr - w->at));
		return true;
	}
	return false;
}

static bool read_bytes(void *arg, uint64_t addr, void *buf, size_t len)
{
	struct ckpt_unwinder *u = arg;

	if (!*u->budgetp || addr > CKPT_TASK_SIZE)
		return false;
	--*u->budgetp;
	if (in_window(u, addr, buf, len))
		return true;
	while (len) {
		uint64_t base = addr & ~(CKPT_PAGE - 1), skip = addr - base;
		struct page *page = &u->page[addr / CKPT_PAGE % CACHED];
		size_t n;

		if (page->addr != base && !fetch(u, page, base))
			return false;
		if (skip >= page->n)
			return false;
		n = page->n - skip < len ? page->n - skip : len;
		memcpy(buf, page->bytes + skip, n);
		buf = (char *)buf + n;
		addr += n;
		len -= n;
	}
	return true;
}

static int access_mem(unw_addr_space_t as, unw_word_t addr, unw_word_t *val, int write, void *arg)
{
	(void)as;
	return !write && read_bytes(arg, addr, val, sizeof(*val)) ? 0 : -UNW_EINVAL;
}

static int access_reg(unw_addr_space_t as, unw_regnum_t reg, unw_word_t *val, int write, void *arg)
{
	const struct ckpt_unwinder *u = arg;
	const struct user_regs_struct *gp = &u->thread->regs.gp;
	const unw_word_t regs[] = { gp->rax, gp->rdx, gp->rcx, gp->rbx, gp->rsi, gp->rdi,
				    gp->rbp, gp->rsp, gp->r8,  gp->r9,  gp->r10, gp->r11,
				    gp->r12, gp->r13, gp->r14, gp->r15, gp->rip };

	(void)as;
	if (write || reg < 0 || reg > UNW_X86_64_RIP)
		return -UNW_EBADREG;
	*val = regs[reg];
	return 0;
}

/* A free place near CODE for a window. */
static bool place(struct ckpt_unwinder *u, uint64_t code, struct ckpt_window *w)
{
	for (uint64_t away = WINDOW_GAP; away; away /= 2) {
		for (int up = 0; up < 2; up++) {
			uint64_t at = (up ? code + away : code - away) & ~(CKPT_PAGE - 1);
			uint64_t end = at + CKPT_WINDOW_MAX;
			size_t i = ckpt_look_area(u->task->mm, at);
			bool taken = false;

			if ((!up && away >= code) || end > CKPT_TASK_SIZE || !at ||
			    away < CKPT_PAGE)
				continue;
			taken = i < u->task->mm->n_areas && u->task->mm->areas[i]->start < end;
			for (size_t k = 0; k < u->n_windows; k++)
				taken = taken || (u->window[k].at < end &&
						  at < u->window[k].at + CKPT_WINDOW_MAX);
			w->at = at;
			if (!taken)
				return true;
		}
	}
	return false;
}

/* The window of a function stays: libunwind keeps addresses in it. When all are used up there is no
 * more. */
static bool find_in_file(struct ckpt_unwinder *u, const struct ckpt_elf *elf, uint64_t vaddr,
			 uint64_t bias, struct ckpt_unwind_table *table)
{
	struct ckpt_window w = { 0 };

	if (!elf->frames.len || u->n_windows == WINDOWS || !place(u, vaddr + bias, &w))
		return false;
	w.bytes = malloc(CKPT_WINDOW_MAX);
	if (!w.bytes || !ckpt_frames_find(&elf->frames, vaddr, bias, &w, table)) {
		free(w.bytes);
		return false;
	}
	u->window[u->n_windows++] = w;
	return true;
}

static int search(struct ckpt_unwinder *u, uint64_t ip, const struct ckpt_unwind_table *table,
		  unw_proc_info_t *pi, int need)
{
	unw_dyn_info_t di = { 0 };

	di.format = UNW_INFO_FORMAT_REMOTE_TABLE;
	di.start_ip = table->start;
	di.end_ip = table->end;
	di.u.rti.segbase = table->base;
	di.u.rti.table_data = table->entries;
	/* In words; an entry has one. */
	di.u.rti.table_len = table->n;
	return u->lib.search_table(u->as, ip, &di, pi, need, u);
}

static int find_info(struct ckpt_unwinder *u, uint64_t ip, unw_proc_info_t *pi, int need)
{
	size_t i = ckpt_look_area(u->task->mm, ip);
	const Ckpt__Area *area = i < u->task->mm->n_areas ? u->task->mm->areas[i] : NULL;
	struct ckpt_elf *elf = area && area->start <= ip ? ckpt_elf_of(u->look, area) : NULL;
	struct ckpt_unwind_table table;
	uint64_t vaddr;

	u->lack = NULL;
	if (!elf && area && area->start <= ip && area->file)
		u->lack = ckpt_look_file(u->look, u->look->snap->objects[area->file - 1])->why;
	if (!elf || !ckpt_elf_vaddr(elf, area, ip, &vaddr))
		return -UNW_ENOINFO;
	if (elf->eh_frame_hdr &&
	    ckpt_frames_index(read_bytes, u, elf->eh_frame_hdr + (ip - vaddr), &table)) {
		table.start = area->start;
		table.end = area->end;
		if (search(u, ip, &table, pi, need) >= 0)
			return 0;
	}
	if (!find_in_file(u, elf, vaddr, ip - vaddr, &table))
		return -UNW_ENOINFO;
	return search(u, ip, &table, pi, need);
}

static int find_proc_info(unw_addr_space_t as, unw_word_t ip, unw_proc_info_t *pi, int need,
			  void *arg)
{
	struct ckpt_unwinder *u = arg;
	int r = find_info(u, ip, pi, need);

	(void)as;
	u->guessed = r < 0;
	return r;
}

static void put_unwind_info(unw_addr_space_t as, unw_proc_info_t *pi, void *arg)
{
	(void)as, (void)pi, (void)arg;
}

static int no_dyn_info(unw_addr_space_t as, unw_word_t *addr, void *arg)
{
	(void)as, (void)addr, (void)arg;
	return -UNW_ENOINFO;
}

static int no_fpreg(unw_addr_space_t as, unw_regnum_t reg, unw_fpreg_t *val, int write, void *arg)
{
	(void)as, (void)reg, (void)val, (void)write, (void)arg;
	return -UNW_EBADREG;
}

struct ckpt_unwinder *ckpt_unwinder_open(struct ckpt_look *look, const struct ckpt_task *task,
					 uint64_t *budgetp)
{
	static const unw_accessors_t accessors = {
		.find_proc_info = find_proc_info,
		.put_unwind_info = put_unwind_info,
		.get_dyn_info_list_addr = no_dyn_info,
		.access_mem = access_mem,
		.access_reg = access_reg,
		.access_fpreg = no_fpreg,
	};
	struct ckpt_unwinder *u = calloc(1, sizeof(*u));

	if (!u)
		return NULL;
	u->look = look;
	u->task = task;
	u->budgetp = budgetp;
	for (size_t i = 0; i < CACHED; i++)
		u->page[i].addr = 1;
	if (ckpt_libunwind_open(&u->lib))
		u->as = u->lib.create((unw_accessors_t *)&accessors, 0);
	if (u->as)
		u->lib.cache(u->as, UNW_CACHE_GLOBAL);
	if (u->as)
		return u;
	free(u);
	return NULL;
}

void ckpt_unwinder_close(struct ckpt_unwinder *u)
{
	if (!u)
		return;
	u->lib.destroy(u->as);
	for (size_t i = 0; i < u->n_windows; i++)
		free(u->window[i].bytes);
	free(u);
}

/* A guess is only taken where there may be code, and not for what could be known. */
static bool plausible(const struct ckpt_unwinder *u, uint64_t ip)
{
	size_t i = ckpt_look_area(u->task->mm, ip);

	return !u->guessed ||
	       (!u->lack && i < u->task->mm->n_areas && u->task->mm->areas[i]->start <= ip &&
		u->task->mm->areas[i]->prot & PROT_EXEC);
}

/* Adds the frame at the cursor; false: it makes no sense. */
static bool add(struct ckpt_unwinder *u, struct ckpt_stack *stack, size_t *roomp, unw_cursor_t *c)
{
	struct ckpt_frame *f;
	unw_word_t ip = 0, sp = 0;

	if (u->lib.get_reg(c, UNW_REG_IP, &ip) < 0 || u->lib.get_reg(c, UNW_REG_SP, &sp) < 0 ||
	    !plausible(u, ip))
		return false;
	stack->frames =
		ckpt_grow(u->look->arena, stack->frames, stack->n_frames, roomp, 16, sizeof(*f));
	f = &stack->frames[stack->n_frames++];
	*f = (struct ckpt_frame){ .ip = ip, .sp = sp, .guessed = u->guessed };
	/* It says so of the frame that was stepped from. */
	if (stack->n_frames > 1)
		f[-1].signal = u->lib.is_signal_frame(c) > 0;
	return true;
}

static const char *why_ended(const struct ckpt_unwinder *u, int r)
{
	if (!*u->budgetp)
		return "too much had to be read to go on";
	if (u->lack)
		return u->lack;
	return r == -UNW_EBADFRAME ? "the next frame would be the same one" :
	       u->guessed          ? "nothing says how to unwind this frame" :
				     "its unwind information leads nowhere";
}

void ckpt_unwind(struct ckpt_unwinder *u, struct ckpt_stack *stack)
{
	unw_cursor_t cursor;
	size_t room = 0;
	int r;

	u->thread = stack->thread;
	u->guessed = false;
	r = u->lib.init(&cursor, u->as, u);
	for (r = r < 0 ? r : 1; r > 0; r = u->lib.step(&cursor)) {
		if (stack->n_frames == CKPT_FRAMES_MAX) {
			stack->end = "there are more frames than are shown";
			return;
		}
		if (!add(u, stack, &room, &cursor))
			break;
		u->lack = NULL;
		u->guessed = false;
	}
	if (r || u->guessed)
		stack->end = why_ended(u, r);
}
