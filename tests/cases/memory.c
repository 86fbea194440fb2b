/* SPDX-License-Identifier: Apache-2.0 */
/* Anonymous memory: contents, protections, holes, the heap, a stack that grows, memory shared with
 * children. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "tests/lib/case.h"

#define PAGE 4096ul
#define SIZE (64 * PAGE)

static char *plain, *none, *read_only, *sparse, *shared, *exec_only;

static char *map(size_t size, int flags)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

static void fill(char *p, size_t size, uint32_t seed)
{
	for (size_t i = 0; i < size / 4; i++)
		((uint32_t *)p)[i] = seed = seed * 1664525 + 1013904223;
}

static bool same(const char *p, size_t size, uint32_t seed)
{
	for (size_t i = 0; i < size / 4; i++)
		if (((const uint32_t *)p)[i] != (seed = seed * 1664525 + 1013904223))
			return false;
	return true;
}

static sigjmp_buf jump;

static void on_fault(int sig)
{
	siglongjmp(jump, sig);
}

static int fault(volatile char *p, bool write)
{
	int sig;

	signal(SIGSEGV, on_fault);
	signal(SIGBUS, on_fault);
	sig = sigsetjmp(jump, 1);
	if (sig)
		return sig;
	if (write)
		*p = 1;
	else
		(void)*p;
	return 0;
}

static void setup(void)
{
	plain = map(SIZE, MAP_PRIVATE);
	none = map(SIZE, MAP_PRIVATE);
	read_only = map(SIZE, MAP_PRIVATE);
	exec_only = map(PAGE, MAP_PRIVATE);
	shared = map(SIZE, MAP_SHARED);
	sparse = map(1ul << 40, MAP_PRIVATE | MAP_NORESERVE);
	fill(plain, SIZE, 1);
	fill(none, SIZE, 2);
	fill(read_only, SIZE, 3);
	fill(shared, SIZE, 4);
	fill(exec_only, PAGE, 5);
	for (size_t i = 0; i < 40; i++)
		fill(sparse + ((1ul << i) & ~(PAGE - 1)), PAGE, i);
	CHECK_CALL(mprotect(none, SIZE, PROT_NONE));
	CHECK_CALL(mprotect(read_only, SIZE, PROT_READ));
	CHECK_CALL(mprotect(exec_only, PAGE, PROT_READ | PROT_EXEC));
}

static void check(void)
{
	CHECK(same(plain, SIZE, 1));
	CHECK(same(read_only, SIZE, 3));
	CHECK(same(shared, SIZE, 4));
	CHECK(same(exec_only, PAGE, 5));
	for (size_t i = 13; i < 40; i++)
		CHECK(same(sparse + (1ul << i), PAGE, i));
	CHECK(sparse[(1ul << 30) + 5 * PAGE] == 0);
	CHECK_INT(fault(none, false), SIGSEGV);
	CHECK_INT(fault(read_only, true), SIGSEGV);
	CHECK_INT(fault(plain, true), 0);
	CHECK_CALL(mprotect(none, SIZE, PROT_READ));
	CHECK(same(none, SIZE, 2));
	CHECK_CALL(munmap(sparse, 1ul << 40));
}

static char *heap_end, *on_heap;

static void setup_heap(void)
{
	on_heap = CHECK_CALL(sbrk(3 * PAGE));
	fill(on_heap, 3 * PAGE, 6);
	heap_end = sbrk(0);
}

static void check_heap(void)
{
	char *more;

	CHECK(sbrk(0) == heap_end);
	CHECK(same(on_heap, 3 * PAGE, 6));
	more = CHECK_CALL(sbrk(1 << 20));
	CHECK(more == heap_end);
	memset(more, 1, 1 << 20);
	for (int i = 1; i < 1000; i++) {
		char *p = malloc(i * 100);

		CHECK(p);
		memset(p, i, i * 100);
		free(p);
	}
}

/* A child's writes into shared memory are seen, those into private memory are not. */
static void check_child(void)
{
	CHECK(same(plain, SIZE, 7));
	plain[0] = 'c';
	CHECK(EVENTUALLY(__atomic_load_n(&shared[0], __ATOMIC_ACQUIRE) == 'p'));
	__atomic_store_n(&shared[PAGE], 'c', __ATOMIC_RELEASE);
}

static void setup_shared(void)
{
	plain = map(SIZE, MAP_PRIVATE);
	shared = map(SIZE, MAP_SHARED);
	fill(plain, SIZE, 7);
	fill(shared + 8 * PAGE, 8 * PAGE, 8);
	case_child(NULL, check_child);
}

static void check_shared(void)
{
	CHECK(same(shared + 8 * PAGE, 8 * PAGE, 8));
	CHECK_INT(shared[20 * PAGE], 0);
	__atomic_store_n(&shared[0], 'p', __ATOMIC_RELEASE);
	CHECK(EVENTUALLY(__atomic_load_n(&shared[PAGE], __ATOMIC_ACQUIRE) == 'c'));
	CHECK(same(plain, SIZE, 7));
}

/* The main stack and one made by MAP_GROWSDOWN. */
static char *down;

