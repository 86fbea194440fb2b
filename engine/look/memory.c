/* SPDX-License-Identifier: Apache-2.0 */
/* Where the bytes at an address are: in the pages file, in a mapped file, nowhere since they are
 * zero, or lost. */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "engine/look/look.h"

size_t ckpt_look_area(const Ckpt__Mm *mm, uint64_t addr)
{
	size_t low = 0, high = mm->n_areas;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (mm->areas[mid]->end <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* STORED if a run of PAGES begins at or before AT; else END is moved to where the next one does. */
static bool in_runs(const struct ckpt_look *look, const struct ckpt_pages *pages, uint64_t at,
		    uint64_t *endp, struct ckpt_look_piece *piece)
{
	const size_t i = ckpt_run_behind(pages->run, pages->n, at);
	const struct ckpt_run *run = i < pages->n ? &pages->run[i] : NULL;
	const struct ckpt_snapshot *snap = look->snap;
	const struct ckpt_pages_part *part;
	uint64_t end, offset, of_next;

	if (run && run->at > at && run->at < *endp)
		*endp = run->at;
	if (!run || run->at > at)
		return false;
	end = ckpt_run_end(run);
	*endp = end < *endp ? end : *endp;
	piece->from = CKPT_LOOK_STORED;
	offset = run->offset + (at - run->at);
	part = ckpt_pages_part_of(snap->parts, snap->n_parts, offset, &of_next);
	if (*endp - at > of_next - offset)
		*endp = at + (of_next - offset);
	piece->fd = part->fd;
	piece->base = part->base;
	piece->offset = offset - part->base;
	return true;
}

const struct ckpt_object *ckpt_look_owner(const struct ckpt_look *look,
					  const struct ckpt_object *obj)
{
	uint32_t id = look->content_of[obj->id - 1];

	return id ? look->snap->objects[id - 1] : NULL;
}

static uint64_t round_up(uint64_t n)
{
	return (n + CKPT_PAGE - 1) / CKPT_PAGE * CKPT_PAGE;
}

void ckpt_look_content(struct ckpt_look *look, const struct ckpt_object *obj, uint64_t offset,
		       struct ckpt_look_piece *piece)
{
	uint64_t end = obj->content_size;

	*piece = (struct ckpt_look_piece){ .start = offset, .end = end, .fd = -1 };
	if (offset >= obj->content_size) {
		piece->end = UINT64_MAX;
		return;
	}
	if (!in_runs(look, &obj->content, offset, &end, piece))
		piece->from = CKPT_LOOK_ZERO;
	piece->end = end;
}

static void missing(struct ckpt_look_piece *piece, const char *why)
{
	piece->from = CKPT_LOOK_MISSING;
	piece->why = why;
}

/* OFFSET is not in the rest of the last page. */
static void of_file_here(const struct ckpt_look_file *file, uint64_t offset,
			 struct ckpt_look_piece *piece)
{
	if (file->fd < 0 || offset >= file->size) {
		missing(piece, file->fd < 0 ? file->why : "it is behind the end of its file");
		return;
	}
	piece->from = CKPT_LOOK_FILE;
	piece->fd = file->fd;
	piece->offset = offset;
	if (piece->end - piece->start > file->size - offset)
		piece->end = piece->start + (file->size - offset);
}

/* What is behind the end of a file in its last page is zero. */
static bool in_last_page(uint64_t size, uint64_t offset, struct ckpt_look_piece *piece)
{
	uint64_t end = round_up(size);

	if (offset < size || offset >= end)
		return false;
	piece->from = CKPT_LOOK_ZERO;
	if (piece->end - piece->start > end - offset)
		piece->end = piece->start + (end - offset);
	return true;
}

static void of_object(struct ckpt_look *look, const struct ckpt_object *obj, uint64_t offset,
		      struct ckpt_look_piece *piece)
{
	const struct ckpt_object *owner = ckpt_look_owner(look, obj);
	uint64_t len = piece->end - piece->start;
	struct ckpt_look_piece c;

	if (!owner && !ckpt_look_path(obj)) {
		/* /dev/zero; others cannot be mapped. */
		piece->from = CKPT_LOOK_ZERO;
		return;
	}
	if (!owner) {
		const struct ckpt_look_file *file = ckpt_look_file(look, obj);

		if (file->fd < 0 || !in_last_page(file->size, offset, piece))
			of_file_here(file, offset, piece);
		return;
	}
	if (in_last_page(owner->content_size, offset, piece))
		return;
	ckpt_look_content(look, owner, offset, &c);
	if (c.from == CKPT_LOOK_NOTHING) {
		missing(piece, "it is behind the end of its file");
		return;
	}
	piece->from = c.from;
	piece->fd = c.fd;
	piece->offset = c.offset;
	piece->base = c.base;
	if (len > c.end - c.start)
		piece->end = piece->start + (c.end - c.start);
}

static void of_kernel(const struct ckpt_look *look, struct ckpt_look_piece *piece)
{
	const Ckpt__Inventory *inv = look->snap->inventory;
	uint64_t at = piece->start - piece->area->start;

	if (!piece->area->name || strcmp(piece->area->name, "[vdso]") || !inv->has_vdso ||
	    at >= inv->vdso.len) {
		missing(piece, "the kernel keeps its data there, which is in no image");
		return;
	}
	piece->from = CKPT_LOOK_BYTES;
	piece->data = inv->vdso.data + at;
	if (piece->end - piece->start > inv->vdso.len - at)
		piece->end = piece->start + (inv->vdso.len - at);
}

/* MISSING in a guard region; else END is moved to where the next one begins. They are pairs of
 * start and end, in order. */
static bool in_guard(const Ckpt__Mm *mm, uint64_t addr, struct ckpt_look_piece *piece)
{
	size_t low = 0, high = mm->n_guards / 2;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (mm->guards[2 * mid + 1] <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	if (low >= mm->n_guards / 2)
		return false;
	if (mm->guards[2 * low] > addr) {
		if (mm->guards[2 * low] < piece->end)
			piece->end = mm->guards[2 * low];
		return false;
	}
	if (mm->guards[2 * low + 1] < piece->end)
		piece->end = mm->guards[2 * low + 1];
	missing(piece, "it is a guard region");
	return true;
}

void ckpt_look_piece(struct ckpt_look *look, const struct ckpt_task *task, uint64_t addr,
		     struct ckpt_look_piece *piece)
{
	size_t i = ckpt_look_area(task->mm, addr);
	const Ckpt__Area *area = i < task->mm->n_areas ? task->mm->areas[i] : NULL;

	*piece = (struct ckpt_look_piece){ .start = addr, .end = UINT64_MAX, .fd = -1 };
	if (!area || area->start > addr) {
		piece->end = area ? area->start : UINT64_MAX;
		return;
	}
	piece->area = area;
	piece->end = area->end;
	if (in_guard(task->mm, addr, piece))
		return;
	if (!area->shared && in_runs(look, &task->pages, addr, &piece->end, piece))
		return;
	if (area->flags & CKPT__AREA__FLAG__VDSO)
		of_kernel(look, piece);
	else if (area->file)
		of_object(look, look->snap->objects[area->file - 1],
			  area->offset + (addr - area->start), piece);
	else
		piece->from = CKPT_LOOK_ZERO;
}

int ckpt_look_verify(struct ckpt_look *look, uint64_t offset, uint64_t len, struct ckpt_err *err)
{
	/* What is packed is compared when it is read. */
	if (!len || ckpt_image_is_packed(look->img))
		return 0;
	for (uint64_t c = offset / CKPT_CHUNK; c <= (offset + len - 1) / CKPT_CHUNK; c++) {
		int r;

		if (__atomic_load_n(&look->verified[c / 64], __ATOMIC_RELAXED) & 1ull << c % 64)
			continue;
		r = ckpt_image_verify_chunk(look->img, c, err);
		if (r < 0)
			return r;
		__atomic_fetch_or(&look->verified[c / 64], 1ull << c % 64, __ATOMIC_RELAXED);
	}
	return 0;
}

static ssize_t read_at(int fd, void *buf, size_t len, uint64_t offset, struct ckpt_err *err)
{
	ssize_t n;

	do
		n = pread(fd, buf, len, offset);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		return n;
	return ckpt_fail(err, n < 0 ? -errno : -ENODATA, "cannot read at byte %llu",
			 (unsigned long long)offset);
}

ssize_t ckpt_look_bytes(struct ckpt_look *look, const struct ckpt_look_piece *piece, uint64_t at,
			void *buf, size_t len, struct ckpt_err *err)
{
	uint64_t skip = at - piece->start;
	struct ckpt_image *of;
	int r;

	if (len > piece->end - at)
		len = piece->end - at;
	if (!len)
		return 0;
	switch (piece->from) {
	case CKPT_LOOK_STORED:
		of = (struct ckpt_image *)ckpt_image_of(look->img, piece->base);
		if (ckpt_image_is_packed(of))
			return ckpt_image_read(of, buf, len, piece->offset + skip, err);
		r = ckpt_look_verify(look, piece->base + piece->offset + skip, len, err);
		if (r < 0)
			return r;
		return read_at(piece->fd, buf, len, piece->offset + skip, err);
	case CKPT_LOOK_FILE:
		return read_at(piece->fd, buf, len, piece->offset + skip, err);
	case CKPT_LOOK_BYTES:
		memcpy(buf, piece->data + skip, len);
		return len;
	case CKPT_LOOK_ZERO:
		memset(buf, 0, len);
		return len;
	case CKPT_LOOK_NOTHING:
	case CKPT_LOOK_MISSING:
		break;
	}
	return ckpt_refuse(err, CKPT_E_NOT_READABLE, -EFAULT, "cannot read memory at %#llx: %s",
			   (unsigned long long)at,
			   piece->why ? piece->why : "nothing is mapped there");
}

int ckpt_look_read(struct ckpt_look *look, const struct ckpt_task *task, uint64_t addr, void *buf,
		   size_t len, struct ckpt_err *err)
{
	struct ckpt_look_piece piece = { 0 };

	while (len) {
		ssize_t n;

		if (addr >= piece.end)
			ckpt_look_piece(look, task, addr, &piece);
		n = ckpt_look_bytes(look, &piece, addr, buf, len, err);
		if (n < 0)
			return n;
		buf = (char *)buf + n;
		addr += n;
		len -= n;
	}
	return 0;
}
