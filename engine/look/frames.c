/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Call frame information out of a file. An entry is { u32 length, u32 CIE, ... }; in .eh_frame the
 * CIE is told by its distance, in .debug_frame by its offset. The copy in the window is always an
 * .eh_frame. Only what 64-bit compilers write: 32-bit DWARF, absolute or pc-relative addresses.
 */
#include <string.h>
#include "engine/look/frames.h"

#define NO_CIE 0xffffffffu
enum { ABSOLUTE = 0x00, PC_RELATIVE_4 = 0x1b, TABLE_DATA_RELATIVE_4 = 0x3b, UDATA4 = 0x03 };

struct entry {
	const unsigned char *body; /* behind the length */
	size_t at, len;            /* AT: of the length in the section */
	uint32_t id;
};

struct table_entry {
	int32_t start, fde; /* from the base */
};

static uint32_t u32(const unsigned char *p)
{
	uint32_t n;

	memcpy(&n, p, 4);
	return n;
}

static uint64_t u64(const unsigned char *p)
{
	uint64_t n;

	memcpy(&n, p, 8);
	return n;
}

/* false at the end, and at what is nothing that we know. */
static bool entry_at(const struct ckpt_elf_frames *frames, size_t at, struct entry *e)
{
	uint32_t len;

	if (at > frames->len || frames->len - at < 8)
		return false;
	len = u32(frames->data + at);
	if (len < 4 || len > frames->len - at - 4)
		return false;
	*e = (struct entry){ frames->data + at + 4, at, len, u32(frames->data + at + 4) };
	return true;
}

static bool is_cie(const struct ckpt_elf_frames *frames, const struct entry *e)
{
	return e->id == (frames->vaddr ? 0 : NO_CIE);
}

static bool cie_of(const struct ckpt_elf_frames *frames, const struct entry *fde, struct entry *cie)
{
	size_t at = frames->vaddr ? fde->at + 4 - fde->id : fde->id;

	return entry_at(frames, at, cie) && is_cie(frames, cie);
}

/* How the CIE has addresses encoded; -1: as we do not know. */
static int encoding_of(const struct ckpt_elf_frames *frames, const struct entry *cie)
{
	const char *aug = (const char *)cie->body + 5;
	size_t n = cie->len > 5 ? strnlen(aug, cie->len - 5) : 0, at = 5 + n + 1;

	if (!frames->vaddr || !n)
		return cie->len > 5 && !n ? ABSOLUTE : -1;
	/* code and data alignment, return register, length of what follows: all of one byte in
	 * practice. */
	at += 4;
	if (aug[0] != 'z' || at >= cie->len)
		return -1;
	for (size_t i = 1; i < n && at < cie->len; i++) {
		if (aug[i] == 'R')
			return cie->body[at];
		if (aug[i] == 'L')
			at++;
		else if (aug[i] != 'S' && aug[i] != 'B')
			return -1;
	}
	return ABSOLUTE;
}

static bool range_of(const struct ckpt_elf_frames *frames, const struct entry *fde, int encoding,
		     uint64_t *startp, uint64_t *lenp)
{
	uint64_t here = frames->vaddr + fde->at + 8;

	if (encoding == PC_RELATIVE_4 && fde->len >= 12) {
		*startp = here + (int64_t)(int32_t)u32(fde->body + 4);
		*lenp = u32(fde->body + 8);
		return true;
	}
	if (encoding == ABSOLUTE && fde->len >= 20) {
		*startp = u64(fde->body + 4);
		*lenp = u64(fde->body + 12);
		return true;
	}
	return false;
}

static void put_at(struct ckpt_window *w, size_t at, const void *data, size_t len)
{
	memcpy(w->bytes + at, data, len);
}

/* Table, CIE, FDE, an end. Absolute addresses get the bias, relative ones what they moved. */
static bool copy(const struct entry *cie, const struct entry *fde, int encoding, uint64_t start,
		 uint64_t bias, struct ckpt_window *w)
{
	const size_t cie_at = 16, fde_at = cie_at + 4 + cie->len;
	struct table_entry entry = { 0, fde_at };
	uint32_t zero = 0, back = fde_at + 4 - cie_at, len;
	int64_t moved;

	if (fde_at + fde->len + 12 > CKPT_WINDOW_MAX)
		return false;
	w->len = fde_at + fde->len + 12;
	memset(w->bytes, 0, w->len);
	len = cie->len;
	put_at(w, cie_at, &len, 4);
	put_at(w, cie_at + 4, cie->body, cie->len);
	put_at(w, cie_at + 4, &zero, 4);
	len = fde->len;
	put_at(w, fde_at, &len, 4);
	put_at(w, fde_at + 4, fde->body, fde->len);
	put_at(w, fde_at + 4, &back, 4);
	moved = start + bias - (encoding == ABSOLUTE ? 0 : w->at + fde_at + 8);
	if (encoding != ABSOLUTE && moved != (int32_t)moved)
		return false;
	put_at(w, fde_at + 8, &moved, encoding == ABSOLUTE ? 8 : 4);
	moved = start + bias - w->at;
	entry.start = moved;
	put_at(w, 0, &entry, sizeof(entry));
	return moved == entry.start;
}

bool ckpt_frames_find(const struct ckpt_elf_frames *frames, uint64_t vaddr, uint64_t bias,
		      struct ckpt_window *window, struct ckpt_unwind_table *table)
{
	struct entry fde, cie;

	for (size_t at = 0; entry_at(frames, at, &fde); at += 4 + fde.len) {
		uint64_t start, len;
		int encoding;

		if (is_cie(frames, &fde) || !cie_of(frames, &fde, &cie))
			continue;
		encoding = encoding_of(frames, &cie);
		if (!range_of(frames, &fde, encoding, &start, &len) || vaddr < start ||
		    vaddr - start >= len)
			continue;
		if (!copy(&cie, &fde, encoding, start, bias, window))
			return false;
		*table = (struct ckpt_unwind_table){ start + bias, start + bias + len, window->at,
						     window->at, 1 };
		return true;
	}
	return false;
}

bool ckpt_frames_index(bool (*read)(void *arg, uint64_t addr, void *buf, size_t len), void *arg,
		       uint64_t hdr, struct ckpt_unwind_table *table)
{
	struct {
		uint8_t version, frame_encoding, count_encoding, table_encoding;
		uint32_t frame, count;
	} h;

	if (!read(arg, hdr, &h, sizeof(h)) || h.version != 1 || h.count_encoding != UDATA4 ||
	    (h.frame_encoding & 0x0f) % 8 != 3 || h.table_encoding != TABLE_DATA_RELATIVE_4)
		return false;
	*table =
		(struct ckpt_unwind_table){ .base = hdr, .entries = hdr + sizeof(h), .n = h.count };
	return h.count > 0;
}
