/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A libFuzzer target: images as hostile input. The input is the number of pages in two bytes and a
 * list of record bodies, each after its length in two bytes; framing, checksums and trailer are
 * made here, or the fuzzer would never get past them. What opens is loaded and planned. With
 * -DSTANDALONE it is a program instead: it turns an image into an input (for the corpus), or runs
 * inputs.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/look/core.h"
#include "engine/look/diff.h"
#include "engine/look/extract.h"
#include "engine/look/report.h"
#include "engine/look/search.h"
#include "engine/look/stacks.h"
#include "engine/look/views.h"
#include "engine/plan/plan.h"
#include "engine/store/image.h"
#include "engine/store/record.h"
#include "tests/fuzz/framing.h"

#define ARENA_MOST (256ul << 20)

static bool no_hit(void *arg, const struct ckpt_hit *hit)
{
	(void)arg;
	return hit->len > 0;
}

/* Every command that looks into an image; what they print goes nowhere. */
static void look_into(struct ckpt_look *look, FILE *out)
{
	struct ckpt_sink sink = { .stream = out };
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_search *search;
	struct ckpt_stacks stacks;
	struct ckpt_table table;

	ckpt_view_summary(look, out);
	for (size_t i = 0; i < CKPT_N_VIEWS; i++) {
		ckpt_views[i].fill(look, NULL, &table);
		ckpt_table_print(&table, out);
		ckpt_table_html(&table, out);
	}
	ckpt_stacks_make(look, NULL, &stacks);
	ckpt_stacks_print(&stacks, out);
	ckpt_diff(look, look, &table, &err);
	for (size_t i = 0; i < look->snap->n_objects; i++)
		if (look->snap->objects[i]->content_size < 1 << 20)
			ckpt_extract_object(look, look->snap->objects[i], &sink, &err);
	if (ckpt_search_bytes(&search, look->arena, "needle", 6, &err) < 0)
		abort();
	for (size_t i = 0; i < look->snap->n_tasks; i++) {
		const struct ckpt_task *task = look->snap->tasks[i];
		unsigned char *notes;
		size_t len;

		if (!task->mm)
			continue;
		ckpt_core_notes(look, task, &notes, &len);
		ckpt_report_picture(look, task, out);
		ckpt_search_run(look, search, task, NULL, no_hit, NULL, &err);
	}
}

static void look_at(int dirfd)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	FILE *out = fopen("/dev/null", "w");
	struct ckpt_arena *arena;
	struct ckpt_look *look;

	if (!out || ckpt_arena_open(&arena, ARENA_MOST, &err) < 0)
		abort();
	if (ckpt_look_open(&look, arena, dirfd, "fuzz", &err) >= 0) {
		look_into(look, out);
		ckpt_look_close(look);
	}
	ckpt_arena_close(arena);
	fclose(out);
}

static void take(int dirfd)
{
	struct ckpt_restore_opts opts = { 0 };
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_arena *arena;
	struct ckpt_snapshot *snap;
	struct ckpt_image *img;
	struct ckpt_plan *plan;

	if (ckpt_arena_open(&arena, ARENA_MOST, &err) < 0)
		abort();
	if (ckpt_image_open(&img, arena, dirfd, "fuzz", &err) >= 0) {
		if (ckpt_image_load(img, &snap, &err) >= 0)
			ckpt_plan_make(&plan, arena, snap, NULL, &opts, &err);
		ckpt_image_close(img);
	}
	ckpt_arena_close(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int dirfd = fuzz_folder(), fd;
	off_t pages;

	if (size < 2)
		return 0;
	pages = (data[0] | data[1] << 8) * 4096l;
	unlinkat(dirfd, CKPT_PAGES_NAME, 0);
	fd = pages ? openat(dirfd, CKPT_PAGES_NAME, O_CREAT | O_WRONLY, 0600) : -1;
	if (fd >= 0 && ftruncate(fd, pages) < 0)
		abort();
	if (fd >= 0)
		close(fd);
	fd = openat(dirfd, CKPT_IMAGE_NAME, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	put_image(fd, CKPT_IMAGE_FORMAT, data + 2, size - 2, NULL, NULL);
	close(fd);
	take(dirfd);
	look_at(dirfd);
	return 0;
}

#ifdef STANDALONE
/* The number of pages, all records but the trailer. */
static void to_input(const char *path, const char *pages_path)
{
	struct stat st = { 0 };

	stat(pages_path, &st);
	put(1, &(uint16_t){ st.st_size / 4096 }, 2);
	put_input(1, path, 65535);
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "--input")) {
		to_input(argv[2], argv[3]);
		return 0;
	}
	return run_inputs(argc, argv);
}
#endif
