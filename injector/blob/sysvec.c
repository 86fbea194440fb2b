/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interpreter of a sysvec: runs where nothing else of this program is mapped. Position
 * independent, no libc, no data of its own; it knows no kind of resource.
 */
#include "engine/plan/sysvec.h"

#define SYS_FUTEX 202
#define SYS_EXIT_GROUP 231
#define SYS_CLONE3 435
#define FUTEX_WAIT 0
#define FUTEX_WAKE 1
#define EXIT_FAILED 70

static inline __attribute__((always_inline)) int64_t call(int64_t nr, const int64_t *a)
{
	register int64_t r10 __asm__("r10") = a[3];
	register int64_t r8 __asm__("r8") = a[4];
	register int64_t r9 __asm__("r9") = a[5];
	int64_t ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "0"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

static inline __attribute__((always_inline)) void await(uint32_t *word, uint32_t least)
{
	uint32_t v;

	while ((v = __atomic_load_n(word, __ATOMIC_SEQ_CST)) < least) {
		int64_t a[6] = { (int64_t)word, FUTEX_WAIT, v, 0, 0, 0 };

		call(SYS_FUTEX, a);
	}
}

static inline __attribute__((always_inline)) void arrive(uint32_t *word)
{
	int64_t a[6] = { (int64_t)word, FUTEX_WAKE, 0x7fffffff, 0, 0, 0 };

	__atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST);
	call(SYS_FUTEX, a);
}

/* The kernel makes room for the tile registers (8 KiB) at their first use, not when they are set
 * from outside. */
static inline __attribute__((always_inline)) void touch_tiles(int64_t config)
{
	__asm__ volatile(".byte 0xc4, 0xe2, 0x78, 0x49, 0x07\n\t" /* ldtilecfg (%rdi) */
			 ".byte 0xc4, 0xe2, 0x7b, 0x49, 0xc0\n\t" /* tilezero tmm0 */
			 ".byte 0xc4, 0xe2, 0x78, 0x49, 0xc0"     /* tilerelease */
			 :
			 : "D"(config)
			 : "memory");
}

/* clone3; the new thread goes on with the vector TO on its own stack. */
static inline __attribute__((always_inline)) int64_t clone_thread(const int64_t *a, int64_t to)
{
	register int64_t r12 __asm__("r12") = to;
	int64_t ret;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "mov %%r12, %%rdi\n\t"
			 "and $-16, %%rsp\n\t"
			 "push $0\n\t"
			 "jmp ckpt_sysvec_run\n"
			 "1:"
			 : "=a"(ret)
			 : "0"((int64_t)SYS_CLONE3), "D"(a[0]), "S"(a[1]), "r"(r12)
			 : "rcx", "r11", "memory");
	return ret;
}

__attribute__((section(".text.entry"), noreturn, used)) static void
ckpt_sysvec_run(struct ckpt_sysvec *vec)
{
	struct ckpt_sv_status *status = (void *)vec->status;
	int64_t end[6] = { EXIT_FAILED };

	for (uint32_t i = 0; i < vec->n_calls; i++) {
		struct ckpt_sv_call *c = &vec->call[i];
		int64_t r = 0;

		if (c->flags & CKPT_SV_AWAIT)
			await((uint32_t *)c->arg[0], c->arg[1]);
		else if (c->flags & CKPT_SV_ARRIVE)
			arrive((uint32_t *)c->arg[0]);
		else if (c->flags & CKPT_SV_TILES)
			touch_tiles(c->arg[0]);
		else if (c->flags & CKPT_SV_CLONE)
			r = clone_thread(c->arg, c->want);
		else
			r = call(c->nr, c->arg);
		if (c->flags & CKPT_SV_EQUAL ?
			    r != c->want :
			    r < 0 && r > -4096 && !(c->flags & CKPT_SV_MAY_FAIL)) {
			status->ret = r;
			status->thread = vec->thread;
			__atomic_store_n(&status->failed, i + 1, __ATOMIC_SEQ_CST);
			break;
		}
	}
	for (;;)
		call(SYS_EXIT_GROUP, end);
}
