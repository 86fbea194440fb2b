/* SPDX-License-Identifier: Apache-2.0 */
/* An image on one screen. */
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include "engine/base/text.h"
#include "engine/look/extract.h"
#include "engine/look/views.h"
#include "engine/model/escape.h"
#include "engine/model/reflect.h"

#define TREE_MAX 30 /* processes that are listed */
#define COMMAND_MAX 70
#define LOST_MAX 10
#define FILES_MAX 12

static void show_origin(const struct ckpt_look *look, FILE *out)
{
	const Ckpt__Inventory *inv = look->snap->inventory;
	time_t seconds = inv->time_ns / 1000000000;
	char when[40] = "at an unknown time";
	struct tm tm;

	if (inv->has_time_ns && gmtime_r(&seconds, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", &tm);
	fprintf(out, "dumped    %s", when);
	if (inv->has_uid)
		fprintf(out, " by uid %u", inv->uid);
	fprintf(out, ", ckpt ");
	ckpt_print_escaped(out, inv->ckpt_version ? inv->ckpt_version : "?");
	if (inv->has_frozen_ns)
		fprintf(out, ", frozen for %.1f ms", inv->frozen_ns / 1e6);
	fprintf(out, "\non        ");
	ckpt_print_escaped(out, inv->hostname ? inv->hostname : "?");
	fprintf(out, ", Linux ");
	ckpt_print_escaped(out, inv->kernel ? inv->kernel : "?");
	fprintf(out, " ");
	ckpt_print_escaped(out, inv->machine ? inv->machine : "");
	fprintf(out, "\n");
}

/* What a processor needs for the registers that were in use. */
static void show_cpu(const struct ckpt_look *look, FILE *out)
{
	static const char *const names[] = { "x87",    "sse",    "avx",    "mpx", "mpx",
					     "avx512", "avx512", "avx512", "pt",  "pkru",
					     "pasid",  "cet",    "cet",    "hdc", "uintr",
					     "lbr",    "hwp",    "amx",    "amx" };
	uint64_t features = look->snap->inventory->xfeatures;
	const char *last = "";

	fprintf(out, "needs     registers:");
	for (unsigned int i = 0; i < 64; i++) {
		if (!(features >> i & 1))
			continue;
		if (i >= sizeof(names) / sizeof(names[0]))
			fprintf(out, " component-%u", i);
		else if (strcmp(names[i], last))
			fprintf(out, " %s", last = names[i]);
	}
	fprintf(out, "\n");
}

static void show_sizes(struct ckpt_look *look, FILE *out)
{
	const struct ckpt_snapshot *snap = look->snap;
	uint64_t mapped = 0, stored = 0, threads = 0, fds = 0, given_up;
	char a[32], b[32], c[32];

	for (size_t i = 0; i < snap->n_tasks; i++) {
		mapped += ckpt_view_mapped(snap->tasks[i]);
		stored += ckpt_view_stored(&snap->tasks[i]->pages);
		threads += snap->tasks[i]->n_threads;
		fds += snap->tasks[i]->n_fds;
	}
	for (size_t i = 0; i < snap->n_objects; i++)
		stored += ckpt_view_stored(&snap->objects[i]->content);
	fprintf(out,
		"holds     %zu process%s, %" PRIu64 " thread%s, %" PRIu64
		" descriptor%s; %s of memory, %s of it stored\n",
		snap->n_tasks, snap->n_tasks == 1 ? "" : "es", threads, threads == 1 ? "" : "s",
		fds, fds == 1 ? "" : "s", ckpt_size_text(mapped, a), ckpt_size_text(stored, b));
	fprintf(out, "image     %s, content id %016" PRIx64 "\n",
		ckpt_size_text(ckpt_image_bytes(look->img), c), ckpt_image_content_id(look->img));
	for (const struct ckpt_image *img = ckpt_image_parent(look->img); img;
	     img = ckpt_image_parent(img)) {
		fprintf(out, "on top of ");
		ckpt_print_escaped(out, ckpt_image_folder(img));
		fprintf(out, ": %s, content id %016" PRIx64,
			ckpt_size_text(ckpt_image_bytes(img), c), ckpt_image_content_id(img));
		given_up = ckpt_image_given_up(img, NULL);
		if (given_up)
			fprintf(out, ", %s of it given up", ckpt_size_text(given_up, c));
		fprintf(out, "\n");
	}
}

static void show_tree(struct ckpt_look *look, FILE *out)
{
	struct ckpt_table t;
	size_t n;

	ckpt_view_tree(look, NULL, &t);
	n = t.n;
	t.n = n < TREE_MAX ? n : TREE_MAX;
	for (size_t i = 0; i < t.n; i++) {
		struct ckpt_cell *last = &t.rows[i]->cell[t.n_columns - 1];
		char cut[COMMAND_MAX + 1];

		snprintf(cut, sizeof(cut), "%s", last->text);
		last->text = ckpt_strdup(look->arena, cut);
	}
	fprintf(out, "\n");
	ckpt_table_print(&t, out);
	if (n > TREE_MAX)
		fprintf(out, "... and %zu more: --tree\n", n - TREE_MAX);
}

/* Descriptors that are more than the name of a file. */
static bool is_plain(const struct ckpt_look *look, const struct ckpt_object *obj)
{
	uint64_t bytes;

	return ckpt_field_text(obj->msg, "path") && !ckpt_view_is_socket(obj) &&
	       !ckpt_object_holds(look, obj, &bytes);
}

static void show_files(struct ckpt_look *look, FILE *out)
{
	struct ckpt_table t;
	size_t kept = 0, more = 0;

	ckpt_view_files(look, NULL, &t);
	for (size_t i = 0, task = 0, fd = 0; i < t.n; i++, fd++) {
		const struct ckpt_task *owner;

		/* Rows are in the order of processes and their descriptors. */
		while (fd >= look->snap->tasks[task]->n_fds) {
			task++;
			fd = 0;
		}
		owner = look->snap->tasks[task];
		if (is_plain(look, look->snap->objects[owner->fds[fd].object - 1]))
			continue;
		if (kept < FILES_MAX)
			t.rows[kept++] = t.rows[i];
		else
			more++;
	}
	t.n = kept;
	if (kept)
		fprintf(out, "\n");
	ckpt_table_print(&t, out);
	if (more)
		fprintf(out, "... and %zu more that are not plain files: --files\n", more);
}

void ckpt_view_summary(struct ckpt_look *look, FILE *out)
{
	const struct ckpt_snapshot *snap = look->snap;

	show_origin(look, out);
	show_cpu(look, out);
	show_sizes(look, out);
	for (size_t i = 0; i < snap->n_lost && i < LOST_MAX; i++) {
		fprintf(out, "lost      ");
		ckpt_print_escaped(out, snap->lost[i]);
		fprintf(out, "\n");
	}
	if (snap->n_lost > LOST_MAX)
		fprintf(out, "lost      ... and %zu more: --raw\n", snap->n_lost - LOST_MAX);
	show_tree(look, out);
	show_files(look, out);
}
