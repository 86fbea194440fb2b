/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that parent and child share copy-on-write is stored and restored once: the proportional
 * size of the area tells (in smaps a page that two processes share counts half in each). What one
 * of them changed stays its own.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "tests/lib/case.h"

#define PAGE 4096ul
#define PAGES 512ul

static char *area;

/* A number of the area at P in /proc/self/smaps, in KiB. */
static long smaps(const void *p, const char *key)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char *line = NULL;
	size_t room = 0;
	bool here = false;
	long value = -1;

	CHECK(f);
	while (value < 0 && getline(&line, &room, f) > 0) {
		unsigned long start, end;

		if (sscanf(line, "%lx-%lx ", &start, &end) == 2 && strchr(line, '-') - line <= 16)
			here = start <= (unsigned long)p && (unsigned long)p < end;
		else if (here && !strncmp(line, key, strlen(key)) && line[strlen(key)] == ':')
			value = atol(line + strlen(key) + 1);
	}
	free(line);
	fclose(f);
	return value;
}

static void setup_child(void)
{
	for (int i = 0; i < 32; i++)
		area[i * PAGE] = 'c';
}

static void look(char mine)
{
	for (size_t i = 64; i < PAGES; i++)
		CHECK(area[i * PAGE] == 'o' && area[i * PAGE + 7] == (char)i);
	for (int i = 0; i < 32; i++)
		CHECK_INT(area[i * PAGE], mine);
}

static void check_child(void)
{
	look('c');
	CHECK(smaps(area, "Rss") >= (long)PAGES * 4);
	CHECK(smaps(area, "Pss") < (long)PAGES * 4 * 3 / 4);
	CHECK(smaps(area, "Shared_Dirty") >= (long)(PAGES - 64) * 4);
	area[100 * PAGE] = 'C';
	CHECK(test_write("child-done", "x"));
	CHECK(EVENTUALLY(test_exists("parent-done")));
}

static void fill(void)
{
	area = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(area != MAP_FAILED);
	CHECK_CALL(madvise(area, PAGES * PAGE, MADV_NOHUGEPAGE));
	for (size_t i = 0; i < PAGES; i++) {
		area[i * PAGE] = 'o';
		area[i * PAGE + 7] = i;
	}
}

static void setup(void)
{
	fill();
	case_child(setup_child, check_child);
	for (int i = 32; i < 64; i++)
		area[i * PAGE] = 'p';
}

static void check(void)
{
	look('o');
	CHECK(smaps(area, "Pss") < (long)PAGES * 4 * 3 / 4);
	for (int i = 32; i < 64; i++)
		CHECK_INT(area[i * PAGE], 'p');
	CHECK(EVENTUALLY(test_exists("child-done")));
	CHECK_INT(area[100 * PAGE], 'o');
	CHECK(test_write("parent-done", "x"));
}

static void check_one_of_many(void)
{
	look('o');
	CHECK(smaps(area, "Pss") < (long)PAGES * 4 / 3);
}

/* Five processes, three generations. */
static void set_up_grandchild(void)
{
	case_child(NULL, check_one_of_many);
}

static void setup_many(void)
{
	fill();
	case_child(set_up_grandchild, check_one_of_many);
	case_child(set_up_grandchild, check_one_of_many);
}

CASES({ "memory shared copy-on-write with a child stays shared", setup, check },
      { "memory shared copy-on-write over generations stays shared", setup_many,
	check_one_of_many })
