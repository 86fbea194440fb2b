/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The address space of a task as a list of calls: park the vDSO, unmap all but the restorer, map
 * every area at home (or move it there from where it was staged), read its pages from the image,
 * protect, tell the kernel what is where.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include "engine/memory/layout.h"
#include "engine/memory/vdso.h"
#include "engine/plan/lazy.h"
#include "engine/plan/memory-calls.h"

#define MAX_IOV 1024           /* IOV_MAX */
#define MAX_BYTES (1ull << 30) /* a read returns at most 0x7ffff000 bytes */
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08 /* Linux 6.11 */
#endif

static void move(struct ckpt_program_builder *b, uint64_t from, uint64_t old_len, uint64_t len,
		 uint64_t to)
{
	EMIT(b, CKPT_SV_EQUAL, to, SYS_mremap, from, old_len, len, MREMAP_MAYMOVE | MREMAP_FIXED,
	     to);
}

static void park_vdso(struct ckpt_program_builder *b)
{
	const struct ckpt_host *host = b->p->host;

	for (size_t i = 0; i < host->n_areas; i++) {
		const Ckpt__Area *a = &host->areas[i];

		if (a->flags & CKPT__AREA__FLAG__VDSO)
			move(b, a->start, a->end - a->start, a->end - a->start,
			     b->layout->vdso + (a->start - b->layout->vdso_from));
	}
}

static void unmap_old(struct ckpt_program_builder *b)
{
	EMIT(b, 0, 0, SYS_munmap, 0, b->layout->base);
	EMIT(b, 0, 0, SYS_munmap, b->layout->end, CKPT_TASK_SIZE - b->layout->end);
}

static const Ckpt__Area *host_area_named(const struct ckpt_host *host, const Ckpt__Area *like)
{
	for (size_t i = 0; i < host->n_areas; i++) {
		const Ckpt__Area *a = &host->areas[i];

		if ((a->flags & CKPT__AREA__FLAG__VDSO) && a->name && like->name &&
		    !strcmp(a->name, like->name) && a->end - a->start == like->end - like->start)
			return a;
	}
	return NULL;
}

/* Is this kernel's vDSO the one the task knows, byte for byte, with data of the same shape? */
static bool same_vdso(const struct ckpt_program_builder *b)
{
	const Ckpt__Inventory *inv = b->p->snap->inventory;
	const struct ckpt_host *host = b->p->host;
	int64_t shift = 0;
	bool first = true;

	if (!inv->has_vdso || inv->vdso.len != host->vdso_len ||
	    memcmp(inv->vdso.data, host->vdso, host->vdso_len))
		return false;
	for (size_t i = 0; i < b->task->mm->n_areas; i++) {
		const Ckpt__Area *a = b->task->mm->areas[i], *now;

		if (!(a->flags & CKPT__AREA__FLAG__VDSO))
			continue;
		now = host_area_named(host, a);
		if (!now || (!first && (int64_t)(a->start - now->start) != shift))
			return false;
		shift = a->start - now->start;
		first = false;
	}
	return true;
}

static uint64_t find_gap(const Ckpt__Mm *mm, uint64_t len)
{
	for (size_t i = mm->n_areas; i-- > 1;)
		if (mm->areas[i]->start - mm->areas[i - 1]->end >= len + 512 * CKPT_PAGE)
			return mm->areas[i]->start - len - 256 * CKPT_PAGE; /* clear of a stack's
									       guard gap */
	return 0;
}

/* The old vDSO as plain memory that jumps to this kernel's, which moves into a gap. */
static int emit_foreign_vdso(struct ckpt_program_builder *b, const Ckpt__Area *a,
			     struct ckpt_err *err)
{
	const Ckpt__Inventory *inv = b->p->snap->inventory;
	const struct ckpt_layout *l = b->layout;
	const struct ckpt_host *host = b->p->host;
	uint64_t to = find_gap(b->task->mm, l->vdso_len), vdso_at = 0, from;
	uint64_t len = a->end - a->start;
	struct iovec iov[2];
	uint8_t *old;
	int r;

