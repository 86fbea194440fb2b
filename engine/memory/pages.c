/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be copied, and where to in the pages file: in the order in which it is added. */
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/memory/live.h"
#include "engine/memory/pages-work.h"

#define HUGE_STEP (2ull << 20)

struct ckpt_memory_work *ckpt_memory_open(struct ckpt_source *src, struct ckpt_arena *arena)
{
	struct ckpt_memory_work *w = ckpt_new(arena, struct ckpt_memory_work);

	w->src = src;
	w->arena = arena;
	return w;
}

void ckpt_memory_close(struct ckpt_memory_work *w)
{
	for (size_t i = 0; w && i < w->n; i++) {
		ckpt_close_fd(&w->part[i].fd);
		w->part[i].fd = -1;
		if (w->part[i].copied)
			ckpt_close_fd(&w->part[i].copy_fd);
		w->part[i].copied = false;
	}
}

void ckpt_memory_go_on(struct ckpt_memory_work *w, const struct ckpt_live *live, bool good)
{
	w->live = good ? live : NULL;
	w->base = ckpt_live_base(live);
	w->size = w->kept = ckpt_live_size(live);
}

bool ckpt_memory_goes_on(const struct ckpt_memory_work *w)
{
	return w->live;
}

uint64_t ckpt_memory_size(const struct ckpt_memory_work *w)
{
	return w->size;
}

uint64_t ckpt_memory_own(const struct ckpt_memory_work *work)
{
	return work->size - work->base;
}

void ckpt_run_add(struct ckpt_run_list *list, uint64_t at, uint64_t n_pages, uint64_t offset,
		  uint64_t barrier)
{
	struct ckpt_run *last = list->n ? &list->v[list->n - 1] : NULL;

	if (last && last->at + last->n_pages * CKPT_PAGE == at && at != barrier &&
	    (offset == CKPT_UNASSIGNED ?
		     last->offset == CKPT_UNASSIGNED :
		     last->offset != CKPT_UNASSIGNED &&
			     last->offset + last->n_pages * CKPT_PAGE == offset)) {
		last->n_pages += n_pages;
		return;
	}
	list->v = ckpt_grow(list->arena, list->v, list->n, &list->room, 64, sizeof(*list->v));
	list->v[list->n++] = (struct ckpt_run){ .at = at, .n_pages = n_pages, .offset = offset };
}

bool ckpt_span_has(const struct ckpt_span *span, size_t n, uint64_t address)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (address < span[mid].start)
			high = mid;
		else if (address >= span[mid].end)
			low = mid + 1;
		else
			return true;
	}
	return false;
}

/* Gives every page that has no place yet the next one. */
static void assign(struct ckpt_memory_work *w, struct ckpt_pages *pages)
{
	for (size_t i = 0; i < pages->n; i++) {
		struct ckpt_run *run = &pages->run[i];

		if (run->offset != CKPT_UNASSIGNED)
			continue;
		run->offset = w->size;
		w->size += run->n_pages * CKPT_PAGE;
	}
}

static void add_part(struct ckpt_memory_work *w, struct ckpt_memory_part part,
		     struct ckpt_pages *pages)
{
	part.base = w->size;
	part.run = pages->run;
	part.n = pages->n;
	assign(w, pages);
	w->part = ckpt_grow(w->arena, w->part, w->n, &w->room, 16, sizeof(*w->part));
	w->part[w->n++] = part;
}

static struct ckpt_run_list without(const struct ckpt_run_list *list, const struct ckpt_span *span)
{
	struct ckpt_run_list rest = { .arena = list->arena };

	for (size_t i = 0; i < list->n; i++) {
		uint64_t at = list->v[i].at, end = at + list->v[i].n_pages * CKPT_PAGE,
			 before = span->start < end ? span->start : end,
			 after = span->end > at ? span->end : at;

		/* Each keeps to itself: what is in between may not become one with them. */
		if (at < before)
			ckpt_run_add(&rest, at, (before - at) / CKPT_PAGE, CKPT_UNASSIGNED, at);
		if (after < end && after >= before)
			ckpt_run_add(&rest, after, (end - after) / CKPT_PAGE, CKPT_UNASSIGNED,
				     after);
	}
	return rest;
}

static void put_guards(struct ckpt_arena *arena, const struct ckpt_pages *guards, Ckpt__Mm *mm)
{
	mm->guards = ckpt_alloc(arena, 2 * guards->n * sizeof(mm->guards[0]));
	mm->n_guards = 2 * guards->n;
	for (size_t i = 0; i < guards->n; i++) {
		mm->guards[2 * i] = guards->run[i].at;
		mm->guards[2 * i + 1] = guards->run[i].at + guards->run[i].n_pages * CKPT_PAGE;
	}
}

int ckpt_memory_add_task(struct ckpt_memory_work *w, const struct ckpt_memory_task *add,
			 struct ckpt_err *err)
{
	struct ckpt_task *task = add->task;
	struct ckpt_memory_part part = { .sort = CKPT_PART_TASK, .pid = task->pid, .mm = task->mm };
	struct ckpt_run_list list = { .arena = w->arena };
	CKPT_FD mem = -1;
	int r = ckpt_pages_cut(&list, add->found, add->pagemap_fd, task->mm, err);

