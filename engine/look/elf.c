/* SPDX-License-Identifier: Apache-2.0 */
/* Opening ELF files: from this machine, out of the image (deleted ones), the vDSO; and the debug
 * file of the same build-id. */
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/build-id.h"
#include "engine/base/cleanup.h"
#include "engine/look/elf.h"

#define CARRIED_MAX (256ull << 20) /* bytes of a file that is unpacked for its symbols */
#define PARTS_MAX 64
#define DEBUG_DIR "/usr/lib/debug"

/* Through libelf's own buffers, not mapped: a file that shrinks meanwhile is then an error. */
static Elf *begin(int fd)
{
	Elf *elf;

	if (elf_version(EV_CURRENT) == EV_NONE)
		return NULL;
	elf = elf_begin(fd, ELF_C_READ, NULL);
	if (elf && elf_kind(elf) == ELF_K_ELF && gelf_getclass(elf) == ELFCLASS64)
		return elf;
	elf_end(elf);
	return NULL;
}

static void read_headers(struct ckpt_look *look, struct ckpt_elf *elf)
{
	size_t n = 0;

	if (elf_getphdrnum(elf->handle, &n) < 0)
		return;
	n = n < PARTS_MAX ? n : PARTS_MAX;
	elf->parts = ckpt_alloc(look->arena, (n + 1) * sizeof(*elf->parts));
	for (size_t i = 0; i < n; i++) {
		GElf_Phdr p;

		if (!gelf_getphdr(elf->handle, i, &p))
			return;
		if (p.p_type == PT_LOAD)
			elf->parts[elf->n_parts++] = (struct ckpt_elf_part){ .offset = p.p_offset,
									     .vaddr = p.p_vaddr,
									     .size = p.p_filesz };
		else if (p.p_type == PT_GNU_EH_FRAME)
			elf->eh_frame_hdr = p.p_vaddr;
	}
}

/* Its data uncompressed, NULL if it has none. */
static Elf_Data *data_of(Elf_Scn *scn, const GElf_Shdr *head)
{
	if (head->sh_type == SHT_NOBITS)
		return NULL;
	if (head->sh_flags & SHF_COMPRESSED && elf_compress(scn, 0, 0) < 0)
		return NULL;
	return elf_getdata(scn, NULL);
}

static void find_frames(struct ckpt_elf *elf, const char *wanted)
{
	Elf_Scn *scn = NULL;
	size_t names;

	if (elf->frames.len || elf_getshdrstrndx(elf->handle, &names) < 0)
		return;
	while ((scn = elf_nextscn(elf->handle, scn))) {
		const char *name;
		Elf_Data *data;
		GElf_Shdr head;

		if (!gelf_getshdr(scn, &head))
			return;
		name = elf_strptr(elf->handle, names, head.sh_name);
		if (!name || strcmp(name, wanted))
			continue;
		data = data_of(scn, &head);
		if (!data || !data->d_buf)
			return;
		elf->frames.data = data->d_buf;
		elf->frames.len = data->d_size;
		elf->frames.vaddr = head.sh_flags & SHF_ALLOC ? head.sh_addr : 0;
	}
}

static struct ckpt_elf *open_debug(struct ckpt_look *look, int fd)
{
	uint8_t id[CKPT_BUILD_ID_MAX], theirs[CKPT_BUILD_ID_MAX];
	const char *dir = look->debug_dir ? look->debug_dir : DEBUG_DIR;
	size_t len = ckpt_build_id(fd, id), n;
	struct ckpt_elf *debug;
	char *path;

	if (len < 2)
		return NULL;
	path = ckpt_alloc(look->arena, strlen(dir) + 2 * len + 32);
	n = sprintf(path, "%s/.build-id/%02x/", dir, id[0]);
	for (size_t i = 1; i < len; i++)
		n += sprintf(path + n, "%02x", id[i]);
	strcpy(path + n, ".debug");
	CKPT_FD own = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (own < 0 || ckpt_build_id(own, theirs) != len || memcmp(id, theirs, len))
		return NULL;
	debug = ckpt_new(look->arena, struct ckpt_elf);
	debug->handle = begin(own);
	debug->path = path;
	debug->ok = debug->handle;
	debug->fd = debug->ok ? ckpt_take_fd(&own) : -1;
	return debug->ok ? debug : NULL;
}

