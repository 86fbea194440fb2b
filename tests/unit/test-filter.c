/* SPDX-License-Identifier: Apache-2.0 */
/* What a seccomp filter answers, and which the kernel would not take. */
#include <linux/audit.h>
#include "engine/base/filter.h"
#include "tests/lib/tap.h"

#define LOAD(field)                                                                  \
	{                                                                            \
		BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, field) \
	}
#define OP(op, k)                               \
	{                                       \
		BPF_ALU | (op) | BPF_K, 0, 0, k \
	}
#define GIVE_A                           \
	{                                \
		BPF_RET | BPF_A, 0, 0, 0 \
	}
#define GIVE(k)                          \
	{                                \
		BPF_RET | BPF_K, 0, 0, k \
	}
#define FILTER(...)                                                    \
	(&(struct ckpt_filter){ (struct sock_filter[]){ __VA_ARGS__ }, \
				sizeof((struct sock_filter[]){ __VA_ARGS__ }) / 8, false })

static const struct seccomp_data data = { 42,
					  AUDIT_ARCH_X86_64,
					  0x1122334455667788,
					  { 0x100000002, 7 } };

static void test_arithmetic(void)
{
	is(ckpt_filter_answer(FILTER(LOAD(nr), GIVE_A), &data), 42, "the number");
	is(ckpt_filter_answer(FILTER(LOAD(arch), GIVE_A), &data), AUDIT_ARCH_X86_64, "the arch");
	is(ckpt_filter_answer(FILTER(LOAD(args[0]), GIVE_A), &data), 2, "the low half");
	is(ckpt_filter_answer(FILTER(LOAD(args[0]), OP(BPF_ADD, 5), OP(BPF_MUL, 3), OP(BPF_SUB, 1),
				     OP(BPF_DIV, 4), OP(BPF_LSH, 4), OP(BPF_OR, 1), OP(BPF_XOR, 3),
				     OP(BPF_AND, 0xfe), OP(BPF_RSH, 1), GIVE_A),
			      &data),
	   41, "arithmetic");
	is(ckpt_filter_answer(FILTER(LOAD(nr), { BPF_ST, 0, 0, 3 }, { BPF_LD | BPF_IMM, 0, 0, 0 },
				     { BPF_LDX | BPF_MEM, 0, 0, 3 },
				     { BPF_ALU | BPF_DIV | BPF_X, 0, 0, 0 }, { BPF_MISC | BPF_TXA },
				     GIVE_A),
			      &data),
	   42, "memory and the index");
}

static void test_jumps(void)
{
	static const struct {
		uint16_t op;
		uint32_t k, want;
		const char *what;
	} v[] = {
		{ BPF_JEQ, 42, 1, "equal" },    { BPF_JEQ, 43, 2, "not equal" },
		{ BPF_JGT, 41, 1, "greater" },  { BPF_JGT, 42, 2, "not greater" },
		{ BPF_JGE, 42, 1, "as great" }, { BPF_JGE, 43, 2, "not as great" },
		{ BPF_JSET, 2, 1, "a bit" },    { BPF_JSET, 1, 2, "not a bit" },
	};

	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++)
		is(ckpt_filter_answer(FILTER(LOAD(nr), { BPF_JMP | v[i].op | BPF_K, 0, 1, v[i].k },
					     GIVE(1), GIVE(2)),
				      &data),
		   v[i].want, v[i].what);
	is(ckpt_filter_answer(FILTER({ BPF_JMP | BPF_JA, 0, 0, 1 }, GIVE(1), GIVE(2)), &data), 2,
	   "always");
}

static void test_sane(void)
{
	ok(ckpt_filter_sane(FILTER(GIVE(0))), "the shortest");
	ok(!ckpt_filter_sane(FILTER(LOAD(nr))), "without an answer");
	ok(!ckpt_filter_sane(FILTER({ BPF_JMP | BPF_JA, 0, 0, 1 }, GIVE(0))), "a jump too far");
	ok(!ckpt_filter_sane(FILTER({ BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 0 }, GIVE(0))),
	   "a condition that leads too far");
	ok(!ckpt_filter_sane(FILTER({ BPF_LD | BPF_W | BPF_ABS, 0, 0, 64 }, GIVE(0))),
	   "data that there is not");
	ok(!ckpt_filter_sane(FILTER({ BPF_LD | BPF_W | BPF_ABS, 0, 0, 2 }, GIVE(0))), "data askew");
	ok(!ckpt_filter_sane(FILTER({ BPF_ST, 0, 0, 16 }, GIVE(0))), "memory that there is not");
	ok(!ckpt_filter_sane(FILTER(OP(BPF_DIV, 0), GIVE(0))), "a division by nothing");
	ok(!ckpt_filter_sane(FILTER({ BPF_LD | BPF_B | BPF_ABS, 0, 0, 0 }, GIVE(0))),
	   "an instruction for packets");
	is(ckpt_filter_answer(FILTER(LOAD(nr)), &data), SECCOMP_RET_KILL_PROCESS,
	   "what is not sane kills");
	ok(ckpt_filter_may_notify(FILTER(GIVE(SECCOMP_RET_USER_NOTIF))), "one that asks others");
	ok(!ckpt_filter_may_notify(FILTER(GIVE(SECCOMP_RET_ALLOW))), "one that does not");
}

int main(void)
{
	test_arithmetic();
	test_jumps();
	test_sane();
	return tap_end();
}
