/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processor state: threads that never call the kernel keep known values in all general, x87, SSE,
 * AVX and AVX-512 registers and compare them all the time; tiles (AMX) where there are some; the
 * bases of fs and gs.
 */
#include <cpuid.h>
#include <immintrin.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <asm/prctl.h>
#include <unistd.h>
#include "tests/lib/case.h"

#ifndef ARCH_REQ_XCOMP_PERM /* Linux 5.16 */
#define ARCH_GET_XCOMP_PERM 0x1022
#define ARCH_REQ_XCOMP_PERM 0x1023
#endif
#define TILE_DATA 18

static volatile int stop;
static volatile unsigned long rounds[5];
static pthread_t threads[5];

static bool has(unsigned int bit)
{
	unsigned int a, b = 0, c, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> bit & 1;
}

/* rbx, rbp and r8 to r15 hold values for a million turns; each turn takes them into account. */
static unsigned long spin_general(unsigned long seed)
{
	unsigned long sum;

	asm volatile(
		"lea -128(%%rsp), %%rsp\npush %%rbp\n" /* below the red zone */
		"mov %1, %%rbp\nlea 1(%%rbp), %%r8\nlea 2(%%rbp), %%r9\nlea 3(%%rbp), %%r10\nlea 4(%%rbp), %%r11\n"
		"lea 5(%%rbp), %%r12\nlea 6(%%rbp), %%r13\nlea 7(%%rbp), %%r14\nlea 8(%%rbp), %%r15\n"
		"lea 9(%%rbp), %%rdx\nlea 10(%%rbp), %%rsi\nlea 11(%%rbp), %%rdi\n"
		"mov $300000, %%ecx\nxor %%eax, %%eax\n"
		"1: add %%rbp, %%rax\nadd %%r8, %%rax\nadd %%r9, %%rax\nadd %%r10, %%rax\nadd %%r11, %%rax\n"
		"add %%r12, %%rax\nadd %%r13, %%rax\nadd %%r14, %%rax\nadd %%r15, %%rax\n"
		"add %%rdx, %%rax\nadd %%rsi, %%rax\nadd %%rdi, %%rax\nrol $1, %%rax\ncmp %%rcx, %%rcx\njne 2f\n"
		"dec %%ecx\njnz 1b\n"
		"2: pop %%rbp\nlea 128(%%rsp), %%rsp\n"
		: "=&a"(sum)
		: "b"(seed)
		: "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
		  "cc", "memory");
	return sum;
}

static void *general(void *arg)
{
	unsigned long want = spin_general(0x1234567);

	while (!stop) {
		CHECK(spin_general(0x1234567) == want);
		rounds[0]++;
	}
	return arg;
}

/* A rounding mode and a sum that depends on every step. */
static void *floating(void *arg)
{
	long double want = 0;

	_MM_SET_ROUNDING_MODE(_MM_ROUND_DOWN);
	for (bool first = true; !stop; first = false) {
		long double x = 1, s = 0;
		double y = 1;

		for (int i = 1; i < 100000; i++) {
			x = x * 1.0000001L + 1 / (long double)i;
			y = y * 0.9999 + 0.1 / i;
			s += x - y;
			asm volatile("" : "+t"(s), "+x"(y));
		}
		if (first)
			want = s;
		CHECK(s == want);
		CHECK(_MM_GET_ROUNDING_MODE() == _MM_ROUND_DOWN);
		rounds[1]++;
	}
	return arg;
}

#define EACH16(X) \
	X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define EACH32(X) \
	EACH16(X) \
	X(16)     \
	X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)
#define LOAD_Y(n) "vmovdqu " #n "*32(%0), %%ymm" #n "\n"
#define KEEP_Y(n) "vmovdqu %%ymm" #n ", " #n "*32(%1)\n"
#define LOAD_Z(n) "vmovdqu64 " #n "*64(%0), %%zmm" #n "\n"
#define KEEP_Z(n) "vmovdqu64 %%zmm" #n ", " #n "*64(%1)\n"
#define VECTORS                                                                                  \
	"xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
		"xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
#define SPIN "mov $2000000, %%ecx\n1: dec %%ecx\njnz 1b\n"

static void pattern(uint8_t *p, size_t n, unsigned int seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (seed = seed * 1103515245 + 12345) >> 16;
}

static void *avx(void *arg)
{
	uint8_t in[16 * 32], out[16 * 32];

	pattern(in, sizeof(in), 3);
	while (!stop) {
		memset(out, 0, sizeof(out));
		asm volatile(EACH16(LOAD_Y) SPIN EACH16(KEEP_Y) "vzeroupper\n" ::"r"(in), "r"(out)
			     : "rcx", "cc", "memory", VECTORS);
		CHECK(!memcmp(in, out, sizeof(in)));
		rounds[2]++;
	}
	return arg;
}

__attribute__((target("avx512f"))) static void *avx512(void *arg)
{
	uint8_t in[32 * 64], out[32 * 64];
	uint16_t mask;

	pattern(in, sizeof(in), 4);
	while (!stop) {
		memset(out, 0, sizeof(out));
		mask = 0;
		asm volatile("kmovw %3, %%k5\n" EACH32(LOAD_Z)
				     SPIN EACH32(KEEP_Z) "kmovw %%k5, %2\nvzeroupper\n"
			     :
			     : "r"(in), "r"(out), "m"(mask), "r"(0xa5c3)
			     : "rcx", "cc", "memory", VECTORS);
		CHECK_INT(mask, 0xa5c3);
		CHECK(!memcmp(in, out, sizeof(in)));
		rounds[3]++;
	}
	return arg;
}

