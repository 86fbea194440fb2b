/* SPDX-License-Identifier: Apache-2.0 */
/*
 * By hand and not with libbpf, which takes 5 ms and more to read the kernel's types where three
 * names of them are looked for.
 *
 * The kernel runs only such programs on its areas that are offered under the GPL: the instructions
 * in load(), and nothing else of this file, may also be used under GPL-2.0.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/btf.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "injector/area-words.h"

/* ---- the types of the kernel ---- */

struct types {
	char *base;
	size_t size;
	const char *first, *end; /* the types, one behind the other; the first has id 1 */
	const char *names;
	size_t names_len;
};

static bool read_types(struct types *t)
{
	CKPT_FD fd = open("/sys/kernel/btf/vmlinux", O_RDONLY | O_CLOEXEC);
	const struct btf_header *head;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || (size_t)st.st_size < sizeof(*head))
		return false;
	t->size = st.st_size;
	/* Of sysfs, where it can be mapped since Linux 6.16. */
	t->base = mmap(NULL, t->size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (t->base == MAP_FAILED) {
		t->base = mmap(NULL, t->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			       -1, 0);
		if (t->base == MAP_FAILED)
			return false;
		for (size_t done = 0; done < t->size;) {
			ssize_t n = read(fd, t->base + done, t->size - done);

			if (n <= 0)
				return false;
			done += n;
		}
	}
	head = (const struct btf_header *)t->base;
	t->first = t->base + head->hdr_len + head->type_off;
	t->end = t->first + head->type_len;
	t->names = t->base + head->hdr_len + head->str_off;
	t->names_len = head->str_len;
	return head->magic == BTF_MAGIC &&
	       (uint64_t)head->hdr_len + head->type_off + head->type_len <= t->size &&
	       (uint64_t)head->hdr_len + head->str_off + head->str_len <= t->size;
}

static void forget_types(struct types *t)
{
	if (t->base && t->base != MAP_FAILED)
		munmap(t->base, t->size);
}

static bool is_named(const struct types *t, uint32_t name, const char *wanted)
{
	size_t len = strlen(wanted) + 1;

	return name < t->names_len && t->names_len - name >= len &&
	       !memcmp(t->names + name, wanted, len);
}

static bool is_struct(const struct btf_type *type)
{
	return BTF_INFO_KIND(type->info) == BTF_KIND_STRUCT ||
	       BTF_INFO_KIND(type->info) == BTF_KIND_UNION;
}

static size_t size_of(const struct btf_type *type)
{
	size_t n = BTF_INFO_VLEN(type->info), size = sizeof(*type);

	switch (BTF_INFO_KIND(type->info)) {
	case BTF_KIND_INT:
	case BTF_KIND_VAR:
	case BTF_KIND_DECL_TAG:
		return size + sizeof(uint32_t);
	case BTF_KIND_ARRAY:
		return size + sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return size + n * sizeof(struct btf_member);
	case BTF_KIND_ENUM:
		return size + n * sizeof(struct btf_enum);
	case BTF_KIND_FUNC_PROTO:
		return size + n * sizeof(struct btf_param);
	case BTF_KIND_DATASEC:
		return size + n * sizeof(struct btf_var_secinfo);
	case BTF_KIND_ENUM64:
		return size + n * sizeof(struct btf_enum64);
	default:
		return size;
	}
}

static const struct btf_type *next_type(const struct types *t, const struct btf_type *type)
{
	const char *next = (const char *)type + size_of(type);

	/* The whole of it, so that its members can be looked at. */
	if ((size_t)(t->end - next) < sizeof(*type) || next > t->end ||
	    size_of((const void *)next) > (size_t)(t->end - next))
		return NULL;
	return (const void *)next;
}

static const struct btf_type *type_of_id(const struct types *t, uint32_t id)
{
	const struct btf_type *type = (const void *)t->first;

	while (type && id-- > 1)
		type = next_type(t, type);
	return type;
}

/* Where in TYPE it is: in bytes, or -1. In what has no name of its own, too. */
static int offset_of(const struct types *t, const struct btf_type *type, const char *name)
{
	const struct btf_member *m = (const void *)(type + 1);

	for (size_t i = 0; type && is_struct(type) && i < BTF_INFO_VLEN(type->info); i++) {
		int inner = -1;

		if (is_named(t, m[i].name_off, name))
			return BTF_MEMBER_BIT_OFFSET(m[i].offset) / 8;
		if (!m[i].name_off)
			inner = offset_of(t, type_of_id(t, m[i].type), name);
		if (inner >= 0)
			return BTF_MEMBER_BIT_OFFSET(m[i].offset) / 8 + inner;
	}
	return -1;
}

