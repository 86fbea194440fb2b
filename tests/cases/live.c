/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is copied while it is written. Every loop looks at what it wrote a pass ago before it
 * writes again: a page that is older or newer than the rest shows in the next pass.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/busy.h"

#define N_PAGES 8192ul /* 32 MiB */
#define N_RING 24
#define RING_LEN (96 * PAGE)

/* ---- one writer, every page in turn ---- */

static uint64_t *memory;

static void *write_all(void *arg)
{
	for (uint64_t i = N_PAGES; !busy_ends; i++) {
		volatile uint64_t *word = memory + i % N_PAGES * (PAGE / 8) + i / N_PAGES % 8;

		if (i / N_PAGES > 8 && *word != i - 8 * N_PAGES)
			case_fail("page %lu is of pass %lu, not %lu", i % N_PAGES, *word / N_PAGES,
				  i / N_PAGES - 8);
		*word = i;
		busy_passes = i / N_PAGES;
		if (i % 256 == 0)
			usleep(50); /* others want to live, too */
	}
	return arg;
}

static void setup_writer(void)
{
	memory = busy_map(N_PAGES * PAGE);
	busy_start(write_all);
}

/* ---- areas come, move, shrink and go ---- */

static void *move_areas(void *arg)
{
	char *ring[N_RING] = { NULL };
	uint64_t made[N_RING] = { 0 };

	for (uint64_t i = 1; !busy_ends; i++) {
		char **p = &ring[i % N_RING];

		if (*p) {
			busy_check(*p, RING_LEN, made[i % N_RING]);
			CHECK_CALL(munmap(*p, RING_LEN));
		}
		*p = busy_map(RING_LEN);
		busy_fill(*p, RING_LEN, i << 32);
		made[i % N_RING] = i << 32;
		/* An older one moves; of another one a part is given back and written again. */
		p = &ring[(i + N_RING / 3) % N_RING];
		if (*p)
			*p = CHECK_CALL(mremap(*p, RING_LEN, RING_LEN,
					       MREMAP_MAYMOVE | MREMAP_FIXED, busy_map(RING_LEN)));
		p = &ring[(i + N_RING / 2) % N_RING];
		if (*p) {
			CHECK_CALL(madvise(*p, RING_LEN / 2, MADV_DONTNEED));
			busy_check(*p + RING_LEN / 2, RING_LEN / 2,
				   made[(i + N_RING / 2) % N_RING] + RING_LEN / 2);
			for (size_t at = 0; at < RING_LEN / 2; at += PAGE)
				CHECK_INT(*(uint64_t *)(*p + at), 0);
			usleep(300);
			for (size_t at = 0; at < RING_LEN / 2; at += PAGE)
				CHECK_INT(*(uint64_t *)(*p + at), 0);
			busy_fill(*p, RING_LEN / 2, made[(i + N_RING / 2) % N_RING]);
		}
		busy_passes = i / N_RING;
		usleep(500);
	}
	return arg;
}

static void setup_areas(void)
{
	busy_start(move_areas);
}

/* ---- what is said of areas ---- */

static void *change_advice(void *arg)
{
	char *p = busy_map(2 * RING_LEN);

	busy_fill(p, 2 * RING_LEN, 0);
	for (uint64_t i = 0; !busy_ends; i++) {
		CHECK_CALL(madvise(p, 2 * RING_LEN, i % 2 ? MADV_DOFORK : MADV_DONTFORK));
		busy_check(p, RING_LEN, i << 32);
		busy_check(p + RING_LEN, RING_LEN, RING_LEN);
		busy_fill(p, RING_LEN, (i + 1) << 32);
		busy_passes = i / 16;
		usleep(200);
	}
	return arg;
}

static void setup_advice(void)
{
	busy_start(change_advice);
}

/* ---- children ---- */

static void *fork_children(void *arg)
{
	for (uint64_t i = 1; !busy_ends; i++) {
		int status;
		pid_t pid;

		busy_fill(memory, 256 * PAGE, i << 32);
		pid = CHECK_CALL(fork());
		if (!pid) {
			usleep(1000);
			busy_check(memory, 256 * PAGE, i << 32);
			busy_fill(memory, 128 * PAGE, ~i << 32);
			_exit(0);
		}
		busy_fill((char *)memory + 128 * PAGE, 128 * PAGE, (i << 32) + 128 * PAGE);
		busy_check(memory, 256 * PAGE, i << 32);
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
		busy_check(memory, 256 * PAGE, i << 32);
		busy_passes = i / 8;
	}
	return arg;
}

static void setup_children(void)
{
	memory = busy_map(N_PAGES * PAGE);
	busy_start(fork_children);
}

/* ---- memory that does not change, and a heap that grows ---- */

static char *big, *heap;

static void setup_idle(void)
{
	big = busy_map(64 << 20);
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
		left_out[i] = busy_map(4 << 20);
		CHECK_CALL(madvise(left_out[i], 4 << 20, advice[i]));
		busy_fill(left_out[i], 4 << 20, (uint64_t)i << 40);
	}
	CHECK_CALL(mlock(left_out[2], 1 << 20));
	setup_writer();
}

static void check_left_out(void)
{
	for (int i = 0; i < 3; i++)
		busy_check(left_out[i], 4 << 20, (uint64_t)i << 40);
	CHECK(waitpid(-1, NULL, WNOHANG | __WALL) < 0 && errno == ECHILD);
	busy_end();
}

CASES({ "a writer of all its memory is caught in one instant", setup_writer, busy_end,
	.flags = CASE_LIVE | CASE_LOSSY },
      { "a copy of a writer is of one instant", setup_writer, busy_end,
	.flags = CASE_LIVE | CASE_LOSSY | CASE_COPIES },
      { "copies of processes that come and go", setup_children, busy_end,
	.flags = CASE_LIVE | CASE_LOSSY | CASE_COPIES },
      { "memory that a copy has not, and no child to wait for", setup_left_out, check_left_out,
	.flags = CASE_LOSSY | CASE_COPIES },
      { "areas that come, move and go while they are copied", setup_areas, busy_end,
	.flags = CASE_LIVE | CASE_LOSSY },
      { "an area whose advice changes all the time", setup_advice, busy_end,
	.flags = CASE_LIVE | CASE_LOSSY },
      { "an area whose advice changes from image to image", setup_advice, busy_end,
	.flags = CASE_LOSSY | CASE_ONCE, .chain = 3 },
      { "children that come and go meanwhile", setup_children, busy_end,
	.flags = CASE_LIVE | CASE_LOSSY },
      { "memory that nobody writes, and a heap", setup_idle, check_idle, .flags = CASE_LIVE },
      { "the same, taken from an image before", setup_idle, check_idle, .chain = 2 },
      { "a writer in images that go on from each other", setup_writer, busy_end,
	.flags = CASE_LOSSY, .chain = 4 },
      { "areas that come, move and go from image to image", setup_areas, busy_end,
	.flags = CASE_LOSSY, .chain = 8 },
      { "children that come and go from image to image", setup_children, busy_end,
	.flags = CASE_LOSSY, .chain = 5 })
