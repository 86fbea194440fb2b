/* SPDX-License-Identifier: Apache-2.0 */
/* Symbols through libelf; a jump is 12 bytes, fewer than any of the vDSO's functions has. */
#include <errno.h>
#include <gelf.h>
#include <libelf.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include "engine/memory/vdso.h"

#define JUMP 12

struct symbols {
	Elf *elf;
	Elf_Data *data;
	size_t n;
	uint32_t strings; /* section with the names */
};

static bool open_symbols(struct symbols *s, uint8_t *bytes, size_t len)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr head;

	elf_version(EV_CURRENT);
	s->elf = elf_memory((char *)bytes, len);
	while (s->elf && (scn = elf_nextscn(s->elf, scn))) {
		if (!gelf_getshdr(scn, &head) || head.sh_type != SHT_DYNSYM || !head.sh_entsize)
			continue;
		s->data = elf_getdata(scn, NULL);
		s->n = s->data ? s->data->d_size / head.sh_entsize : 0;
		s->strings = head.sh_link;
		return s->n > 0;
	}
	return false;
}

static const char *symbol(const struct symbols *s, size_t i, GElf_Sym *sym)
{
	if (!gelf_getsym(s->data, i, sym) || GELF_ST_TYPE(sym->st_info) != STT_FUNC ||
	    !sym->st_value)
		return NULL;
	return elf_strptr(s->elf, s->strings, sym->st_name);
}

static uint64_t find_symbol(const struct symbols *s, const char *name)
{
	GElf_Sym sym;

	for (size_t i = 0; i < s->n; i++) {
		const char *it = symbol(s, i, &sym);

		if (it && !strcmp(it, name))
			return sym.st_value;
	}
	return 0;
}

/* movabs $to,%rax; jmp *%rax */
static void put_jump(uint8_t *at, uint64_t to)
{
	static const uint8_t code[JUMP] = { 0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0 };

	memcpy(at, code, JUMP);
	memcpy(at + 2, &to, sizeof(to));
}

/* A function whose shared state may have another form now: the system call does the same.
 * mov $nr,%eax; syscall; ret */
static void put_syscall(uint8_t *at, uint32_t nr)
{
	static const uint8_t code[JUMP] = { 0xb8, 0, 0, 0, 0, 0x0f, 0x05, 0xc3 };

	memcpy(at, code, JUMP);
	memcpy(at + 1, &nr, sizeof(nr));
}

static int patch(uint8_t *old, size_t old_len, const struct symbols *was, const struct symbols *is,
		 uint64_t now_at, struct ckpt_err *err)
{
	GElf_Sym sym;

	for (size_t i = 0; i < was->n; i++) {
		const char *name = symbol(was, i, &sym);
		uint64_t to;

		if (!name)
			continue;
		if (sym.st_value > old_len || old_len - sym.st_value < JUMP)
			return ckpt_fail(err, -EBADMSG, "vDSO: function %s lies outside of it",
					 name);
		to = find_symbol(is, name);
		if (!strcmp(name, "getrandom") || !strcmp(name, "__vdso_getrandom"))
			put_syscall(old + sym.st_value, SYS_getrandom);
		else if (to)
			put_jump(old + sym.st_value, now_at + to);
		else
			return ckpt_refuse(err, CKPT_E_KERNEL_FEATURE, -ENOTSUP,
					   "vDSO: this kernel's has no function %s", name);
	}
	return 0;
}

int ckpt_vdso_patch(uint8_t *old, size_t old_len, const uint8_t *now, size_t now_len,
		    uint64_t now_at, struct ckpt_err *err)
{
	struct symbols was = { 0 }, is = { 0 };
	int r;

	if (!open_symbols(&was, old, old_len) || !open_symbols(&is, (uint8_t *)now, now_len))
		r = ckpt_fail(err, -EBADMSG, "vDSO: no symbols in it");
	else
		r = patch(old, old_len, &was, &is, now_at, err);
	elf_end(was.elf);
	elf_end(is.elf);
	return r;
}
