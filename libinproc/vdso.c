/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that the signal met inside of the vDSO. Nobody can be parked there: the vDSO of another
 * kernel is another one. Such a thread goes on to the end of the function, a few nanoseconds away,
 * and comes back by itself: the function returns to a stub, which sends the signal once more and
 * then goes where the function was called from. Where that address is, the vDSO's own description
 * for unwinders says (.eh_frame).
 */
#include <elf.h>
#include <string.h>
#include "libinproc/inproc.h"
#include "libinproc/sys.h"

#define VDSO_LEN 8192ull
#define DEPTH 4
#define RBP 6 /* as DWARF counts the registers of x86-64 */
#define RSP 7
#define ARCH_SHSTK_STATUS 0x5005 /* Linux 6.6 */

/* .eh_frame_hdr with the encodings that every x86-64 linker gives it. */
struct header {
	uint8_t version, frame_encoding, count_encoding, table_encoding;
	int32_t frame;
	uint32_t n;
	struct {
		int32_t function, description; /* from the header on */
	} at[];
};

CKPT_EARLY static const struct header *header; /* NULL: it is not as we know it */

/* Of a thread that is on its way out. */
static __thread struct {
	uint64_t *at; /* where its way back stands */
	uint64_t back;
	uint64_t token;
} leaving;

__asm__(".text\n"
	".type vdso_left, @function\n"
	"vdso_left:\n"
	"	lea -8(%rsp), %rsp\n" /* for the address that we return to */
	"	push %rbp\n"
	"	mov %rsp, %rbp\n"
	"	push %rax\n"
	"	push %rcx\n"
	"	push %rdx\n"
	"	push %rsi\n"
	"	push %rdi\n"
	"	push %r8\n"
	"	push %r9\n"
	"	push %r10\n"
	"	push %r11\n"
	"	and $-16, %rsp\n"
	"	call ckpt_vdso_left\n"
	"	mov %rax, 8(%rbp)\n"
	"	lea -72(%rbp), %rsp\n"
	"	pop %r11\n"
	"	pop %r10\n"
	"	pop %r9\n"
	"	pop %r8\n"
	"	pop %rdi\n"
	"	pop %rsi\n"
	"	pop %rdx\n"
	"	pop %rcx\n"
	"	pop %rax\n"
	"	pop %rbp\n"
	"	ret\n"
	".size vdso_left, . - vdso_left\n");
extern const char vdso_left[];

/* By the stub: the signal comes in here. Returns where the thread was to go. */
__attribute__((used, visibility("hidden"))) uint64_t ckpt_vdso_left(void)
{
	uint64_t back = leaving.back;
	siginfo_t info = { 0 };

	info.si_code = SI_QUEUE;
	info.si_value.sival_ptr = (void *)leaving.token;
	leaving.at = NULL;
	ckpt_sys(SYS_rt_tgsigqueueinfo, ckpt_session->pid, ckpt_sys(SYS_gettid), ckpt_config.signal,
		 &info);
	return back;
}

void ckpt_vdso_init(uint64_t vdso)
{
	const Elf64_Ehdr *eh = (const void *)vdso;
	const Elf64_Phdr *ph;

	ckpt_config.vdso = vdso;
	if (!vdso)
		return;
	ph = (const void *)(vdso + eh->e_phoff);
	for (unsigned int i = 0; i < eh->e_phnum; i++) {
		const struct header *h = (const void *)(vdso + ph[i].p_vaddr);

		/* Signed offsets of four bytes, from their own place and from the header. */
		if (ph[i].p_type == PT_GNU_EH_FRAME && h->version == 1 &&
		    h->frame_encoding == 0x1b && h->count_encoding == 3 &&
		    h->table_encoding == 0x3b)
			header = h;
	}
}

bool ckpt_vdso_has(const ucontext_t *uc)
{
	return uc->uc_mcontext.gregs[REG_RIP] - ckpt_config.vdso < VDSO_LEN;
}

/* ---- the frame of a function ---- */

struct reader {
	const uint8_t *at, *end;
};

static uint64_t number(struct reader *r, size_t len)
{
	uint64_t v = 0;

	if (len <= (size_t)(r->end - r->at))
		memcpy(&v, r->at, len);
	r->at = len <= (size_t)(r->end - r->at) ? r->at + len : r->end;
	return v;
}

static uint64_t leb(struct reader *r)
{
	uint64_t v = 0, byte;
	int shift = 0;

	do {
		byte = number(r, 1);
		v |= shift < 64 ? (byte & 0x7f) << shift : 0;
		shift += 7;
	} while (byte & 0x80);
	return v;
}

/* The frame begins at what REG holds, and OFFSET. */
struct rule {
	uint64_t reg, offset;
};

struct rules {
	struct rule now, kept[DEPTH];
	int n_kept;
	uint64_t place;
};