static __attribute__((noinline)) int deep(int n)
{
	volatile char frame[4000];

	memset((char *)frame, n % 100, sizeof(frame));
	return n == 0 ? frame[5] : deep(n - 1) + frame[7] - n % 100;
}

static void setup_stack(void)
{
	char *p = map(4 << 20, MAP_PRIVATE);

	/* Room below it, so that it can grow: the kernel keeps 1 MiB free below stacks. */
	CHECK_CALL(munmap(p, 4 << 20));
	down = mmap(p + (4 << 20) - 2 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE, -1, 0);
	CHECK(down != MAP_FAILED);
	down[0] = 'd';
}

static void check_stack(void)
{
	CHECK_INT(down[0], 'd');
	CHECK_INT(fault(down - PAGE, true), 0);
	CHECK_INT(fault(down - 2 * PAGE, true), 0);
	CHECK_INT(deep(1000), 0);
}

/* A page that has been read but never written, and one given back. */
static void setup_zero(void)
{
	plain = map(SIZE, MAP_PRIVATE);
	fill(plain, SIZE, 9);
	CHECK_CALL(madvise(plain + 4 * PAGE, 4 * PAGE, MADV_DONTNEED));
	CHECK(plain[4 * PAGE] == 0);
	shared = map(SIZE, MAP_SHARED);
	fill(shared, SIZE, 10);
	CHECK_CALL(madvise(shared + 4 * PAGE, 4 * PAGE, MADV_REMOVE));
}

static void check_zero(void)
{
	CHECK(same(plain, 4 * PAGE, 9));
	for (size_t i = 4 * PAGE; i < 8 * PAGE; i++)
		CHECK(plain[i] == 0 && shared[i] == 0);
	CHECK(same(shared, 4 * PAGE, 10));
}

/* So much that the restore does not leave it to the process to read it: in runs of one page, of odd
 * lengths and of megabytes, next to what it has to read itself. */
#define MUCH (16ul << 20)
#define LESS (3ul << 20)
#define LONG_RUN (5 * (1ul << 20) + 3 * PAGE)

static char *much;

static bool has_hole(size_t page)
{
	return page >= 256 && page < 1024 && (page % 2 || page % 7 == 0);
}

static void check_much(char *p)
{
	for (size_t i = 0; i < LONG_RUN / PAGE; i++)
		CHECK(has_hole(i) ? !p[i * PAGE] && !p[i * PAGE + 4095] :
				    same(p + i * PAGE, PAGE, i));
	CHECK(same(p + 6 * (1ul << 20), 4ul << 20, 11));
	CHECK_INT(p[MUCH - 1], 0);
	p[LONG_RUN + PAGE] = p[MUCH - 1] = p[257 * PAGE] = 1; /* where nothing was */
}

/* Most of it it still has in common with its parent. */
static void check_much_of_child(void)
{
	check_much(much);
	CHECK(same(none, LESS, 12));
	CHECK_INT(fault(read_only, true), SIGSEGV);
	CHECK(same(read_only, SIZE, 13));
}

static void setup_own_of_child(void)
{
	none = map(LESS, MAP_PRIVATE);
	fill(none, LESS, 12);
	CHECK_CALL(madvise(none, LESS, MADV_DONTDUMP));
	read_only = map(SIZE, MAP_PRIVATE);
	fill(read_only, SIZE, 13);
	CHECK_CALL(mprotect(read_only, SIZE, PROT_READ));
}

static void setup_much(void)
{
	much = map(MUCH, MAP_PRIVATE);
	for (size_t i = 0; i < LONG_RUN / PAGE; i++)
		if (!has_hole(i))
			fill(much + i * PAGE, PAGE, i);
	fill(much + 6 * (1ul << 20), 4ul << 20, 11);
	CHECK_CALL(mprotect(much + 11 * (1ul << 20), 1 << 20, PROT_NONE));
	none = map(LESS, MAP_PRIVATE);
	fill(none, LESS, 14);
	CHECK_CALL(mprotect(none, LESS, PROT_NONE));
	read_only = map(LESS, MAP_PRIVATE);
	fill(read_only, LESS, 15);
	CHECK_CALL(mprotect(read_only, LESS, PROT_READ));
	plain = map(LESS, MAP_PRIVATE);
	fill(plain, LESS, 16);
	CHECK_CALL(madvise(plain, LESS, MADV_DONTFORK));
	case_child(setup_own_of_child, check_much_of_child);
}

static void check_all_of_it(void)
{
	check_much(much);
	CHECK(same(read_only, LESS, 15));
	CHECK_INT(fault(read_only, true), SIGSEGV);
	CHECK_INT(fault(none, false), SIGSEGV);
	CHECK_CALL(mprotect(none, LESS, PROT_READ));
	CHECK(same(none, LESS, 14));
	CHECK(same(plain, LESS, 16));
}

CASES({ "anonymous memory keeps contents and protections", setup, check },
      { "the heap stays and grows", setup_heap, check_heap },
      { "memory shared with a child stays shared, private memory private", setup_shared,
	check_shared },
      { "stacks grow", setup_stack, check_stack },
      { "pages given back stay empty", setup_zero, check_zero },
      { "much memory, of a process and of its child", setup_much, check_all_of_it },
      { "much memory, in an image that goes on from others", setup_much, check_all_of_it,
	.chain = 2 })