static void setup(void)
{
	CHECK(!pthread_create(&threads[0], NULL, general, NULL));
	CHECK(!pthread_create(&threads[1], NULL, floating, NULL));
	if (has(5))
		CHECK(!pthread_create(&threads[2], NULL, avx, NULL));
	if (has(16))
		CHECK(!pthread_create(&threads[3], NULL, avx512, NULL));
	CHECK(EVENTUALLY(rounds[0] && rounds[1] && (rounds[2] || !has(5)) &&
			 (rounds[3] || !has(16))));
}

static void check(void)
{
	for (int i = 0; i < 4; i++) {
		unsigned long before = rounds[i];

		if (!threads[i])
			continue;
		CHECK(EVENTUALLY(rounds[i] > before + 3));
	}
	stop = true;
	for (int i = 0; i < 4; i++)
		if (threads[i])
			CHECK(!pthread_join(threads[i], NULL));
}

/* ---- tiles ---- */

struct tile_config {
	uint8_t palette, start_row, reserved[14];
	uint16_t columns[16];
	uint8_t rows[16];
} __attribute__((packed));

static void *tiles(void *arg)
{
	struct tile_config config = { .palette = 1 };
	uint8_t in[1024], out[1024];

	for (int i = 0; i < 8; i++) {
		config.columns[i] = 64;
		config.rows[i] = 16;
	}
	pattern(in, sizeof(in), 5);
	/* By bytes, for assemblers that do not know them: ldtilecfg (%0); tileloadd (%1,%2,1),
	 * tmm1. */
	asm volatile(".byte 0xc4,0xe2,0x78,0x49,0x00" ::"a"(&config) : "memory");
	asm volatile(".byte 0xc4,0xe2,0x7b,0x4b,0x0c,0x08" ::"a"(in), "c"(64l) : "memory");
	while (!stop) {
		memset(out, 0, sizeof(out));
		asm volatile("mov $2000000, %%edx\n1: dec %%edx\njnz 1b\n"
			     ".byte 0xc4,0xe2,0x7a,0x4b,0x0c,0x08" /* tilestored tmm1, (%0,%1,1) */
			     ::"a"(out),
			     "c"(64l)
			     : "rdx", "cc", "memory");
		CHECK(!memcmp(in, out, sizeof(in)));
		rounds[4]++;
	}
	return arg;
}

static void setup_tiles(void)
{
	unsigned int a, b, c, d = 0;

	__get_cpuid_count(7, 0, &a, &b, &c, &d);
	if (!(d >> 24 & 1))
		case_skip("this processor has no tiles (AMX)");
	if (syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) < 0)
		case_skip("the kernel gives no permission for tiles: %m");
	CHECK(!pthread_create(&threads[4], NULL, tiles, NULL));
	CHECK(EVENTUALLY(rounds[4]));
}

static void check_tiles(void)
{
	unsigned long before = rounds[4], permitted = 0;

	CHECK(EVENTUALLY(rounds[4] > before + 3));
	CHECK_CALL(syscall(SYS_arch_prctl, ARCH_GET_XCOMP_PERM, &permitted));
	CHECK(permitted >> TILE_DATA & 1);
	stop = true;
	CHECK(!pthread_join(threads[4], NULL));
}

/* ---- bases of fs and gs ---- */

static unsigned long gs_area[4] = { 11, 22, 33, 44 };

static unsigned long read_gs(void)
{
	unsigned long value;

	asm volatile("movq %%gs:8, %0" : "=r"(value));
	return value;
}

static void *look_at_gs(void *arg)
{
	CHECK_CALL(syscall(SYS_arch_prctl, ARCH_SET_GS, gs_area + 2));
	rounds[0] = 1;
	while (!stop)
		CHECK_INT(read_gs(), 44);
	return arg;
}

static unsigned long fs_before;

static void setup_bases(void)
{
	CHECK_CALL(syscall(SYS_arch_prctl, ARCH_SET_GS, gs_area));
	CHECK_CALL(syscall(SYS_arch_prctl, ARCH_GET_FS, &fs_before));
	CHECK(!pthread_create(&threads[0], NULL, look_at_gs, NULL));
	CHECK(EVENTUALLY(rounds[0]));
}

static void check_bases(void)
{
	unsigned long base;

	CHECK_INT(read_gs(), 22);
	CHECK_CALL(syscall(SYS_arch_prctl, ARCH_GET_GS, &base));
	CHECK_INT(base, (unsigned long)gs_area);
	CHECK_CALL(syscall(SYS_arch_prctl, ARCH_GET_FS, &base));
	CHECK_INT(base, fs_before);
	stop = true;
	CHECK(!pthread_join(threads[0], NULL));
}

CASES({ "general, x87, SSE, AVX and AVX-512 registers stay", setup, check, .flags = CASE_RUNS },
      { "tiles and the permission for them stay", setup_tiles, check_tiles },
      { "the bases of fs and gs stay", setup_bases, check_bases })
