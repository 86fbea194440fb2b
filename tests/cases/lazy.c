/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that comes after the program runs. Threads, children and calls that change the address
 * space meet it while it is still absent: every page that is read must be what it was, or zeroes
 * where it was given back.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/case.h"

#define PAGE 4096ul
#define LEN (32ul << 20)
#define N_THREADS 4

static char *memory;

static uint64_t word(size_t at)
{
	return (at + 1) * 0x9e3779b97f4a7c15;
}

static void *make(size_t len)
{
	char *p = CHECK_CALL(
		mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	for (size_t at = 0; at < len; at += PAGE)
		*(uint64_t *)(p + at + at / PAGE % 512 * 8) = word(at);
	return p;
}

/* FROM, TO: of what make() made, now at P. */
static void look_at(const char *p, size_t from, size_t to)
{
	for (size_t at = from; at < to; at += PAGE)
		if (*(volatile uint64_t *)(p + at + at / PAGE % 512 * 8) != word(at))
			case_fail("page %zu: another content", at / PAGE);
}

static void is_zero(const char *p, size_t from, size_t to)
{
	for (size_t at = from; at < to; at += 8)
		if (*(volatile uint64_t *)(p + at))
			case_fail("byte %zu: not zero", at);
}

static void setup(void)
{
	memory = make(LEN);
}

/* ---- who runs at once, in the middle of it ---- */

static pthread_t thread[N_THREADS];
static volatile bool ends;
static volatile uint64_t passes[N_THREADS];

/* Each in an order of its own; what one has found it finds again. */
static void *visit(void *arg)
{
	size_t me = (uintptr_t)arg, step = 2 * me + 1, n = LEN / PAGE, i = me * n / N_THREADS;

	for (uint64_t k = 1; !ends; k++) {
		i = (i + step * 97) % n;
		look_at(memory, i * PAGE, (i + 1) * PAGE);
		if (i % 64 == 0)
			usleep(20);
		if (k % n == 0)
			passes[me]++;
	}
	return arg;
}

static void setup_threads(void)
{
	setup();
	for (uintptr_t i = 0; i < N_THREADS; i++)
		CHECK(!pthread_create(&thread[i], NULL, visit, (void *)i));
}

static void check_threads(void)
{
	for (int i = 0; i < N_THREADS; i++) {
		uint64_t before = passes[i];

		CHECK(EVENTUALLY(passes[i] > before + 1));
	}
	ends = true;
	for (int i = 0; i < N_THREADS; i++)
		CHECK(!pthread_join(thread[i], NULL));
	look_at(memory, 0, LEN);
}

/* Runs BODY as soon as the program goes on after its restore, not when the harness says. */
static void (*volatile body)(void);
static volatile bool done;

static void *at_once(void *arg)
{
	int64_t gap = case_gap_ns();

	while (case_gap_ns() < gap + 50000000 && !ends)
		usleep(500);
	body();
	done = true;
	return arg;
}

static void setup_body(void (*what)(void))
{
	setup();
	body = what;
	CHECK(!pthread_create(&thread[0], NULL, at_once, NULL));
}

static void check_body(void)
{
	ends = true;
	CHECK(EVENTUALLY(done));
	CHECK(!pthread_join(thread[0], NULL));
}

static void fork_and_look(void)
{
	for (int i = 0; i < 8; i++) {
		pid_t pid = CHECK_CALL(fork());
		int status;

		if (!pid) {
			pid = i % 2 ? CHECK_CALL(fork()) : 0;
			look_at(memory, i * LEN / 8, LEN);
			if (pid)
				CHECK(waitpid(pid, &status, 0) == pid && !status);
			_exit(0);
		}
		look_at(memory, i * LEN / 16, i * LEN / 8);
		if (i < 4)
			CHECK(waitpid(pid, &status, 0) == pid && !status);
	}
	for (int i = 4; i < 8; i++) {
		int status;

		CHECK(wait(&status) > 0 && !status);
	}
	look_at(memory, 0, LEN);
}

/* A child finds it empty, also what its parent has not touched yet. */
static void wipe_and_look(void)
{
	int status;
	pid_t pid;

	CHECK_CALL(madvise(memory + LEN / 4, LEN / 4, MADV_WIPEONFORK));
	pid = CHECK_CALL(fork());
	if (!pid) {
		is_zero(memory, LEN / 4, LEN / 2);
		look_at(memory, 0, LEN / 4);
		look_at(memory, LEN / 2, LEN);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && !status);
	look_at(memory, 0, LEN);
}

static void move_and_look(void)
{
	char *away = CHECK_CALL(mremap(memory + LEN / 2, LEN / 2, LEN / 2,
				       MREMAP_MAYMOVE | MREMAP_FIXED, make(LEN / 2)));
	char *back;

	look_at(away - LEN / 2, LEN / 2, LEN / 2 + 64 * PAGE);
	away = CHECK_CALL(mremap(away, LEN / 2, LEN, MREMAP_MAYMOVE));
	is_zero(away, LEN / 2, LEN / 2 + 64 * PAGE);
	back = CHECK_CALL(
		mremap(away, LEN / 2, LEN / 2, MREMAP_MAYMOVE | MREMAP_FIXED, memory + LEN / 2));
	CHECK(back == memory + LEN / 2);
	look_at(memory, 0, LEN);
}

static void give_back_and_look(void)
{
	CHECK_CALL(madvise(memory + LEN / 8, LEN / 4, MADV_DONTNEED));
	CHECK_CALL(madvise(memory + LEN - 16 * PAGE, PAGE, MADV_DONTNEED));
	is_zero(memory, LEN / 8, LEN / 8 + LEN / 16);
	usleep(20000);
	is_zero(memory, LEN / 8, LEN / 8 + LEN / 4);
	is_zero(memory, LEN - 16 * PAGE, LEN - 15 * PAGE);
	look_at(memory, 0, LEN / 8);
	look_at(memory, LEN / 8 + LEN / 4, LEN - 16 * PAGE);
	look_at(memory, LEN - 15 * PAGE, LEN);
}

static void unmap_and_look(void)
{
	CHECK_CALL(munmap(memory + LEN / 4, LEN / 4));
	/* What comes to the same place is new. */
	CHECK(mmap(memory + LEN / 4, LEN / 4, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == memory + LEN / 4);
	is_zero(memory, LEN / 4, LEN / 4 + LEN / 16);
	CHECK_CALL(mprotect(memory, 3 * PAGE, PROT_READ));
	CHECK_CALL(mprotect(memory + LEN / 2 + 5 * PAGE, PAGE, PROT_NONE));
	look_at(memory, 0, LEN / 4);
	look_at(memory, LEN / 2, LEN / 2 + 5 * PAGE);
	look_at(memory, LEN / 2 + 6 * PAGE, LEN);
	CHECK_CALL(mprotect(memory + LEN / 2 + 5 * PAGE, PAGE, PROT_READ));
	look_at(memory, LEN / 2, LEN);
	usleep(20000);
	is_zero(memory, LEN / 4, LEN / 2);
}

/* Page faults of the kernel's: the pages are first touched by a system call. */
static void call_and_look(void)
{
	char *copy = malloc(LEN);
	int ends_of[2];

	CHECK_CALL(pipe(ends_of));
	for (size_t at = 0; at < LEN; at += 16 * PAGE) {
		CHECK(write(ends_of[1], memory + at, 4 * PAGE) == 4 * PAGE);
		CHECK(read(ends_of[0], copy + at, 4 * PAGE) == 4 * PAGE);
		look_at(copy, at, at + 4 * PAGE);
	}
	close(ends_of[0]);
	close(ends_of[1]);
	free(copy);
	look_at(memory, 0, LEN);
}

#define STORY(name)                          \
	static void setup_##name(void)       \
	{                                    \
		setup_body(name##_and_look); \
	}
STORY(fork)
STORY(wipe)
STORY(move)
STORY(give_back)
STORY(unmap)
STORY(call)

/* ---- what is there in the end ---- */

static void check_all(void)
{
	look_at(memory, 0, LEN);
	CHECK_CALL(madvise(memory, LEN / 2, MADV_NORMAL));
	memset(memory, 'x', LEN);
	for (size_t at = 0; at < LEN; at += 8)
		CHECK(*(uint64_t *)(memory + at) == 0x7878787878787878);
}

static char *sparse, *heap;

static void setup_sparse(void)
{
	sparse = CHECK_CALL(mmap(NULL, 4 * LEN, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	for (size_t at = 0; at < 4 * LEN; at += 3 * PAGE)
		*(uint64_t *)(sparse + at) = word(at);
	heap = CHECK_CALL(sbrk(4 << 20));
	memset(heap, 'h', 4 << 20);
	CHECK_CALL(mprotect(sparse + LEN, LEN, PROT_READ));
}

static void check_sparse(void)
{
	for (size_t at = 0; at < 4 * LEN; at += PAGE)
		if (*(uint64_t *)(sparse + at) != (at / PAGE % 3 ? 0 : word(at)))
			case_fail("page %zu: another content", at / PAGE);
	for (size_t i = 0; i < 4 << 20; i++)
		CHECK_INT(heap[i], 'h');
	CHECK_CALL(sbrk(1 << 20));
	memset(heap, 'i', 5 << 20);
	CHECK_CALL(sbrk(-(5 << 20)));
}

#define LAZY (CASE_LAZY | CASE_LOSSY | CASE_GOES)
CASES({ "threads find all of it while it comes", setup_threads, check_threads, .flags = LAZY },
      { "children have it, too", setup_fork, check_body, .flags = LAZY | CASE_ONCE },
      { "but not what is wiped", setup_wipe, check_body, .flags = LAZY | CASE_ONCE | CASE_ROOT },
      { "it may move before it is there", setup_move, check_body,
	.flags = LAZY | CASE_ONCE | CASE_ROOT },
      { "what is given back is zeroes", setup_give_back, check_body,
	.flags = LAZY | CASE_ONCE | CASE_ROOT },
      { "what is unmapped does not come back", setup_unmap, check_body, .flags = LAZY | CASE_ONCE },
      { "system calls find it", setup_call, check_body, .flags = LAZY | CASE_ONCE },
      { "it is ordinary memory in the end", setup, check_all, .flags = CASE_LAZY | CASE_ROOT },
      { "with holes, a heap, and another protection", setup_sparse, check_sparse,
	.flags = CASE_LAZY | CASE_ROOT },
      { "mapped from the image it is the same", setup, check_all, .flags = CASE_MAP | CASE_LOSSY },
      { "mapped with holes, a heap, and another protection", setup_sparse, check_sparse,
	.flags = CASE_MAP | CASE_LOSSY })