struct layout {
	uint32_t iterator; /* id of what is called for each area */
	int start, end, word;
};

static bool find_layout(struct layout *l)
{
	const struct btf_type *type;
	struct types t = { 0 };
	bool one_task = false;
	uint32_t id = 1;

	*l = (struct layout){ 0, -1, -1, -1 };
	if (read_types(&t)) {
		for (type = (const void *)t.first; type; type = next_type(&t, type), id++) {
			if (BTF_INFO_KIND(type->info) == BTF_KIND_FUNC &&
			    is_named(&t, type->name_off, "bpf_iter_task_vma"))
				l->iterator = id;
			if (!is_struct(type))
				continue;
			if (is_named(&t, type->name_off, "vm_area_struct")) {
				l->start = offset_of(&t, type, "vm_start");
				l->end = offset_of(&t, type, "vm_end");
				l->word = offset_of(&t, type, "vm_flags");
			}
			/* Linux 6.1: others take no notice of whose areas are asked for. */
			if (is_named(&t, type->name_off, "bpf_iter_link_info"))
				one_task |= offset_of(&t, type, "task") >= 0;
		}
	}
	forget_types(&t);
	return l->iterator && one_task && l->start >= 0 && l->end >= 0 && l->word >= 0;
}

/* ---- the program ---- */

static int bpf(int call, union bpf_attr *attr)
{
	return syscall(SYS_bpf, call, attr, sizeof(*attr));
}

/* clang-format off */
#define INSN(operation, to, from, where, value) \
	((struct bpf_insn){ .code = (operation), .dst_reg = BPF_REG_##to, \
			    .src_reg = BPF_REG_##from, .off = (where), .imm = (value) })
#define LOAD(to, from, where) INSN(BPF_LDX | BPF_MEM | BPF_DW, to, from, where, 0)
#define STORE(to, where, from) INSN(BPF_STX | BPF_MEM | BPF_DW, to, from, where, 0)
/* clang-format on */

/* Writes one struct ckpt_area_word for each area; called once more at the end, without one. */
static int load(const struct layout *l)
{
	const int size = sizeof(struct ckpt_area_word);
	const struct bpf_insn program[] = {
		LOAD(6, 1, 16), /* ctx->vma */
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 6, 0, 12, 0),
		LOAD(1, 1, 0), /* ctx->meta */
		LOAD(1, 1, 0), /* ctx->meta->seq */
		LOAD(2, 6, l->start),
		STORE(10, -24, 2),
		LOAD(2, 6, l->end),
		STORE(10, -16, 2),
		LOAD(2, 6, l->word),
		STORE(10, -8, 2),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -size),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, size),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_seq_write),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_TRACING,
		.expected_attach_type = BPF_TRACE_ITER,
		.attach_btf_id = l->iterator,
		.insns = (uintptr_t)program,
		.insn_cnt = sizeof(program) / sizeof(program[0]),
		.license = (uintptr_t) "Dual BSD/GPL",
		.prog_name = "ckpt_areas",
	};

	return bpf(BPF_PROG_LOAD, &attr);
}

/* ---- a process ---- */

bool ckpt_area_words_open(struct ckpt_area_words *w)
{
	struct layout layout;

	w->program = find_layout(&layout) ? load(&layout) : -1;
	return w->program >= 0;
}

void ckpt_area_words_close(struct ckpt_area_words *w)
{
	ckpt_close_fd(&w->program);
	w->program = -1;
}

static int link_to(const struct ckpt_area_words *w, pid_t pid)
{
	/* Its first thread: one that has descriptors of its own would show the same areas again. */
	union bpf_iter_link_info info = { .task.tid = pid };
	union bpf_attr attr = { .link_create = { .prog_fd = w->program,
						 .attach_type = BPF_TRACE_ITER,
						 .iter_info = (uintptr_t)&info,
						 .iter_info_len = sizeof(info) } };

	return w->program < 0 ? -1 : bpf(BPF_LINK_CREATE, &attr);
}

bool ckpt_area_words_read(const struct ckpt_area_words *w, pid_t pid, struct ckpt_area_word *v,
			  size_t max, size_t *np)
{
	CKPT_FD link = link_to(w, pid);
	union bpf_attr attr = { .iter_create.link_fd = link };
	CKPT_FD fd = link < 0 ? -1 : bpf(BPF_ITER_CREATE, &attr);
	size_t size = max * sizeof(*v), done = 0;
	ssize_t n = -1;

	while (fd >= 0 && done < size) {
		n = read(fd, (char *)v + done, size - done);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			break;
		done += n;
	}
	*np = done / sizeof(*v);
	return !n && done && done % sizeof(*v) == 0;
}
