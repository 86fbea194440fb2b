/* SPDX-License-Identifier: Apache-2.0 */
/* Headers by libelf, memory behind them: what is zero is a hole. */
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/progress.h"
#include "engine/look/core.h"
#include "engine/look/output.h"
#include "engine/look/views.h"

#define ROOM (1u << 20)

struct writing {
	struct ckpt_look *look;
	const struct ckpt_task *task;
	struct ckpt_output out;
	struct ckpt_core_stats *stats;
	unsigned char *buf; /* ROOM bytes */
	uint64_t *size;     /* bytes of each area in the file */
	uint64_t notes_at, notes_len, memory_at;
};

static bool has_pages(const struct ckpt_look *look, const struct ckpt_task *task,
		      const Ckpt__Area *area)
{
	struct ckpt_look_piece piece = { .end = area->start };

	while (piece.end < area->end) {
		ckpt_look_piece((struct ckpt_look *)look, task, piece.end, &piece);
		if (piece.from == CKPT_LOOK_STORED)
			return true;
	}
	return false;
}

/* A page of a program or library says which one it is. */
static bool is_elf(struct ckpt_look *look, const struct ckpt_task *task, const Ckpt__Area *area)
{
	struct ckpt_err none;
	char magic[SELFMAG];

	return !area->offset &&
	       ckpt_look_read(look, task, area->start, magic, sizeof(magic), &none) >= 0 &&
	       !memcmp(magic, ELFMAG, SELFMAG);
}

/* As the kernel's default filter: not what is in files unchanged. */
static uint64_t size_of(struct ckpt_look *look, const struct ckpt_task *task,
			const Ckpt__Area *area)
{
	if (area->flags & CKPT__AREA__FLAG__DONT_DUMP && !(area->flags & CKPT__AREA__FLAG__VDSO))
		return 0;
	if (!area->file || has_pages(look, task, area))
		return area->end - area->start;
	if (ckpt_look_owner(look, look->snap->objects[area->file - 1]))
		return area->end - area->start;
	return is_elf(look, task, area) ? CKPT_PAGE : 0;
}

static int elf_failed(const struct writing *w, struct ckpt_err *err)
{
	return ckpt_refuse(err, CKPT_E_OUTPUT, -EIO, "%s: cannot write: %s", w->out.path,
			   elf_errmsg(-1));
}

static bool put_phdrs(const struct writing *w, Elf *elf)
{
	const Ckpt__Mm *mm = w->task->mm;
	uint64_t at = w->memory_at;
	GElf_Phdr p = { .p_type = PT_NOTE,
			.p_offset = w->notes_at,
			.p_filesz = w->notes_len,
			.p_align = 4 };

	if (!gelf_update_phdr(elf, 0, &p))
		return false;
	for (size_t i = 0; i < mm->n_areas; i++) {
		const Ckpt__Area *a = mm->areas[i];

		p = (GElf_Phdr){ .p_type = PT_LOAD,
				 .p_offset = at,
				 .p_vaddr = a->start,
				 .p_filesz = w->size[i],
				 .p_memsz = a->end - a->start,
				 .p_align = CKPT_PAGE };
		p.p_flags = (a->prot & PROT_READ ? PF_R : 0) | (a->prot & PROT_WRITE ? PF_W : 0) |
			    (a->prot & PROT_EXEC ? PF_X : 0);
		if (!gelf_update_phdr(elf, i + 1, &p))
			return false;
		at += w->size[i];
	}
	return true;
}

static int put_headers(const struct writing *w, struct ckpt_err *err)
{
	Elf *elf = elf_version(EV_CURRENT) ? elf_begin(w->out.fd, ELF_C_WRITE, NULL) : NULL;
	GElf_Ehdr head;
	bool ok;

	if (!elf)
		return elf_failed(w, err);
	elf_flagelf(elf, ELF_C_SET, ELF_F_LAYOUT);
	ok = gelf_newehdr(elf, ELFCLASS64) && gelf_newphdr(elf, w->task->mm->n_areas + 1) &&
	     gelf_getehdr(elf, &head);
	if (ok) {
		head.e_ident[EI_DATA] = ELFDATA2LSB;
		head.e_type = ET_CORE;
		head.e_machine = EM_X86_64;
		head.e_version = EV_CURRENT;
		head.e_phoff = sizeof(Elf64_Ehdr);
		ok = gelf_update_ehdr(elf, &head) && put_phdrs(w, elf) &&
		     elf_update(elf, ELF_C_WRITE) >= 0;
	}
	if (!ok)
		elf_failed(w, err);
	elf_end(elf);
	return ok ? 0 : -EIO;
}

