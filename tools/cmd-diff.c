/* SPDX-License-Identifier: Apache-2.0 */
/* ckpt diff: what changed between two images of a tree. */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include "engine/look/diff.h"
#include "tools/ckpt.h"

static int open_one(struct ckpt_tool *t, const char *dir, struct ckpt_look **lookp)
{
	int r;

	t->opts.images_dir = dir;
	r = ckpt_tool_images(t);
	return r < 0 ? r : ckpt_look_open(lookp, t->arena, t->dirfd, t->opts.images_dir, &t->err);
}

static void print_json(const struct ckpt_table *table)
{
	struct json_object *all = json_object_new_object();

	json_object_object_add(all, table->name, ckpt_table_json(table));
	printf("%s\n", json_object_to_json_string_ext(all, JSON_C_TO_STRING_PRETTY |
								   JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(all);
}

/* "changed descriptor 4711 3: pipe ... -> file ..." */
static void print_text(const struct ckpt_table *table)
{
	char buf[4096];

	for (size_t i = 0; i < table->n; i++) {
		const struct ckpt_cell *cell = table->rows[i]->cell;
		const char *colon = ": ";

		for (size_t c = 0; c < table->n_columns; c++) {
			const char *key = table->columns[c].key;

			if (!cell[c].set)
				continue;
			if (!strcmp(key, "before") || !strcmp(key, "after")) {
				fputs(colon, stdout);
				colon = " -> ";
			} else if (c) {
				putchar(' ');
			}
			fputs(ckpt_cell_text(&table->columns[c], &cell[c], buf, sizeof(buf)),
			      stdout);
			if (!strcmp(key, "pages"))
				fputs(" pages", stdout);
		}
		putchar('\n');
	}
}

static int diff(struct ckpt_tool *t, struct ckpt_look *a, struct ckpt_look *b)
{
	struct ckpt_table table;
	int r = ckpt_diff(a, b, &table, &t->err);

	if (r < 0)
		return r;
	if (t->opts.json)
		print_json(&table);
	else
		print_text(&table);
	return 0;
}

int ckpt_cmd_diff(struct ckpt_tool *t)
{
	struct ckpt_look *a = NULL, *b = NULL;
	int r = open_one(t, t->opts.words[0], &a);

	if (r >= 0)
		r = open_one(t, t->opts.words[1], &b);
	if (r >= 0)
		r = diff(t, a, b);
	ckpt_look_close(b);
	ckpt_look_close(a);
	return r;
}