	if (r < 0)
		return r;
	put_guards(w->arena, &add->found->guards, task->mm);
	for (size_t i = 0; i < add->n_excluded; i++)
		list = without(&list, &add->excluded[i]);
	task->pages = (struct ckpt_pages){ list.v, list.n };
	if (add->n_shared) {
		mem = w->src->ops->open_proc(w->src, task->pid, "mem", err);
		if (mem < 0)
			return mem;
	}
	if (add->parent && add->parent->mm && mem >= 0) {
		const struct ckpt_pages found = task->pages;

		r = ckpt_pages_share(w, add, &found, mem, err);
	}
	if (r < 0)
		return r;
	if (w->live) {
		const struct ckpt_pages before = ckpt_live_pages(w->live, task->pid);

		ckpt_pages_keep(&task->pages, w->arena, &add->found->unchanged, &before);
	}
	part.fd = ckpt_take_fd(&mem);
	part.shared = add->shared;
	part.n_shared = add->n_shared;
	add_part(w, part, &task->pages);
	return 0;
}

static uint64_t page_up(uint64_t n)
{
	return (n + CKPT_PAGE - 1) & ~(CKPT_PAGE - 1);
}

static bool is_empty(const uint64_t *word, size_t n)
{
	size_t i = 0;

	while (i < n && !word[i])
		i++;
	return i == n;
}

/* Huge pages: the kernel does not tell which are there, so those that hold something are looked
 * for. */
static int find_huge(struct ckpt_run_list *list, int fd, uint64_t size, struct ckpt_err *err)
{
	uint64_t *buf = ckpt_alloc(list->arena, HUGE_STEP);

	for (uint64_t at = 0; at < size; at += HUGE_STEP) {
		ssize_t n = pread(fd, buf, HUGE_STEP, at);

		if (n < 0)
			return ckpt_fail(err, -errno, "content of huge pages: cannot read");
		if (!is_empty(buf, n / sizeof(*buf)))
			ckpt_run_add(list, at, page_up(n) / CKPT_PAGE, CKPT_UNASSIGNED, UINT64_MAX);
	}
	return 0;
}

/* Where FD has data; file systems that cannot tell say that all of it is. */
static int find_data(struct ckpt_run_list *list, int fd, uint64_t size, struct ckpt_err *err)
{
	uint64_t at = 0;

	while (at < size) {
		off_t data = lseek(fd, at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			return 0;
		if (data < 0)
			return ckpt_fail(err, -errno, "content: cannot find data");
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			return ckpt_fail(err, -errno, "content: cannot find a hole");
		at = data & ~(CKPT_PAGE - 1);
		if (at >= size)
			return 0;
		if ((uint64_t)hole > size)
			hole = size;
		ckpt_run_add(list, at, (page_up(hole) - at) / CKPT_PAGE, CKPT_UNASSIGNED,
			     UINT64_MAX);
		at = page_up(hole);
	}
	return 0;
}

static int add_content(struct ckpt_memory_work *w, struct ckpt_memory_part part,
		       struct ckpt_object *obj, const struct ckpt_run_list *list,
		       struct ckpt_err *err)
{
	int r;

	obj->content = (struct ckpt_pages){ list->v, list->n };
	r = ckpt_pages_find_before(w, obj, &part, &obj->content, err);
	if (r < 0)
		ckpt_close_fd(&part.fd);
	else
		add_part(w, part, &obj->content);
	return r;
}

int ckpt_memory_add_file(struct ckpt_memory_work *w, struct ckpt_object *obj, int fd, bool seek,
			 struct ckpt_err *err)
{
	struct ckpt_run_list list = { .arena = w->arena };
	struct ckpt_memory_part part = { .sort = CKPT_PART_FILE };
	CKPT_FD mine = fd;
	struct statfs fs;
	struct stat st;
	int r = 0;

	if (fstat(fd, &st) < 0)
		return ckpt_fail(err, -errno, "content: cannot stat");
	part.size = st.st_size;
	part.changed_ns = ckpt_changed_ns(&st);
	if (fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC)
		r = find_huge(&list, fd, obj->content_size, err);
	else if (seek)
		r = find_data(&list, fd, obj->content_size, err);
	else if (obj->content_size)
		ckpt_run_add(&list, 0, page_up(obj->content_size) / CKPT_PAGE, CKPT_UNASSIGNED,
			     UINT64_MAX);
	if (r < 0)
		return r;
	part.fd = ckpt_take_fd(&mine);
	return add_content(w, part, obj, &list, err);
}

int ckpt_memory_add_mapped(struct ckpt_memory_work *w, struct ckpt_object *obj,
			   const struct ckpt_piece *piece, size_t n, bool sparse,
			   struct ckpt_err *err)
{
	struct ckpt_run_list list = { .arena = w->arena };
	struct ckpt_memory_part part = { .sort = CKPT_PART_MAPPED, .fd = -1 };
	struct ckpt_piece *where;
	int r = ckpt_pages_mapped(&list, w->src, piece, n, obj->content_size, sparse, &where,
				  &part.n_pieces, err);

	if (r < 0)
		return r;
	part.piece = where;
	return add_content(w, part, obj, &list, err);
}

int ckpt_pages_check_files(const struct ckpt_memory_work *w, struct ckpt_err *err)
{
	for (size_t i = 0; i < w->n; i++) {
		const struct ckpt_memory_part *p = &w->part[i];
		char path[40], name[512];
		struct stat st;
		ssize_t n;

		if (p->sort != CKPT_PART_FILE || fstat(p->fd, &st) < 0 ||
		    ((uint64_t)st.st_size == p->size && ckpt_changed_ns(&st) == p->changed_ns))
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", p->fd);
		n = readlink(path, name, sizeof(name) - 1);
		return ckpt_refuse(
			err, CKPT_E_CONTENT_CHANGED, -EBUSY,
			"file %.*s: somebody outside of the tree changed it during the dump",
			n < 0 ? 0 : (int)n, name);
	}
	return 0;
}
