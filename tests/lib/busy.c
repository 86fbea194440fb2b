/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that writes memory all the time. What it finds wrong ends the story. */
#include <sys/mman.h>
#include "tests/lib/busy.h"

volatile bool busy_ends;
volatile uint64_t busy_passes;
static pthread_t thread;

void busy_start(void *(*work)(void *))
{
	CHECK(!pthread_create(&thread, NULL, work, NULL));
	CHECK(EVENTUALLY(busy_passes > 2));
}

void busy_end(void)
{
	uint64_t before = busy_passes;

	CHECK(EVENTUALLY(busy_passes > before + 1));
	busy_ends = true;
	CHECK(!pthread_join(thread, NULL));
}

void *busy_map(size_t len)
{
	return CHECK_CALL(
		mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

void busy_fill(void *p, size_t len, uint64_t id)
{
	for (size_t at = 0; at < len; at += PAGE)
		*(volatile uint64_t *)((char *)p + at) = id + at;
}

void busy_check(const void *p, size_t len, uint64_t id)
{
	for (size_t at = 0; at < len; at += PAGE)
		if (*(const volatile uint64_t *)((const char *)p + at) != id + at)
			case_fail("area %lx, page %lu: another content", id, at / PAGE);
}
