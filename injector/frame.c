/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signal frame that a thread returns out of when its tracer is gone. Layouts of the kernel's
 * uapi headers asm/ucontext.h and asm/sigcontext.h, which cannot be included next to those of the C
 * library.
 */
#include <cpuid.h>
#include <string.h>
#include <sys/syscall.h>
#include "engine/base/arch/x86-64.h"
#include "injector/frame.h"

#define UC_FP_XSTATE 1
#define UC_SIGCONTEXT_SS 2
#define UC_STRICT_RESTORE_SS 4
#define NO_SUCH_STACK_FLAG \
	0x40000000 /* sigaltstack(2) refuses it, rt_sigreturn(2) then leaves the stack as it is */

#define MAGIC1 0x46505853u
#define MAGIC2 0x46505845u
#define SOFTWARE_AT 464 /* in the part of the xsave area that software may use */
#define MASK_AT 464     /* where NT_X86_XSTATE shows the features there are */
#define BV_AT 512
#define XSAVE_MIN 576
#define FEATURE_PKRU 9

struct context {
	uint64_t flags, link;
	struct {
		uint64_t sp;
		uint32_t flags, pad;
		uint64_t size;
	} stack;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15, di, si, bp, bx, dx, ax, cx, sp, ip, eflags;
	uint16_t cs, gs, fs, ss;
	uint64_t err, trapno, oldmask, cr2, xstate, reserved[8];
	uint64_t mask;
};

struct software {
	uint32_t magic1, extended_size;
	uint64_t features;
	uint32_t xstate_size, pad[7];
};

static size_t up(size_t n)
{
	return (n + 63) & ~(size_t)63;
}

/* The tiles of AMX (8 KiB) only if they are in use: the kernel refuses a frame that is larger than
 * what it would make itself, and for a thread that never asked for tiles it would make one without.
 */
static uint64_t features(const void *xstate, size_t len)
{
	uint64_t mask;

	memcpy(&mask, (const char *)xstate + MASK_AT, sizeof(mask));
	if (!(ckpt_xstate_bv(xstate, len) & 1ull << CKPT_XFEATURE_TILEDATA))
		mask &= ~(1ull << CKPT_XFEATURE_TILEDATA);
	return mask;
}

static size_t size_of(struct ckpt_xstate_size *known, uint64_t mask, size_t len)
{
	if (!known->size || known->features != mask) {
		known->features = mask;
		known->size = XSAVE_MIN;
		for (unsigned int i = 2; i < 63; i++) {
			unsigned int bytes, offset, c, d;

			if (!(mask & 1ull << i))
				continue;
			__cpuid_count(0xd, i, bytes, offset, c, d);
			if (offset + bytes > known->size)
				known->size = offset + bytes;
		}
	}
	return known->size < len ? known->size : len;
}

/* The address of the restorer, or of `pop %rax; ret`, 15 and the address of a `syscall`. */
static size_t way_back(const struct ckpt_gadgets *g)
{
	return g->restorer ? 8 : 24;
}

void ckpt_frame_lay_out(struct ckpt_frame_layout *l, struct ckpt_xstate_size *known,
			const struct ckpt_gadgets *g, const void *xstate, size_t xstate_len,
			size_t front, size_t data_len)
{
	if (front < g->pops)
		front = g->pops;
	l->context = (front + way_back(g) + 15) & ~(size_t)15;
	l->front = l->context - way_back(g);
	l->sp = l->front - g->pops;
	l->xstate = up(l->context + sizeof(struct context));
	l->xstate_len = size_of(known, features(xstate, xstate_len), xstate_len);
	l->data = (l->xstate + l->xstate_len + sizeof(MAGIC2) + 7) & ~(size_t)7;
	l->len = up(l->data + data_len);
}

static void put_way_back(uint8_t *p, const struct ckpt_gadgets *g)
{
	uint64_t chain[3] = { g->restorer };

	if (!g->restorer) {
		chain[0] = g->pop_rax;
		chain[1] = SYS_rt_sigreturn;
		chain[2] = g->call;
	}
	memcpy(p, chain, way_back(g));
}

static void put_xstate(uint8_t *p, const struct ckpt_frame_layout *l, const void *xstate)
{
	struct software s = { MAGIC1,
			      l->xstate_len + sizeof(MAGIC2),
			      features(xstate, l->xstate_len),
			      l->xstate_len,
			      { 0 } };
	uint32_t end = MAGIC2;
	uint64_t bv;

	memcpy(p, xstate, l->xstate_len);
	/* Protection keys are shown whether their bit is set or not, and without it the frame would
	 * clear them. */
	memcpy(&bv, p + BV_AT, sizeof(bv));
	bv = (bv & s.features) | (s.features & 1ull << FEATURE_PKRU);
	memcpy(p + BV_AT, &bv, sizeof(bv));
	memcpy(p + SOFTWARE_AT, &s, sizeof(s));
	memcpy(p + l->xstate_len, &end, sizeof(end));
}

static struct context context_of(const struct user_regs_struct *r, uint64_t mask)
{
	return (struct context){
		.flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS,
		.stack.flags = NO_SUCH_STACK_FLAG,
		.r8 = r->r8,
		.r9 = r->r9,
		.r10 = r->r10,
		.r11 = r->r11,
		.r12 = r->r12,
		.r13 = r->r13,
		.r14 = r->r14,
		.r15 = r->r15,
		.di = r->rdi,
		.si = r->rsi,
		.bp = r->rbp,
		.bx = r->rbx,
		.dx = r->rdx,
		.ax = r->rax,
		.cx = r->rcx,
		.sp = r->rsp,
		.ip = r->rip,
		.eflags = r->eflags,
		.cs = r->cs,
		.ss = r->ss,
		.mask = mask,
	};
}

void ckpt_frame_make(void *frame, uint64_t at, const struct ckpt_frame_layout *l,
		     const struct ckpt_gadgets *g, const struct user_regs_struct *r, uint64_t mask,
		     const void *xstate)
{
	struct context c = context_of(r, mask);

	c.xstate = at + l->xstate;
	put_way_back((uint8_t *)frame + l->front, g);
	memcpy((uint8_t *)frame + l->context, &c, sizeof(c));
	put_xstate((uint8_t *)frame + l->xstate, l, xstate);
}

size_t ckpt_frame_make_small(void *frame, const struct ckpt_gadgets *g,
			     const struct user_regs_struct *regs, size_t *firstp)
{
	size_t at = (g->pops + way_back(g) + 15) & ~(size_t)15;
	struct context c = context_of(regs, ~0ull);

	put_way_back((uint8_t *)frame + at - way_back(g), g);
	memcpy((uint8_t *)frame + at, &c, sizeof(c));
	*firstp = at + offsetof(struct context, di);
	return at - way_back(g) - g->pops;
}
