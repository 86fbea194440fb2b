/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a scan says of memory that is tracked, against what was done to each of its pages: written,
 * given back, read while empty, guarded, and, at last, mapped anew in the middle.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/arena.h"
#include "engine/memory/pages-work.h"
#include "engine/memory/scan.h"
#include "engine/memory/track.h"
#include "tests/lib/tap.h"

#define PAGE 4096ul
#define N_PAGES 4096
#define GUARD_INSTALL 102 /* MADV_GUARD_INSTALL, Linux 6.13 */

/* Of what is GONE a scan may say anything: it is cut at the areas afterwards. */
enum state { ABSENT, ZERO, KEPT, WRITTEN, GUARDED, GONE };

static struct ckpt_arena *arena;
static struct ckpt_track track;
static char *memory;
static enum state state[N_PAGES];

static bool begin(void)
{
	struct uffdio_api api = { .api = UFFD_API,
				  .features = 1ull << 15 | 1ull << 13 | 1ull << 12 };

	track = (struct ckpt_track){ .pid = getpid(), .mem = -1 };
	track.uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1 /* USER_MODE_ONLY */);
	track.pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	track.maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	return track.uffd >= 0 && ioctl(track.uffd, UFFDIO_API, &api) >= 0;
}

/* All that is there is unchanged from now on. */
static void protect(void)
{
	struct ckpt_run_list list = { .arena = arena };
	struct ckpt_err err = CKPT_ERR_INIT;

	if (ckpt_track_areas(&track, arena, &err) < 0 ||
	    ckpt_track_take(&track, false, &list, &err) < 0)
		diag("%s", err.text);
	for (size_t i = 0; i < N_PAGES; i++)
		if (state[i] == WRITTEN)
			state[i] = KEPT;
}

static void write_page(size_t i)
{
	if (state[i] == GUARDED)
		return;
	memory[i * PAGE] = 1;
	state[i] = WRITTEN;
}

static void read_page(size_t i)
{
	if (state[i] == ABSENT && !*(volatile char *)(memory + i * PAGE))
		state[i] = ZERO;
}

static void give_back(size_t i)
{
	if (state[i] != GUARDED && !madvise(memory + i * PAGE, PAGE, MADV_DONTNEED))
		state[i] = ABSENT;
}

static void guard(size_t i)
{
	if (!madvise(memory + i * PAGE, PAGE, GUARD_INSTALL))
		state[i] = GUARDED;
}

/* The numbers are the same in each run. */
static void change(unsigned int n)
{
	static void (*const what[])(size_t i) = { write_page, write_page, read_page,
						  give_back,  give_back,  guard };
	static uint32_t x = 1;

	while (n--) {
		x = x * 1664525 + 1013904223;
		size_t from = x >> 20, len = (x >> 8) % 16;
		void (*f)(size_t i) = what[(x >> 13) % 6];

		for (size_t i = from; i < from + len && i < N_PAGES; i++)
			f(i);
	}
}

static bool has(const struct ckpt_pages *pages, size_t i)
{
	uint64_t at = (uintptr_t)memory + i * PAGE;

	for (size_t k = 0; k < pages->n; k++)
		if (at >= pages->run[k].at && at < pages->run[k].at + pages->run[k].n_pages * PAGE)
			return true;
	return false;
}

/* Whoever does not ask which pages were written is told of the same ones. */
static void compare_with_all(const struct ckpt_scan *found)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_scan all;
	size_t wrong = 0;

	is(ckpt_memory_scan(arena, track.pagemap, &track, false, &all, &err), 0, "any page");
	for (size_t i = 0; i < N_PAGES; i++)
		wrong += has(&found->pages, i) != has(&all.pages, i) ||
			 has(&found->guards, i) != has(&all.guards, i);
	is(wrong + all.unchanged.n, 0, "written or not, pages are the same ones");
}

static void compare(const char *what)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_scan found;
	size_t wrong = 0, n[GONE + 1] = { 0 };

	is(ckpt_memory_scan(arena, track.pagemap, &track, true, &found, &err), 0, what);
	for (size_t i = 0; i < N_PAGES; i++) {
		wrong += state[i] != GONE &&
			 (has(&found.pages, i) != (state[i] == KEPT || state[i] == WRITTEN) ||
			  has(&found.unchanged, i) != (state[i] == KEPT) ||
			  has(&found.guards, i) != (state[i] == GUARDED));
		n[state[i]]++;
	}
	is(wrong, 0, "pages are told for what they are");
	diag("%zu absent, %zu zero, %zu kept, %zu written, %zu guarded", n[ABSENT], n[ZERO],
	     n[KEPT], n[WRITTEN], n[GUARDED]);
	for (size_t i = 1; i < found.pages.n; i++)
		wrong += found.pages.run[i].at <
			 found.pages.run[i - 1].at + found.pages.run[i - 1].n_pages * PAGE;
	is(wrong, 0, "and come by address");
	compare_with_all(&found);
}

static void map_again(size_t from, size_t n)
{
	mmap(memory + from * PAGE, n * PAGE, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	for (size_t i = from; i < from + n; i++)
		state[i] = ABSENT;
}

static void unmap(size_t from, size_t n)
{
	munmap(memory + from * PAGE, n * PAGE);
	for (size_t i = from; i < from + n; i++)
		state[i] = GONE;
}

/* Of a terabyte in which a page is. */
static void test_steps(void)
{
	const uint64_t step = 16ul << 20, size = 1ul << 40, there = size / 2 + 3 * step + PAGE;
	char *all = mmap(NULL, size + step, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t start = ((uintptr_t)all + step) & ~(step - 1), end = start + size;

	*(char *)(start + there) = 1;
	is(ckpt_scan_step(track.pagemap, start, end, step) - start, size / 2 + 4 * step,
	   "what is empty is no step of its own");
	is(ckpt_scan_step(track.pagemap, start + there, end, step) - start, size / 2 + 4 * step,
	   "a step ends where the next one would begin");
	is(ckpt_scan_step(track.pagemap, start + there + PAGE, end, step) - start, size,
	   "nothing else is there");
	is(ckpt_scan_step(-1, start, end, step) - start, step, "nobody can tell");
	munmap(all, size + step);
}

int main(void)
{
	struct ckpt_err err = CKPT_ERR_INIT;

	if (!begin()) {
		printf("1..0 # skip this kernel cannot track memory\n");
		return 77;
	}
	if (ckpt_arena_open(&arena, 1ul << 30, &err) < 0)
		return 1;
	test_steps();
	memory = mmap(NULL, N_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	madvise(memory, N_PAGES * PAGE, MADV_NOHUGEPAGE);
	protect();
	compare("nothing is there");
	change(300);
	compare("nothing was unchanged yet");
	for (size_t i = 0; i < N_PAGES; i++)
		write_page(i);
	protect();
	compare("nothing has changed");
	for (int i = 0; i < 8; i++) {
		change(40);
		compare("some was written and given back");
		protect();
		compare("and looked at");
	}
	/* As much as a page table and more, which the kernel may give back with its pages. */
	for (size_t i = 500; i < 2000; i++)
		give_back(i);
	compare("much was given back at once");
	map_again(3000, 700);
	compare("a part of it was mapped anew");
	for (size_t i = 3100; i < 3200; i++)
		write_page(i);
	change(40);
	compare("and written");
	unmap(100, 50);
	protect();
	compare("it is tracked again");
	unmap(200, 50);
	compare("a part of it is gone");
	return tap_end();
}
