/* SPDX-License-Identifier: Apache-2.0 */
/* Names of functions: from the file, or its debug file, or what it exports. Read once, sorted. */
#include <gelf.h>
#include <libelf.h>
#include <libiberty/demangle.h>
#include <stdlib.h>
#include <string.h>
#include "engine/look/elf.h"

#define SYMBOLS_MAX 4000000u
#define NAME_MAX_LEN 4096
#define DEMANGLE_MAX 1024 /* the demangler takes exponential time of what is made to annoy it */

struct symbol_list {
	struct ckpt_symbol *v;
	size_t n;
};

/* As gdb has it: global before static, few underscores. */
static uint8_t rank_of(const GElf_Sym *sym, const char *name)
{
	int bind = GELF_ST_BIND(sym->st_info);
	uint8_t rank = bind == STB_GLOBAL ? 12 : bind == STB_WEAK ? 8 : 4;

	rank += sym->st_size ? 16 : 0;
	return name[0] != '_' ? rank + 2 : name[1] != '_' ? rank + 1 : rank;
}

static bool is_function(const GElf_Sym *sym)
{
	int type = GELF_ST_TYPE(sym->st_info);

	return sym->st_shndx != SHN_UNDEF && sym->st_value &&
	       (type == STT_FUNC || type == STT_GNU_IFUNC ||
		/* assembler: labels without a type or size */
		(type == STT_NOTYPE && GELF_ST_BIND(sym->st_info) == STB_GLOBAL));
}

static void read_table(struct ckpt_look *look, Elf *elf, Elf_Scn *scn, const GElf_Shdr *head,
		       struct symbol_list *list)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	size_t n = data && head->sh_entsize ? data->d_size / sizeof(Elf64_Sym) : 0;

	n = n < SYMBOLS_MAX ? n : SYMBOLS_MAX;
	if (!n || n > ckpt_arena_left(look->arena) / sizeof(*list->v) / 2)
		return;
	list->v = ckpt_alloc(look->arena, n * sizeof(*list->v));
	for (size_t i = 0; i < n; i++) {
		const char *name;
		GElf_Sym sym;

		if (!gelf_getsym(data, i, &sym) || !is_function(&sym))
			continue;
		name = elf_strptr(elf, head->sh_link, sym.st_name);
		if (!name || !*name || strnlen(name, NAME_MAX_LEN) == NAME_MAX_LEN)
			continue;
		list->v[list->n++] = (struct ckpt_symbol){ sym.st_value, sym.st_size, name,
							   rank_of(&sym, name) };
	}
}

static void read_tables(struct ckpt_look *look, Elf *elf, uint32_t type, struct symbol_list *list)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr head;

	while (!list->n && (scn = elf_nextscn(elf, scn)))
		if (gelf_getshdr(scn, &head) && head.sh_type == type)
			read_table(look, elf, scn, &head, list);
}

static int by_value(const void *a, const void *b)
{
	const struct ckpt_symbol *x = a, *y = b;

	if (x->value != y->value)
		return x->value < y->value ? -1 : 1;
	if (x->rank != y->rank)
		return (int)x->rank - y->rank;
	return strcmp(y->name, x->name);
}

/* One symbol for each place: the last of those there. */
static size_t unique(struct ckpt_symbol *v, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (kept && v[kept - 1].value == v[i].value)
			kept--;
		v[kept++] = v[i];
	}
	return kept;
}

static void load(struct ckpt_look *look, struct ckpt_elf *elf)
{
	struct symbol_list list = { 0 };

	elf->has_symbols = true;
	elf->carried_names = elf->carried;
	read_tables(look, elf->handle, SHT_SYMTAB, &list);
	if (!list.n && elf->debug) {
		read_tables(look, elf->debug->handle, SHT_SYMTAB, &list);
		elf->carried_names = elf->carried && !list.n;
	}
	if (!list.n)
		read_tables(look, elf->handle, SHT_DYNSYM, &list);
	if (list.n)
		qsort(list.v, list.n, sizeof(*list.v), by_value);
	elf->symbols = list.v;
	elf->n_symbols = unique(list.v, list.n);
}

const struct ckpt_symbol *ckpt_elf_symbol(struct ckpt_look *look, struct ckpt_elf *elf,
					  uint64_t vaddr)
{
	size_t low = 0, high;
	const struct ckpt_symbol *s;

	if (!elf->has_symbols)
		load(look, elf);
	high = elf->n_symbols;
	while (low < high) {
		size_t mid = (low + high) / 2;

		if (elf->symbols[mid].value <= vaddr)
			low = mid + 1;
		else
			high = mid;
	}
	/* Inside of a function there may be labels; who has a size says whether it is meant. */
	for (size_t back = 0; low && back < 8; low--, back++) {
		s = &elf->symbols[low - 1];
		if (s->size ? vaddr - s->value < s->size : !back)
			return s;
	}
	return NULL;
}

const char *ckpt_elf_demangle(struct ckpt_arena *arena, const struct ckpt_elf *elf,
			      const char *name)
{
	const char *shown = name;
	char *plain = NULL;

	/* A file that came with the image may be made to annoy. */
	if (!elf->carried_names && name[0] == '_' && strlen(name) < DEMANGLE_MAX)
		plain = cplus_demangle(name, DMGL_PARAMS | DMGL_ANSI | DMGL_AUTO);
	if (plain && strlen(plain) < NAME_MAX_LEN)
		shown = ckpt_strdup(arena, plain);
	free(plain);
	return shown;
}
