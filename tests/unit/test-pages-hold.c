/* SPDX-License-Identifier: Apache-2.0 */
/* What is read before anything is written: it may change as soon as all of it has been read. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "engine/memory/pages.h"
#include "engine/store/image.h"
#include "tests/lib/tap.h"

#define MIB (1ul << 20)
#define SIZE (5 * MIB)

static struct ckpt_arena *arena;
static int content, pages, asked;

static void fill(char value)
{
	char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, content, 0);

	memset(p, value, SIZE);
	munmap(p, SIZE);
}

static int all_read(void *arg, struct ckpt_err *err)
{
	asked++;
	is(lseek(pages, 0, SEEK_DATA), -1, "nothing has been written by then");
	fill('b');
	return *(int *)arg < 0 ? ckpt_fail(err, *(int *)arg, "no") : 0;
}

/* Copies the file, which holds 'a' everywhere, with room for LEN bytes. */
static int copy(size_t len, int answer, uint32_t **crcp)
{
	struct ckpt_source source = { 0 };
	struct ckpt_memory_work *work = ckpt_memory_open(&source, arena);
	struct ckpt_object obj = { .id = 1, .has_content = true, .content_size = SIZE };
	struct ckpt_pages_files files = { 1, { { 0, -1 } } };
	struct ckpt_memory_copy how = { .files = &files,
					.hold = ckpt_alloc(arena, len),
					.hold_len = len,
					.all_read = all_read,
					.all_read_arg = &answer };
	struct ckpt_err err = CKPT_ERR_INIT;
	size_t n;
	int r;

	fill('a');
	files.part[0].fd = pages = memfd_create("pages", 0);
	must(ckpt_memory_add_file(work, &obj, dup(content), true, &err) >= 0, "a file");
	asked = 0;
	*crcp = NULL;
	r = ckpt_memory_copy(work, &how, crcp, &n, &err);
	ckpt_memory_close(work);
	return r;
}

static void check(const uint32_t *crc)
{
	char *p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, pages, 0);
	size_t wrong = 0;

	for (size_t i = 0; i < SIZE; i++)
		wrong += p[i] != 'a';
	is(wrong, 0, "the pages are those that were read");
	for (size_t i = 0; i < SIZE / CKPT_CHUNK; i++)
		wrong += ckpt_crc32c(0, p + i * CKPT_CHUNK, CKPT_CHUNK) != crc[i];
	is(wrong, 0, "and so are the checksums");
	munmap(p, SIZE);
	close(pages);
}

int main(void)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	uint32_t *crc;

	must(ckpt_arena_open(&arena, 1 << 26, &err) == 0, "an arena");
	content = memfd_create("content", 0);
	must(ftruncate(content, SIZE) == 0, "a content");
	is(copy(SIZE, 0, &crc), 0, "a copy with room for all of it");
	is(asked, 1, "all has been read at one time");
	check(crc);
	is(copy(SIZE - 4096, 0, &crc), 0, "one with too little room");
	is(asked, 0, "is written as it is read");
	check(crc);
	is(copy(SIZE, -ECANCELED, &crc), -ECANCELED, "who is told may object");
	is(lseek(pages, 0, SEEK_DATA), -1, "and nothing is written");
	close(pages);
	ckpt_arena_close(arena);
	return tap_end();
}