/* In the kernel where it can be done, else through the buffer. */
static ssize_t move(struct writing *w, const struct ckpt_look_piece *piece, uint64_t at, size_t len,
		    uint64_t to, struct ckpt_err *err)
{
	off_t from = piece->offset + (at - piece->start), dest = to;
	ssize_t n = 0;
	int r;

	if (piece->from == CKPT_LOOK_STORED) {
		r = ckpt_look_verify(w->look, piece->base + from, len, err);
		if (r < 0)
			return r;
		n = copy_file_range(piece->fd, &from, w->out.fd, &dest, len, 0);
	}
	if (n > 0)
		return n;
	n = ckpt_look_bytes(w->look, piece, at, w->buf, len < ROOM ? len : ROOM, err);
	if (n <= 0)
		return n;
	r = ckpt_output_write(&w->out, w->buf, n, to, err);
	return r < 0 ? r : n;
}

static int put_piece(struct writing *w, const struct ckpt_look_piece *piece, uint64_t end,
		     uint64_t to, struct ckpt_err *err)
{
	uint64_t at = piece->start;

	if (piece->from == CKPT_LOOK_ZERO)
		return 0;
	if (piece->from == CKPT_LOOK_MISSING || piece->from == CKPT_LOOK_NOTHING) {
		w->stats->missing += end - at;
		w->stats->why = w->stats->why ? w->stats->why : piece->why;
		return 0;
	}
	while (at < end) {
		uint64_t chunk = CKPT_CHUNK - (piece->offset + (at - piece->start)) % CKPT_CHUNK;
		ssize_t n = move(w, piece, at, end - at < chunk ? end - at : chunk, to, err);

		if (n < 0)
			return n;
		at += n;
		to += n;
		w->stats->written += n;
		ckpt_progress_add(ckpt_arena_progress(w->look->arena), n);
	}
	return 0;
}

static int put_memory(struct writing *w, struct ckpt_err *err)
{
	const Ckpt__Mm *mm = w->task->mm;
	uint64_t to = w->memory_at;

	for (size_t i = 0; i < mm->n_areas; i++) {
		struct ckpt_look_piece piece = { .end = mm->areas[i]->start };
		uint64_t end = piece.end + w->size[i];

		while (piece.end < end) {
			uint64_t stop;
			int r;

			ckpt_look_piece(w->look, w->task, piece.end, &piece);
			stop = piece.end < end ? piece.end : end;
			r = put_piece(w, &piece, stop, to, err);
			if (r < 0)
				return r;
			to += stop - piece.start;
		}
	}
	w->stats->bytes = to;
	if (ftruncate(w->out.fd, to) < 0)
		return ckpt_refuse(err, CKPT_E_OUTPUT, -errno,
				   "%s: cannot make it %llu bytes long: %s", w->out.path,
				   (unsigned long long)to, strerrordesc_np(errno));
	return 0;
}

static int lay_out(struct writing *w, struct ckpt_err *err)
{
	const Ckpt__Mm *mm = w->task->mm;
	uint64_t stored = ckpt_view_stored(&w->task->pages), total = 0;

	if (mm->n_areas + 1 >= PN_XNUM)
		return ckpt_refuse(
			err, CKPT_E_OUTPUT, -E2BIG,
			"%s: cannot write: process %d has %zu areas, a core file %d at most",
			w->out.path, w->task->pid, mm->n_areas, PN_XNUM - 2);
	w->size = ckpt_alloc(w->look->arena, (mm->n_areas + 1) * sizeof(*w->size));
	for (size_t i = 0; i < mm->n_areas; i++) {
		w->size[i] = size_of(w->look, w->task, mm->areas[i]);
		total += w->size[i];
	}
	w->notes_at = sizeof(Elf64_Ehdr) + (mm->n_areas + 1) * sizeof(Elf64_Phdr);
	w->memory_at = (w->notes_at + w->notes_len + CKPT_PAGE - 1) / CKPT_PAGE * CKPT_PAGE;
	total = stored < total ? stored : total;
	ckpt_progress_begin(ckpt_arena_progress(w->look->arena), NULL, total);
	return ckpt_output_room(&w->out, total + w->memory_at, err);
}

int ckpt_core_write(struct ckpt_look *look, const struct ckpt_task *task, const char *path,
		    struct ckpt_core_stats *stats, struct ckpt_err *err)
{
	CKPT_FREE unsigned char *buf = malloc(ROOM);
	struct writing w = { .look = look, .task = task, .stats = stats, .buf = buf };
	unsigned char *notes;
	int r;

	*stats = (struct ckpt_core_stats){ 0 };
	if (!buf)
		return ckpt_fail(err, -ENOMEM, "%s: cannot write", path);
	r = ckpt_output_open(&w.out, path, err);
	if (r < 0)
		return r;
	ckpt_core_notes(look, task, &notes, &w.notes_len);
	r = lay_out(&w, err);
	if (r >= 0)
		r = put_headers(&w, err);
	if (r >= 0)
		r = ckpt_output_write(&w.out, notes, w.notes_len, w.notes_at, err);
	if (r >= 0) {
		struct ckpt_look_ahead *ahead = ckpt_look_ahead(look, task);

		r = put_memory(&w, err);
		ckpt_look_ahead_end(ahead);
	}
	if (r >= 0)
		r = ckpt_output_commit(&w.out, err);
	ckpt_output_close(&w.out);
	return r;
}
