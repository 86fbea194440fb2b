/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions that the compiler put into their callers: nothing but debug information knows of them.
 * Through libdw, and only from files that root or the user owns: an image may name any file.
 */
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <gelf.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/look/elf.h"

#define DEBUG_MAX                                                                              \
	(48ull << 20)        /* bytes of debug information of all files: it is read as a whole \
			      */
#define ENTRIES_MAX 3000000u /* of it that are looked at, in all: seconds */
#define SCOPES_MAX 64
#define CACHED 256

struct ckpt_elf_inlined {
	Dwarf *dwarf; /* NULL: there is none */
	struct {
		uint64_t vaddr; /* and 1; 0: empty */
		const char **names;
		size_t n;
	} known[CACHED];
};

static bool is_ours(int fd)
{
	struct stat st;

	return fd >= 0 && !fstat(fd, &st) && (!st.st_uid || st.st_uid == geteuid());
}

/* 0: it has none. */
static uint64_t debug_size(Elf *elf)
{
	Elf_Scn *scn = NULL;
	bool any = false;
	uint64_t sum = 0;
	size_t names;

	if (elf_getshdrstrndx(elf, &names) < 0)
		return 0;
	while ((scn = elf_nextscn(elf, scn))) {
		const char *name;
		GElf_Shdr head;
		GElf_Chdr packed;

		if (!gelf_getshdr(scn, &head) || head.sh_type == SHT_NOBITS)
			continue;
		name = elf_strptr(elf, names, head.sh_name);
		if (!name || strncmp(name, ".debug_", 7) != 0)
			continue;
		any = any || !strcmp(name, ".debug_info");
		if (head.sh_flags & SHF_COMPRESSED && gelf_getchdr(scn, &packed))
			head.sh_size += packed.ch_size;
		if (head.sh_size > DEBUG_MAX)
			return UINT64_MAX;
		sum += head.sh_size;
	}
	return any ? sum : 0;
}

static Dwarf *open_dwarf(struct ckpt_look *look, const struct ckpt_elf *elf)
{
	const struct ckpt_elf *from = elf;
	uint64_t size = debug_size(elf->handle);

	if (!size && elf->debug) {
		from = elf->debug;
		size = debug_size(from->handle);
	}
	if (!size || size > DEBUG_MAX - look->debug_read || !is_ours(from->fd) ||
	    (elf->carried && from == elf))
		return NULL;
	look->debug_read += size;
	return dwarf_begin_elf(from->handle, DWARF_C_READ, NULL);
}

void ckpt_elf_inlined_close(struct ckpt_elf *elf)
{
	if (elf->inlined)
		dwarf_end(elf->inlined->dwarf);
}

/* Not every compiler writes an index of addresses. */
static bool find_unit(struct ckpt_look *look, Dwarf *dwarf, uint64_t vaddr, Dwarf_Die *unit)
{
	Dwarf_CU *cu = NULL;

	if (dwarf_addrdie(dwarf, vaddr, unit))
		return true;
	while (look->entries_seen++ < ENTRIES_MAX &&
	       !dwarf_get_units(dwarf, cu, &cu, NULL, NULL, unit, NULL))
		if (dwarf_haspc(unit, vaddr) > 0)
			return true;
	return false;
}

static const char *name_of(struct ckpt_look *look, const struct ckpt_elf *elf, Dwarf_Die *die)
{
	Dwarf_Attribute attr;
	const char *name = NULL;

	if (dwarf_attr_integrate(die, DW_AT_linkage_name, &attr))
		name = dwarf_formstring(&attr);
	if (!name)
		name = dwarf_diename(die);
	return name ? ckpt_elf_demangle(look->arena, elf, ckpt_strdup(look->arena, name)) : "??";
}

/* May the code be in there, one way or the other? Namespaces and types have no addresses of their
 * own, and hold functions that do. */
static bool may_hold(Dwarf_Die *die, uint64_t vaddr)
{
	switch (dwarf_tag(die)) {
	case DW_TAG_namespace:
	case DW_TAG_module:
	case DW_TAG_class_type:
	case DW_TAG_structure_type:
	case DW_TAG_union_type:
		return true;
	case DW_TAG_subprogram:
	case DW_TAG_inlined_subroutine:
	case DW_TAG_lexical_block:
	case DW_TAG_try_block:
	case DW_TAG_catch_block:
		return dwarf_haspc(die, vaddr) > 0;
	default:
		return false;
	}
}

/* The scopes around VADDR, from the outermost on; returns how many. libdw's dwarf_getscopes() does
 * not look into namespaces, where Rust has its functions. */
static size_t find_scopes(struct ckpt_look *look, Dwarf_Die *unit, uint64_t vaddr, Dwarf_Die *scope)
{
	size_t depth = 0;

	if (dwarf_child(unit, &scope[0]))
		return 0;
	while (look->entries_seen++ < ENTRIES_MAX) {
		if (depth + 1 < SCOPES_MAX && may_hold(&scope[depth], vaddr)) {
			if (!dwarf_child(&scope[depth], &scope[depth + 1])) {
				depth++;
				continue;
			}
			if (dwarf_haspc(&scope[depth], vaddr) > 0)
				return depth + 1;
		}
		while (dwarf_siblingof(&scope[depth], &scope[depth])) {
			/* Nothing in it is closer. */
			if (!depth || dwarf_haspc(&scope[depth - 1], vaddr) > 0)
				return depth;
			depth--;
		}
	}
	return 0;
}

/* Back from the innermost, up to the function that is no part of another. */
static size_t find(struct ckpt_look *look, const struct ckpt_elf *elf, uint64_t vaddr,
		   const char **names)
{
	Dwarf_Die unit, scope[SCOPES_MAX];
	size_t i, n = 0;

	if (!find_unit(look, elf->inlined->dwarf, vaddr, &unit))
		return 0;
	for (i = find_scopes(look, &unit, vaddr, scope); i; i--) {
		int tag = dwarf_tag(&scope[i - 1]);

		if (tag == DW_TAG_subprogram || n == CKPT_INLINED_MAX)
			break;
		if (tag == DW_TAG_inlined_subroutine)
			names[n++] = name_of(look, elf, &scope[i - 1]);
	}
	return n;
}

size_t ckpt_elf_inlined(struct ckpt_look *look, struct ckpt_elf *elf, uint64_t vaddr,
			const char *const **namesp)
{
	const char *names[CKPT_INLINED_MAX];
	size_t i = vaddr * 0x9e3779b97f4a7c15ull >> 56;

	if (!elf->inlined) {
		elf->inlined = ckpt_new(look->arena, struct ckpt_elf_inlined);
		elf->inlined->dwarf = open_dwarf(look, elf);
	}
	if (!elf->inlined->dwarf)
		return 0;
	if (elf->inlined->known[i].vaddr != vaddr + 1) {
		size_t n = find(look, elf, vaddr, names);

		elf->inlined->known[i].vaddr = vaddr + 1;
		elf->inlined->known[i].n = n;
		elf->inlined->known[i].names =
			memcpy(ckpt_alloc(look->arena, (n + 1) * sizeof(names[0])), names,
			       n * sizeof(names[0]));
	}
	*namesp = elf->inlined->known[i].names;
	return elf->inlined->known[i].n;
}