	if (!inv->vdso.len || inv->vdso.len > len || !to)
		return ckpt_refuse(err, CKPT_E_NO_ROOM, -ENOMEM,
				   "no room for the vDSO of this kernel");
	for (size_t i = 0; i < host->n_areas; i++) {
		const Ckpt__Area *h = &host->areas[i];

		if (!(h->flags & CKPT__AREA__FLAG__VDSO))
			continue;
		from = l->vdso + (h->start - l->vdso_from);
		move(b, from, h->end - h->start, h->end - h->start, to + (h->start - l->vdso_from));
		if (h->name && !strcmp(h->name, "[vdso]"))
			vdso_at = to + (h->start - l->vdso_from);
	}
	old = ckpt_alloc(b->p->arena, inv->vdso.len);
	memcpy(old, inv->vdso.data, inv->vdso.len);
	r = ckpt_vdso_patch(old, inv->vdso.len, host->vdso, host->vdso_len, vdso_at, err);
	if (r < 0)
		return r;
	EMIT(b, CKPT_SV_EQUAL, a->start, SYS_mmap, a->start, len, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	iov[0] = (struct iovec){ (void *)(uintptr_t)ckpt_program_data(b, old, inv->vdso.len),
				 inv->vdso.len };
	iov[1] = (struct iovec){ (void *)(uintptr_t)a->start, inv->vdso.len };
	from = ckpt_program_data(b, iov, sizeof(iov));
	EMIT(b, CKPT_SV_EQUAL, inv->vdso.len, SYS_process_vm_writev, b->task->pid, from, 1,
	     from + sizeof(iov[0]), 1, 0);
	EMIT(b, 0, 0, SYS_mprotect, a->start, len, PROT_READ | PROT_EXEC);
	return 0;
}

static int emit_vdso(struct ckpt_program_builder *b, const Ckpt__Area *a, bool same,
		     struct ckpt_err *err)
{
	const Ckpt__Area *now;