static void fill(struct ckpt_look *look, struct ckpt_elf *elf)
{
	elf->ok = elf->handle;
	if (!elf->ok)
		return;
	read_headers(look, elf);
	if (elf->fd >= 0)
		elf->debug = open_debug(look, elf->fd);
	if (!elf->eh_frame_hdr)
		find_frames(elf, ".eh_frame");
	find_frames(elf, ".debug_frame");
	if (!elf->frames.len && elf->debug) {
		find_frames(elf->debug, ".debug_frame");
		elf->frames = elf->debug->frames;
	}
}

/* The content of a deleted file as a file again, which only this process sees. */
static int unpack(struct ckpt_look *look, const struct ckpt_object *obj)
{
	static const size_t room = 1 << 20;
	CKPT_FD fd = obj->content_size <= CARRIED_MAX ? memfd_create("carried", MFD_CLOEXEC) : -1;
	CKPT_FREE char *buf = malloc(room);
	struct ckpt_look_piece piece;
	struct ckpt_err none;

	if (fd < 0 || !buf || ftruncate(fd, obj->content_size) < 0)
		return -1;
	for (uint64_t at = 0; at < obj->content_size;) {
		ssize_t n;

		ckpt_look_content(look, obj, at, &piece);
		if (piece.from == CKPT_LOOK_ZERO) {
			at = piece.end;
			continue;
		}
		n = ckpt_look_bytes(look, &piece, at, buf, room, &none);
		if (n <= 0 || pwrite(fd, buf, n, at) != n)
			return -1;
		at += n;
	}
	return ckpt_take_fd(&fd);
}

static struct ckpt_elf *open_object(struct ckpt_look *look, const struct ckpt_object *obj)
{
	const struct ckpt_object *owner = ckpt_look_owner(look, obj);
	struct ckpt_elf *elf = ckpt_new(look->arena, struct ckpt_elf);
	const char *path = ckpt_look_path(obj);

	elf->path = path ? path : obj->kind->name;
	elf->carried = owner;
	elf->fd = owner ? unpack(look, owner) :
			  fcntl(ckpt_look_file(look, obj)->fd, F_DUPFD_CLOEXEC, 3);
	elf->handle = elf->fd >= 0 ? begin(elf->fd) : NULL;
	fill(look, elf);
	return elf;
}

static struct ckpt_elf *open_vdso(struct ckpt_look *look)
{
	const Ckpt__Inventory *inv = look->snap->inventory;
	struct ckpt_elf *elf = ckpt_new(look->arena, struct ckpt_elf);

	elf->path = "[vdso]";
	elf->fd = -1;
	elf->carried = true;
	elf_version(EV_CURRENT);
	if (inv->has_vdso && inv->vdso.len > EI_NIDENT)
		elf->handle = elf_memory((char *)inv->vdso.data, inv->vdso.len);
	if (elf->handle &&
	    (elf_kind(elf->handle) != ELF_K_ELF || gelf_getclass(elf->handle) != ELFCLASS64)) {
		elf_end(elf->handle);
		elf->handle = NULL;
	}
	fill(look, elf);
	return elf;
}

struct ckpt_elf *ckpt_elf_of(struct ckpt_look *look, const Ckpt__Area *area)
{
	struct ckpt_elf **elfp = area->file ? &look->elfs[area->file - 1] : &look->vdso;

	if (!area->file && (!(area->flags & CKPT__AREA__FLAG__VDSO) || !area->name ||
			    strcmp(area->name, "[vdso]")))
		return NULL;
	if (!*elfp)
		*elfp = area->file ? open_object(look, look->snap->objects[area->file - 1]) :
				     open_vdso(look);
	return (*elfp)->ok ? *elfp : NULL;
}

void ckpt_elf_close(struct ckpt_elf *elf)
{
	if (!elf)
		return;
	ckpt_elf_inlined_close(elf);
	ckpt_elf_close(elf->debug);
	if (elf->handle)
		elf_end(elf->handle);
	if (elf->fd >= 0)
		close(elf->fd);
}

bool ckpt_elf_vaddr(const struct ckpt_elf *elf, const Ckpt__Area *area, uint64_t addr,
		    uint64_t *vaddrp)
{
	uint64_t offset = (area->file ? area->offset : 0) + (addr - area->start);

	for (size_t i = 0; i < elf->n_parts; i++) {
		const struct ckpt_elf_part *p = &elf->parts[i];
		/* A page at its ends belongs to two parts; what is asked for is in one. */
		if (offset < p->offset || offset - p->offset >= p->size)
			continue;
		*vaddrp = p->vaddr + (offset - p->offset);
		return true;
	}
	return false;
}
