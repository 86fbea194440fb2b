/* SPDX-License-Identifier: Apache-2.0 */
/* Classic BPF as seccomp(2) has it: jumps lead forward only, so that every program ends. */
#include <string.h>
#include "engine/base/filter.h"

struct machine {
	const struct seccomp_data *data;
	uint32_t a, x, mem[BPF_MEMWORDS];
};

static uint32_t operand(const struct machine *m, const struct sock_filter *i)
{
	return BPF_SRC(i->code) == BPF_X ? m->x : i->k;
}

static uint32_t divide(uint32_t a, uint32_t b)
{
	return b ? a / b : 0;
}

static void alu(struct machine *m, const struct sock_filter *i)
{
	uint32_t b = operand(m, i);

	switch (BPF_OP(i->code)) {
	case BPF_ADD:
		m->a += b;
		break;
	case BPF_SUB:
		m->a -= b;
		break;
	case BPF_MUL:
		m->a *= b;
		break;
	case BPF_DIV:
		m->a = divide(m->a, b);
		break;
	case BPF_AND:
		m->a &= b;
		break;
	case BPF_OR:
		m->a |= b;
		break;
	case BPF_XOR:
		m->a ^= b;
		break;
	case BPF_LSH:
		m->a = b < 32 ? m->a << b : 0;
		break;
	case BPF_RSH:
		m->a = b < 32 ? m->a >> b : 0;
		break;
	case BPF_NEG:
		m->a = -m->a;
		break;
	}
}

static uint32_t load(const struct machine *m, const struct sock_filter *i)
{
	uint32_t word;

	switch (BPF_MODE(i->code)) {
	case BPF_ABS:
		memcpy(&word, (const char *)m->data + i->k, sizeof(word));
		return word;
	case BPF_MEM:
		return m->mem[i->k];
	case BPF_LEN:
		return sizeof(*m->data);
	default:
		return i->k;
	}
}

/* How many instructions to leave out. */
static uint32_t jump(const struct machine *m, const struct sock_filter *i)
{
	uint32_t b = operand(m, i);

	switch (BPF_OP(i->code)) {
	case BPF_JA:
		return i->k;
	case BPF_JEQ:
		return m->a == b ? i->jt : i->jf;
	case BPF_JGT:
		return m->a > b ? i->jt : i->jf;
	case BPF_JGE:
		return m->a >= b ? i->jt : i->jf;
	default:
		return m->a & b ? i->jt : i->jf;
	}
}

static void step(struct machine *m, const struct sock_filter *i)
{
	switch (BPF_CLASS(i->code)) {
	case BPF_LD:
		m->a = load(m, i);
		break;
	case BPF_LDX:
		m->x = load(m, i);
		break;
	case BPF_ST:
		m->mem[i->k] = m->a;
		break;
	case BPF_STX:
		m->mem[i->k] = m->x;
		break;
	case BPF_ALU:
		alu(m, i);
		break;
	case BPF_MISC:
		if (BPF_MISCOP(i->code) == BPF_TAX)
			m->x = m->a;
		else
			m->a = m->x;
		break;
	}
}

uint32_t ckpt_filter_answer(const struct ckpt_filter *f, const struct seccomp_data *data)
{
	struct machine m = { .data = data };

	if (!ckpt_filter_sane(f))
		return SECCOMP_RET_KILL_PROCESS;
	for (size_t pc = 0;; pc++) {
		const struct sock_filter *i = &f->prog[pc];

		if (BPF_CLASS(i->code) == BPF_RET)
			return BPF_RVAL(i->code) == BPF_A ? m.a : i->k;
		if (BPF_CLASS(i->code) == BPF_JMP)
			pc += jump(&m, i);
		else
			step(&m, i);
	}
}

/* ---- sane? ---- */

