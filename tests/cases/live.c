/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is copied while it is written. Every loop looks at what it wrote a pass ago before it
 * writes again: a page that is older or newer than the rest shows in the next pass.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/case.h"

#define PAGE 4096ul
#define N_PAGES 8192ul /* 32 MiB */
#define N_RING 24
#define RING_LEN (96 * PAGE)

static pthread_t thread;
static volatile bool ends;
static volatile uint64_t passes;

static void end_thread(void)
{
	uint64_t before = passes;

	CHECK(EVENTUALLY(passes > before + 1));
	ends = true;
	CHECK(!pthread_join(thread, NULL));
}

static void *map(size_t len)
{
	return CHECK_CALL(
		mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

/* ---- one writer, every page in turn ---- */

static uint64_t *memory;

static void *write_all(void *arg)
{
	for (uint64_t i = N_PAGES; !ends; i++) {
		volatile uint64_t *word = memory + i % N_PAGES * (PAGE / 8) + i / N_PAGES % 8;

		if (i / N_PAGES > 8 && *word != i - 8 * N_PAGES)
			case_fail("page %lu is of pass %lu, not %lu", i % N_PAGES, *word / N_PAGES,
				  i / N_PAGES - 8);
		*word = i;
		passes = i / N_PAGES;
		if (i % 256 == 0)
			usleep(50); /* others want to live, too */
	}
	return arg;
}

static void setup_writer(void)
{
	memory = map(N_PAGES * PAGE);
	CHECK(!pthread_create(&thread, NULL, write_all, NULL));
	CHECK(EVENTUALLY(passes > 2));
}

/* ---- areas come, move, shrink and go ---- */

static void fill(char *p, size_t len, uint64_t id)
{
	for (size_t at = 0; at < len; at += PAGE)
		*(volatile uint64_t *)(p + at) = id + at;
}

static void check_filled(const char *p, size_t len, uint64_t id)
{
	for (size_t at = 0; at < len; at += PAGE)
		if (*(const volatile uint64_t *)(p + at) != id + at)
			case_fail("area %lu, page %lu: another content", id, at / PAGE);
}

static void *move_areas(void *arg)
{
	char *ring[N_RING] = { NULL };
	uint64_t made[N_RING] = { 0 };

	for (uint64_t i = 1; !ends; i++) {
		char **p = &ring[i % N_RING];

		if (*p) {
			check_filled(*p, RING_LEN, made[i % N_RING]);
			CHECK_CALL(munmap(*p, RING_LEN));
		}
		*p = map(RING_LEN);
		fill(*p, RING_LEN, i << 32);
		made[i % N_RING] = i << 32;
		/* An older one moves; of another one a part is given back and written again. */
		p = &ring[(i + N_RING / 3) % N_RING];
		if (*p)
			*p = CHECK_CALL(mremap(*p, RING_LEN, RING_LEN,
					       MREMAP_MAYMOVE | MREMAP_FIXED, map(RING_LEN)));
		p = &ring[(i + N_RING / 2) % N_RING];
		if (*p) {
			CHECK_CALL(madvise(*p, RING_LEN / 2, MADV_DONTNEED));
			check_filled(*p + RING_LEN / 2, RING_LEN / 2,
				     made[(i + N_RING / 2) % N_RING] + RING_LEN / 2);
			for (size_t at = 0; at < RING_LEN / 2; at += PAGE)
				CHECK_INT(*(uint64_t *)(*p + at), 0);
			usleep(300);
			for (size_t at = 0; at < RING_LEN / 2; at += PAGE)
				CHECK_INT(*(uint64_t *)(*p + at), 0);
			fill(*p, RING_LEN / 2, made[(i + N_RING / 2) % N_RING]);
		}
		passes = i / N_RING;
		usleep(500);
	}
	return arg;
}

static void setup_areas(void)
{
	CHECK(!pthread_create(&thread, NULL, move_areas, NULL));
	CHECK(EVENTUALLY(passes > 1));
}

/* ---- what is said of areas ---- */

static void *change_advice(void *arg)
{
	char *p = map(RING_LEN);

	fill(p, RING_LEN, 7);
	for (uint64_t i = 0; !ends; i++) {
		CHECK_CALL(madvise(p, RING_LEN, i % 2 ? MADV_DOFORK : MADV_DONTFORK));
		check_filled(p, RING_LEN, 7);
		passes = i / 16;
		usleep(200);
	}
	return arg;
}

static void setup_advice(void)
{
	CHECK(!pthread_create(&thread, NULL, change_advice, NULL));
	CHECK(EVENTUALLY(passes > 1));
}

/* ---- children ---- */

static void *fork_children(void *arg)
{
	for (uint64_t i = 1; !ends; i++) {
		int status;
		pid_t pid;

		fill((char *)memory, 256 * PAGE, i << 32);
		pid = CHECK_CALL(fork());
		if (!pid) {
			usleep(1000);
			check_filled((char *)memory, 256 * PAGE, i << 32);
			fill((char *)memory, 128 * PAGE, ~i << 32);
			_exit(0);
		}
		fill((char *)memory + 128 * PAGE, 128 * PAGE, (i << 32) + 128 * PAGE);
		check_filled((char *)memory, 256 * PAGE, i << 32);
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
		check_filled((char *)memory, 256 * PAGE, i << 32);
		passes = i / 8;
	}
	return arg;
}

static void setup_children(void)
{
	memory = map(N_PAGES * PAGE);
	CHECK(!pthread_create(&thread, NULL, fork_children, NULL));
	CHECK(EVENTUALLY(passes > 1));
}

/* ---- memory that does not change, and a heap that grows ---- */

static char *big, *heap;

static void setup_idle(void)
{
	big = map(64 << 20);
	for (size_t at = 0; at < 64 << 20; at += PAGE)
		*(uint64_t *)(big + at) = at * 3;
	CHECK_CALL(madvise(big + (8 << 20), 4 << 20, MADV_DONTNEED));
	heap = CHECK_CALL(sbrk(1 << 20));
	memset(heap, 'h', 1 << 20);
}

static void check_idle(void)
{
	for (size_t at = 0; at < 64 << 20; at += PAGE)
		CHECK_INT(*(uint64_t *)(big + at),
			  at >= 8 << 20 && at < 12 << 20 ? 0 : (long long)at * 3);
	for (size_t i = 0; i < 1 << 20; i++)
		CHECK_INT(heap[i], 'h');
	CHECK_CALL(sbrk(1 << 20));
	memset(heap, 'i', 2 << 20);
}

/* ---- what a copy of the process has not ---- */

static char *left_out[3];

static void setup_left_out(void)
{
	static const int advice[] = { MADV_DONTFORK, MADV_WIPEONFORK, MADV_NORMAL };

	for (int i = 0; i < 3; i++) {
		left_out[i] = map(4 << 20);
		CHECK_CALL(madvise(left_out[i], 4 << 20, advice[i]));
		fill(left_out[i], 4 << 20, (uint64_t)i << 40);
	}
	CHECK_CALL(mlock(left_out[2], 1 << 20));
	setup_writer();
}

static void check_left_out(void)
{
	for (int i = 0; i < 3; i++)
		check_filled(left_out[i], 4 << 20, (uint64_t)i << 40);
	CHECK(waitpid(-1, NULL, WNOHANG | __WALL) < 0 && errno == ECHILD);
	end_thread();
}

CASES({ "a writer of all its memory is caught in one instant", setup_writer, end_thread,
	.flags = CASE_LIVE | CASE_LOSSY },
      { "a copy of a writer is of one instant", setup_writer, end_thread,
	.flags = CASE_LIVE | CASE_LOSSY | CASE_COPIES },
      { "copies of processes that come and go", setup_children, end_thread,
	.flags = CASE_LIVE | CASE_LOSSY | CASE_COPIES },
      { "memory that a copy has not, and no child to wait for", setup_left_out, check_left_out,
	.flags = CASE_LOSSY | CASE_COPIES },
      { "areas that come, move and go while they are copied", setup_areas, end_thread,
	.flags = CASE_LIVE | CASE_LOSSY },
      { "an area whose advice changes all the time", setup_advice, end_thread,
	.flags = CASE_LIVE | CASE_LOSSY },
      { "children that come and go meanwhile", setup_children, end_thread,
	.flags = CASE_LIVE | CASE_LOSSY },
      { "memory that nobody writes, and a heap", setup_idle, check_idle, .flags = CASE_LIVE })