/* One of those without an operand in its first byte. False: a rule of another sort. */
static bool follow(struct rules *s, struct reader *r, uint8_t op)
{
	switch (op) {
	case 0x00: /* DW_CFA_nop */
		return true;
	case 0x02: /* advance_loc1, 2, 4 */
	case 0x03:
	case 0x04:
		s->place += number(r, 1u << (op - 2));
		return true;
	case 0x05: /* offset_extended */
		leb(r);
		leb(r);
		return true;
	case 0x06: /* restore_extended, same_value, GNU_args_size */
	case 0x08:
	case 0x2e:
		leb(r);
		return true;
	case 0x0a: /* remember_state */
		if (s->n_kept == DEPTH)
			return false;
		s->kept[s->n_kept++] = s->now;
		return true;
	case 0x0b: /* restore_state */
		if (!s->n_kept)
			return false;
		s->now = s->kept[--s->n_kept];
		return true;
	case 0x0c: /* def_cfa */
		s->now.reg = leb(r);
		s->now.offset = leb(r);
		return true;
	case 0x0d: /* def_cfa_register */
		s->now.reg = leb(r);
		return true;
	case 0x0e: /* def_cfa_offset */
		s->now.offset = leb(r);
		return true;
	default:
		return false;
	}
}

static bool follow_all(struct rules *s, struct reader r, uint64_t rip)
{
	while (r.at < r.end) {
		uint8_t op = number(&r, 1);
		struct rule before = s->now;

		if (op >> 6 == 1) /* advance_loc */
			s->place += op & 0x3f;
		else if (op >> 6 == 2) /* offset: of a saved register */
			leb(&r);
		else if (!(op >> 6) && !follow(s, &r, op))
			return false;
		if (s->place > rip) {
			s->now = before;
			return true;
		}
	}
	return true;
}

static struct reader record(const uint8_t *at)
{
	struct reader r = { at, at + 4 };

	r.end = at + 4 + number(&r, 4);
	return r;
}

static bool common(struct rules *s, struct reader r, uint64_t rip)
{
	/* No id, version 1, augmentation "zR" (not that of signal frames), offsets in bytes and
	 * down by 8, the way back in register 16, addresses from their own place. */
	static const uint8_t known[] = { 0, 0, 0, 0, 1, 'z', 'R', 0, 1, 0x78, 16, 1, 0x1b };

	if (r.end - r.at < (ptrdiff_t)sizeof(known) || memcmp(r.at, known, sizeof(known)))
		return false;
	r.at += sizeof(known);
	return follow_all(s, r, rip);
}

static const uint8_t *description_of(uint64_t rip)
{
	const char *from = (const char *)header;
	uint32_t i = 0;

	while (i < header->n && (uint64_t)(from + header->at[i].function) <= rip)
		i++;
	return i ? (const uint8_t *)from + header->at[i - 1].description : NULL;
}

/* Where the address stands that the function returns to; NULL: it cannot be told. */
static uint64_t *way_back(const greg_t *g)
{
	uint64_t rip = g[REG_RIP], begin, len;
	const uint8_t *at = header ? description_of(rip) : NULL, *place;
	struct rules s = { 0 };
	struct reader r;

	if (!at)
		return NULL;
	r = record(at);
	place = r.at;
	s.place = 0;
	if (!common(&s, record(place - number(&r, 4)), rip))
		return NULL;
	begin = (uint64_t)r.at;
	begin += (int32_t)number(&r, 4);
	len = number(&r, 4);
	s.place = begin;
	if (rip - begin >= len || leb(&r) || !follow_all(&s, r, rip))
		return NULL;
	if (s.now.reg != RSP && s.now.reg != RBP)
		return NULL;
	return (uint64_t *)(g[s.now.reg == RSP ? REG_RSP : REG_RBP] + s.now.offset - 8);
}

/* ---- leaving ---- */

/* The processor would not let us. */
static bool has_shadow_stack(void)
{
	uint64_t features = 0;

	return ckpt_sys(SYS_arch_prctl, ARCH_SHSTK_STATUS, &features) >= 0 && features;
}

/* A handler of the program has interrupted the vDSO, and calls it in turn. */
static bool is_leaving(void)
{
	uint64_t there;

	return leaving.at && ckpt_own_read((uint64_t)leaving.at, &there, sizeof(there)) &&
	       there == (uint64_t)vdso_left;
}

bool ckpt_vdso_leave(const ucontext_t *uc, uint64_t token)
{
	uint64_t *at = way_back(uc->uc_mcontext.gregs);

	if (!at || has_shadow_stack())
		return false;
	if (is_leaving() && at != leaving.at)
		return false;
	leaving.token = token;
	if (*at == (uint64_t)vdso_left)
		return true;
	leaving.at = at;
	leaving.back = *at;
	*at = (uint64_t)vdso_left;
	return true;
}
