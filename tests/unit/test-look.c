/* SPDX-License-Identifier: Apache-2.0 */
/* Looking into an image: where bytes come from, what is refused, tables, text as HTML, build-ids.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "engine/base/build-id.h"
#include "engine/look/look.h"
#include "engine/look/search.h"
#include "engine/look/table.h"
#include "tests/lib/sample.h"
#include "tests/lib/tap.h"

static struct ckpt_arena *arena;

/* Every address of every process: pieces follow each other and none is empty. */
static void pieces(struct ckpt_look *look)
{
	unsigned char byte;

	for (size_t i = 0; i < look->snap->n_tasks; i++) {
		const struct ckpt_task *task = look->snap->tasks[i];
		struct ckpt_look_piece piece = { 0 };
		size_t n = 0, bad = 0, seen = 0;

		while (task->mm && piece.end < CKPT_TASK_SIZE && n++ < 10000) {
			uint64_t at = piece.end;
			struct ckpt_err err = CKPT_ERR_INIT;
			ssize_t r;

			ckpt_look_piece(look, task, at, &piece);
			bad += piece.start != at || piece.end <= at;
			r = ckpt_look_bytes(look, &piece, at, &byte, 1, &err);
			seen += piece.from == CKPT_LOOK_STORED && r == 1;
			bad += piece.from == CKPT_LOOK_NOTHING && r != -EFAULT;
			bad += piece.from == CKPT_LOOK_MISSING && !piece.why;
		}
		ok(!bad && n < 10000, "process %zu: %zu pieces, one behind the other", i, n);
		if (task->pages.n)
			ok(seen > 0, "process %zu: stored bytes are read", i);
	}
}

static bool count(void *arg, const struct ckpt_hit *hit)
{
	*(size_t *)arg += hit->len > 0;
	return true;
}

static void searches(struct ckpt_look *look)
{
	const struct ckpt_task *task = look->snap->tasks[0];
	uint64_t at = task->pages.run[0].at;
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_search *search;
	unsigned char bytes[16];
	size_t n = 0;

	is(ckpt_look_read(look, task, at, bytes, sizeof(bytes), &err), 0, "bytes are read");
	is(ckpt_search_bytes(&search, arena, bytes, sizeof(bytes), &err), 0, "to be looked for");
	is(ckpt_search_run(look, search, task, NULL, count, &n, &err), 0, "a search");
	ok(n > 0, "finds them: %zu", n);
	is(ckpt_search_hex(&search, arena, "0", &err), -EINVAL, "half a byte");
	is(ckpt_search_hex(&search, arena, "", &err), -EINVAL, "no byte");
	is(ckpt_search_regex(&search, arena, "(", &err), -EINVAL, "half an expression");
	is(ckpt_look_read(look, task, 16, bytes, 1, &err), -EFAULT, "what is not mapped");
	is(err.number, CKPT_E_NOT_READABLE, "has a code");
}

static void image(struct ckpt_snapshot *snap, const char *what)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_look *look = NULL;
	char name[32];
	int dirfd = sample_folder(name);

	is(sample_write(arena, snap, dirfd, &err), 0, what);
	is(ckpt_look_open(&look, arena, dirfd, name, &err), 0, "is opened");
	if (look) {
		pieces(look);
		searches(look);
		ok(!ckpt_look_process(look, 4000000, &err) && err.number == CKPT_E_NOT_IN_IMAGE,
		   "a process that is not there");
	}
	ckpt_look_close(look);
	sample_folder_remove(dirfd, name);
}

static void tables(void)
{
	static const struct ckpt_column columns[] = { { "n", CKPT_CELL_NUMBER },
						      { "empty", CKPT_CELL_TEXT },
						      { "text", CKPT_CELL_TEXT } };
	struct ckpt_table t;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	struct ckpt_row *row;

	ckpt_table_init(&t, arena, "t", columns, 3);
	row = ckpt_table_add(&t);
	ckpt_row_number(row, 0, 7);
	ckpt_row_text(row, 2, "a\x1b[31m");
	ckpt_table_print(&t, out);
	fputc('|', out);
	ckpt_html("<b a=\"1\">&\x1b", out);
	fclose(out);
	is_text(text, "n  text\n7  a\\x1b[31m\n|&lt;b a=&quot;1&quot;&gt;&amp;\\x1b",
		"columns that are empty are left out, nothing raw gets through");
	free(text);
}

static void build_ids(void)
{
	uint8_t id[CKPT_BUILD_ID_MAX], noise[4096];
	int fd = memfd_create("noise", 0);

	is(ckpt_build_id(fd, id), 0, "an empty file has no build-id");
	for (int round = 0; round < 2000; round++) {
		for (size_t i = 0; i < sizeof(noise); i++)
			noise[i] = random();
		memcpy(noise,
		       "\x7f"
		       "ELF\2",
		       5);
		noise[32] = 64;
		memset(noise + 33, 0, 7);
		memcpy(noise + 54, (uint16_t[]){ 56, 9 }, 4);
		if (pwrite(fd, noise, sizeof(noise), 0) != sizeof(noise))
			break;
		if (ckpt_build_id(fd, id) > sizeof(id))
			break;
		if (round == 1999)
			ok(true, "2000 files of noise");
	}
	close(fd);
}

int main(void)
{
	struct ckpt_err err = CKPT_ERR_INIT;

	if (ckpt_arena_open(&arena, 1ul << 30, &err) < 0)
		return 1;
	image(sample_small(arena), "a small image");
	image(sample_full(arena), "an image of everything");
	tables();
	build_ids();
	ckpt_arena_close(arena);
	return tap_end();
}
