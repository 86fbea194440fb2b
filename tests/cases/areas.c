/* SPDX-License-Identifier: Apache-2.0 */
/* Ten thousand areas, and huge pages. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "tests/lib/case.h"

#define PAGE 4096ul
#define N 10000ul
#define HUGE (2ul << 20)

static char *base;

static void setup(void)
{
	base = mmap(NULL, 2 * N * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(base != MAP_FAILED);
	for (size_t i = 0; i < N; i++) {
		*(size_t *)(base + 2 * i * PAGE) = i;
		CHECK_CALL(mprotect(base + 2 * i * PAGE, PAGE, PROT_READ));
	}
}

static void check(void)
{
	for (size_t i = 0; i < N; i++) {
		CHECK_INT(*(size_t *)(base + 2 * i * PAGE), i);
		CHECK_INT(*(size_t *)(base + (2 * i + 1) * PAGE), 0);
		base[(2 * i + 1) * PAGE] = 1;
	}
}

/* In huge pages of the area that starts at BASE; where the machine has none to give there are
 * none. */
static unsigned long huge_kb(void)
{
	char *text = test_read("/proc/self/smaps", NULL), want[32], *p;
	unsigned long kb = 0;

	snprintf(want, sizeof(want), "%lx-", (unsigned long)base);
	p = text ? strstr(text, want) : NULL;
	p = p ? strstr(p, "AnonHugePages:") : NULL;
	if (p)
		kb = strtoul(p + strlen("AnonHugePages:"), NULL, 10);
	free(text);
	return kb;
}

static unsigned long huge_before;

static void setup_huge(void)
{
	char *p = mmap(NULL, 4 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	base = (char *)(((unsigned long)p + HUGE - 1) & ~(HUGE - 1));
	CHECK_CALL(madvise(base, 3 * HUGE, MADV_HUGEPAGE));
	memset(base, 'h', 2 * HUGE);
	base[2 * HUGE + 12345] = 'x';
	/* Cuts one in the middle. */
	CHECK_CALL(munmap(base + HUGE / 2, PAGE));
}

static void setup_huge_again(void)
{
	char *p = mmap(NULL, 6 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	base = (char *)(((unsigned long)p + HUGE - 1) & ~(HUGE - 1));
	CHECK_CALL(madvise(base, 4 * HUGE, MADV_HUGEPAGE));
	memset(base + HUGE, 'h', 2 * HUGE);
	huge_before = huge_kb();
	if (!huge_before)
		case_skip("no huge pages to be had");
}

static void check_huge_again(void)
{
	CHECK_INT(huge_kb(), huge_before);
	CHECK_INT(base[0], 0);
	for (size_t i = HUGE; i < 3 * HUGE; i += 64)
		CHECK_INT(base[i], 'h');
}

static void check_huge(void)
{
	for (size_t i = 0; i < 2 * HUGE; i += 64)
		if (i < HUGE / 2 || i >= HUGE / 2 + PAGE)
			CHECK_INT(base[i], 'h');
	CHECK_INT(base[2 * HUGE + 12345], 'x');
	CHECK_INT(base[2 * HUGE], 0);
	CHECK(mmap(base + HUGE / 2, PAGE, PROT_READ,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == base + HUGE / 2);
}

CASES({ "ten thousand areas stay as they were", setup, check, .flags = CASE_ONCE },
      { "huge pages keep their contents", setup_huge, check_huge },
      { "huge pages come back as huge pages", setup_huge_again, check_huge_again })
