/* SPDX-License-Identifier: Apache-2.0 */
/* Read by hand, not with libelf: once for each mapped file while the target stands still, and the
 * first page of the file nearly always has all of it. */
#include <elf.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/build-id.h"

#define PAGE 4096
#define HEADERS_MAX 64 /* program headers that are looked at */

struct window {
	int fd;
	uint64_t at; /* of BUF in the file */
	size_t n;
	unsigned char buf[PAGE];
};

/* Copies LEN bytes at AT of the file: they may be aligned to nothing. */
static bool take(struct window *w, uint64_t at, void *to, size_t len)
{
	ssize_t n;

	if (len > sizeof(w->buf) || at > INT64_MAX - PAGE)
		return false;
	if (at < w->at || at - w->at > w->n || len > w->n - (at - w->at)) {
		n = pread(w->fd, w->buf, sizeof(w->buf), at);
		w->at = at;
		w->n = n < 0 ? 0 : n;
	}
	if (len > w->n - (at - w->at))
		return false;
	memcpy(to, w->buf + (at - w->at), len);
	return true;
}

static size_t id_in_notes(struct window *w, uint64_t at, uint64_t size, uint8_t *id)
{
	uint64_t pos = 0;
	Elf64_Nhdr note;
	char name[4];

	while (pos < PAGE && pos + sizeof(note) <= size && take(w, at + pos, &note, sizeof(note))) {
		pos += sizeof(note);
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof(name) &&
		    note.n_descsz <= CKPT_BUILD_ID_MAX && take(w, at + pos, name, sizeof(name)) &&
		    !memcmp(name, "GNU", 4) && take(w, at + pos + 4, id, note.n_descsz))
			return note.n_descsz;
		pos += ((note.n_namesz + 3ull) & ~3ull) + ((note.n_descsz + 3ull) & ~3ull);
	}
	return 0;
}

size_t ckpt_build_id(int fd, uint8_t id[CKPT_BUILD_ID_MAX])
{
	struct window w = { .fd = fd };
	Elf64_Ehdr head;
	Elf64_Phdr part;
	size_t len = 0;

	if (!take(&w, 0, &head, sizeof(head)) || memcmp(head.e_ident, ELFMAG, SELFMAG) ||
	    head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_phentsize != sizeof(part))
		return 0;
	for (size_t i = 0; i < head.e_phnum && i < HEADERS_MAX && !len; i++) {
		if (!take(&w, head.e_phoff + i * sizeof(part), &part, sizeof(part)))
			break;
		if (part.p_type == PT_NOTE)
			len = id_in_notes(&w, part.p_offset, part.p_filesz, id);
	}
	return len;
}