	if (!same)
		return a->name && !strcmp(a->name, "[vdso]") ? emit_foreign_vdso(b, a, err) : 0;
	now = host_area_named(b->p->host, a);
	move(b, b->layout->vdso + (now->start - b->layout->vdso_from), a->end - a->start,
	     a->end - a->start, a->start);
	return 0;
}

static int map_flags(const Ckpt__Area *a)
{
	int flags = MAP_FIXED | (a->shared                              ? MAP_SHARED :
				 a->flags & CKPT__AREA__FLAG__DROPPABLE ? MAP_DROPPABLE :
									  MAP_PRIVATE);

	if (!a->file)
		flags |= MAP_ANONYMOUS;
	if (a->flags & CKPT__AREA__FLAG__GROWS_DOWN)
		flags |= MAP_GROWSDOWN;
	if (a->flags & CKPT__AREA__FLAG__NO_RESERVE)
		flags |= MAP_NORESERVE;
	if (a->huge_shift)
		flags |= MAP_HUGETLB | (int)(a->huge_shift << MAP_HUGE_SHIFT);
	return flags;
}

static const struct ckpt_object *object_of(const struct ckpt_program_builder *b,
					   const Ckpt__Area *a)
{
	return b->p->snap->objects[a->file - 1];
}

static void emit_image_run(struct ckpt_program_builder *b, const struct ckpt_run *run, int prot,
			   int flags)
{
	const struct ckpt_plan *plan = b->p->plan;
	uint64_t len = run->n_pages * CKPT_PAGE;

	for (uint64_t done = 0, end, n; done < len; done += n) {
		uint64_t offset = run->offset + done;
		const struct ckpt_pages_part *part =
			ckpt_pages_part_of(plan->pages, plan->n_pages, offset, &end);

		n = len - done < end - offset ? len - done : end - offset;
		EMIT(b, CKPT_SV_EQUAL, run->at + done, SYS_mmap, run->at + done, n, prot, flags,
		     part->fd, offset - part->base);
	}
}

/* Runs of an area that come later are the image itself. */
static void emit_image(struct ckpt_program_builder *b, size_t i, int prot)
{
	const struct ckpt_plan *plan = b->p->plan;
	const Ckpt__Area *a = b->task->mm->areas[i];
	struct ckpt_pages runs = ckpt_pages_between(&b->task->pages, a->start, a->end);

	if (plan->lazy != CKPT_LAZY_MAP || !ckpt_lazy_area(plan, b->task, i))
		return;
	for (size_t k = 0; k < runs.n; k++)
		if (ckpt_lazy_run(plan, b->task, &runs.run[k]))
			emit_image_run(b, &runs.run[k], prot, map_flags(a) & ~MAP_ANONYMOUS);
}

static void emit_register(struct ckpt_program_builder *b)
{
	const struct ckpt_plan *plan = b->p->plan;
	const Ckpt__Mm *mm = b->task->mm;

	for (size_t i = 0; i < mm->n_areas; i++) {
		struct uffdio_register reg = {
			.range = { mm->areas[i]->start, mm->areas[i]->end - mm->areas[i]->start },
			.mode = UFFDIO_REGISTER_MODE_MISSING,
		};

		if (ckpt_lazy_area(plan, b->task, i))
			EMIT(b, 0, 0, SYS_ioctl, plan->uffd[b->task->id - 1], UFFDIO_REGISTER,
			     ckpt_program_data(b, &reg, sizeof(reg)));
	}
}

/* Maps one area; returns the protection that it has then. */
static int emit_map(struct ckpt_program_builder *b, size_t i)
{
	const Ckpt__Area *a = b->task->mm->areas[i];
	const struct ckpt_staged_area *staged = ckpt_layout_staged(b->layout, b->task, i);
	uint64_t len = a->end - a->start;
	int prot = a->prot;

	if (staged) {
		move(b, b->layout->stages[staged->stage].at, len, len, a->start);
		return PROT_READ | PROT_WRITE;
	}
	if (a->flags & CKPT__AREA__FLAG__SHARED_ANON) {
		for (size_t s = 0; s < b->layout->n_stages; s++)
			if (b->layout->stages[s].object == a->file) /* size 0: a second mapping of
								       the same memory, which
								       there is not of huge pages */
				move(b, b->layout->stages[s].at + a->offset,
				     a->huge_shift ? len : 0, len, a->start);
		return (object_of(b, a)->file.flags & O_ACCMODE) == O_RDONLY ?
			       PROT_READ :
			       PROT_READ | PROT_WRITE;
	}
	if (ckpt_pages_between(&b->task->pages, a->start, a->end).n)
		prot |= PROT_WRITE;
	EMIT(b, CKPT_SV_EQUAL, a->start, SYS_mmap, a->start, len, prot, map_flags(a),
	     a->file ? b->p->plan->bank[a->file] : -1, a->offset);
	emit_image(b, i, prot);
	return prot;
}

struct reader {
	struct ckpt_program_builder *b;
	struct iovec iov[MAX_IOV];
	size_t n;
	uint64_t from, bytes; /* the next read: in FD */
	int fd;
};

static void flush(struct reader *r)
{
	uint64_t iov;

	if (!r->n)
		return;
	iov = ckpt_program_data(r->b, r->iov, r->n * sizeof(r->iov[0]));
	EMIT(r->b, CKPT_SV_EQUAL, r->bytes, SYS_preadv, r->fd, iov, r->n, r->from, 0);
	r->n = 0;
	r->bytes = 0;
}

/* Runs that follow each other in a pages file are read by one call, wherever they go. */
static void read_run(struct reader *r, uint64_t at, uint64_t len, uint64_t offset)
{
	const struct ckpt_plan *plan = r->b->p->plan;

	while (len) {
		uint64_t end, n = len < MAX_BYTES ? len : MAX_BYTES, from;
		const struct ckpt_pages_part *part =
			ckpt_pages_part_of(plan->pages, plan->n_pages, offset, &end);

		n = n < end - offset ? n : end - offset;
		from = offset - part->base;
		if (r->n == MAX_IOV || r->bytes + n > MAX_BYTES ||
		    (r->n && (r->fd != part->fd || r->from + r->bytes != from)))
			flush(r);
		if (!r->n)
			r->from = from;
		r->fd = part->fd;
		r->iov[r->n++] = (struct iovec){ (void *)(uintptr_t)at, n };
		r->bytes += n;
		at += n, len -= n, offset += n;
	}
}

static void emit_pages(struct ckpt_program_builder *b)
{
	struct reader *r = ckpt_new(b->p->arena, struct reader);
	const Ckpt__Mm *mm = b->task->mm;

	r->b = b;
	for (size_t i = 0; i < mm->n_areas; i++) {
		struct ckpt_pages runs =
			ckpt_pages_between(&b->task->pages, mm->areas[i]->start, mm->areas[i]->end);

		bool lazy = ckpt_lazy_area(b->p->plan, b->task, i);

		if (!runs.n || ckpt_layout_staged(b->layout, b->task, i))
			continue;
		for (size_t k = 0; k < runs.n; k++)
			if (!lazy || !ckpt_lazy_run(b->p->plan, b->task, &runs.run[k]))
				read_run(r, runs.run[k].at, runs.run[k].n_pages * CKPT_PAGE,
					 runs.run[k].offset);
	}
	flush(r);
}

/* Where it is filled, it reads the rest meanwhile. What is served is so once it has read. */
static void emit_all_pages(struct ckpt_program_builder *b)
{
	const struct ckpt_plan *plan = b->p->plan;
	bool fill = plan->lazy == CKPT_LAZY_FILL && ckpt_lazy_task(plan, b->task);
	uint64_t gates = b->layout->gates;

	if (fill) {
		emit_register(b);
		EMIT(b, CKPT_SV_ARRIVE, 0, 0, gates + offsetof(struct ckpt_gates, mapped));
	}
	emit_pages(b);
	if (fill) {
		EMIT(b, CKPT_SV_AWAIT, 0, 0, gates + offsetof(struct ckpt_gates, filled), 1);
		EMIT(b, 0, 0, SYS_close, plan->uffd[b->task->id - 1]);
	}
	if (plan->lazy == CKPT_LAZY_SERVE)
		emit_register(b);
}

static void emit_mm(struct ckpt_program_builder *b)
{
	const Ckpt__Mm *mm = b->task->mm;
	struct prctl_mm_map map = {
		.start_code = mm->start_code,
		.end_code = mm->end_code,
		.start_data = mm->start_data,
		.end_data = mm->end_data,
		.start_brk = mm->start_brk,
		.brk = mm->brk,
		.start_stack = mm->start_stack,
		.arg_start = mm->arg_start,
		.arg_end = mm->arg_end,
		.env_start = mm->env_start,
		.env_end = mm->env_end,
		.auxv = (void *)(uintptr_t)ckpt_program_data(b, mm->auxv.data, mm->auxv.len),
		.auxv_size = mm->auxv.len,
		.exe_fd = b->p->plan->bank[mm->exe],
	};

	EMIT(b, 0, 0, SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, ckpt_program_data(b, &map, sizeof(map)),
	     sizeof(map));
}

int ckpt_emit_memory(struct ckpt_program_builder *b, struct ckpt_err *err)
{
	const Ckpt__Mm *mm = b->task->mm;
	int *prot = ckpt_alloc(b->p->arena, (mm->n_areas + 1) * sizeof(*prot));
	bool same = same_vdso(b);
	int r;

	ckpt_check_area_settings(b->p, b->task);
	park_vdso(b);
	unmap_old(b);
	emit_mm(b); /* now: the executable cannot be set while that of this program is mapped, maybe
		       again */
	for (size_t i = 0; i < mm->n_areas; i++) {
		const Ckpt__Area *a = mm->areas[i];

		prot[i] = a->prot;
		if (!(a->flags & CKPT__AREA__FLAG__VDSO)) {
			prot[i] = emit_map(b, i);
			ckpt_emit_area_first(b, a);
		} else {
			r = emit_vdso(b, a, same, err);
			if (r < 0)
				return r;
		}
	}
	emit_all_pages(b);
	for (size_t i = 0; i < mm->n_areas; i++) {
		const Ckpt__Area *a = mm->areas[i];

		if (prot[i] != (int)a->prot)
			EMIT(b, 0, 0, SYS_mprotect, a->start, a->end - a->start, a->prot);
		if (!(a->flags & CKPT__AREA__FLAG__VDSO)) /* the kernel's own has what it needs */
			ckpt_emit_area_settings(b, a);
	}
	ckpt_emit_seals(b);
	ckpt_emit_future_locks(b);
	return 0;
}