/* The instructions that there are, in seccomp. */
static bool is_known(uint16_t code)
{
	static const uint16_t known[] = {
		BPF_LD | BPF_W | BPF_ABS,
		BPF_LD | BPF_W | BPF_LEN,
		BPF_LDX | BPF_W | BPF_LEN,
		BPF_RET | BPF_K,
		BPF_RET | BPF_A,
		BPF_ALU | BPF_ADD | BPF_K,
		BPF_ALU | BPF_ADD | BPF_X,
		BPF_ALU | BPF_SUB | BPF_K,
		BPF_ALU | BPF_SUB | BPF_X,
		BPF_ALU | BPF_MUL | BPF_K,
		BPF_ALU | BPF_MUL | BPF_X,
		BPF_ALU | BPF_DIV | BPF_K,
		BPF_ALU | BPF_DIV | BPF_X,
		BPF_ALU | BPF_AND | BPF_K,
		BPF_ALU | BPF_AND | BPF_X,
		BPF_ALU | BPF_OR | BPF_K,
		BPF_ALU | BPF_OR | BPF_X,
		BPF_ALU | BPF_XOR | BPF_K,
		BPF_ALU | BPF_XOR | BPF_X,
		BPF_ALU | BPF_LSH | BPF_K,
		BPF_ALU | BPF_LSH | BPF_X,
		BPF_ALU | BPF_RSH | BPF_K,
		BPF_ALU | BPF_RSH | BPF_X,
		BPF_ALU | BPF_NEG,
		BPF_LD | BPF_IMM,
		BPF_LDX | BPF_IMM,
		BPF_MISC | BPF_TAX,
		BPF_MISC | BPF_TXA,
		BPF_LD | BPF_MEM,
		BPF_LDX | BPF_MEM,
		BPF_ST,
		BPF_STX,
		BPF_JMP | BPF_JA,
		BPF_JMP | BPF_JEQ | BPF_K,
		BPF_JMP | BPF_JEQ | BPF_X,
		BPF_JMP | BPF_JGE | BPF_K,
		BPF_JMP | BPF_JGE | BPF_X,
		BPF_JMP | BPF_JGT | BPF_K,
		BPF_JMP | BPF_JGT | BPF_X,
		BPF_JMP | BPF_JSET | BPF_K,
		BPF_JMP | BPF_JSET | BPF_X,
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i] == code)
			return true;
	return false;
}

static bool uses_memory(uint16_t code)
{
	return BPF_CLASS(code) == BPF_ST || BPF_CLASS(code) == BPF_STX ||
	       code == (BPF_LD | BPF_MEM) || code == (BPF_LDX | BPF_MEM);
}

/* LEFT: instructions behind this one. */
static bool is_sane(const struct sock_filter *i, size_t left)
{
	if (!is_known(i->code))
		return false;
	if (i->code == (BPF_LD | BPF_W | BPF_ABS))
		return i->k % 4 == 0 && i->k < sizeof(struct seccomp_data);
	if (uses_memory(i->code))
		return i->k < BPF_MEMWORDS;
	if (i->code == (BPF_ALU | BPF_DIV | BPF_K))
		return i->k != 0;
	if (i->code == (BPF_ALU | BPF_LSH | BPF_K) || i->code == (BPF_ALU | BPF_RSH | BPF_K))
		return i->k < 32;
	if (i->code == (BPF_JMP | BPF_JA))
		return i->k < left;
	if (BPF_CLASS(i->code) == BPF_JMP)
		return i->jt < left && i->jf < left;
	return true;
}

bool ckpt_filter_sane(const struct ckpt_filter *f)
{
	if (!f->n || f->n > BPF_MAXINSNS || BPF_CLASS(f->prog[f->n - 1].code) != BPF_RET)
		return false;
	for (size_t i = 0; i < f->n; i++)
		if (!is_sane(&f->prog[i], f->n - 1 - i))
			return false;
	return true;
}

bool ckpt_filter_may_notify(const struct ckpt_filter *f)
{
	for (size_t i = 0; i < f->n; i++) {
		const struct sock_filter *s = &f->prog[i];

		if (s->code == (BPF_RET | BPF_A))
			return true;
		if (s->code == (BPF_RET | BPF_K) &&
		    (s->k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_USER_NOTIF)
			return true;
	}
	return false;
}

bool ckpt_filter_same(const struct ckpt_filter *a, const struct ckpt_filter *b)
{
	return a->n == b->n && a->log == b->log &&
	       !memcmp(a->prog, b->prog, a->n * sizeof(*a->prog));
}
