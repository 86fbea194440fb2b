/* SPDX-License-Identifier: Apache-2.0 */
/* Tables: built once, shown in three ways. */
#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>
#include "engine/base/text.h"
#include "engine/look/table.h"
#include "engine/model/escape.h"
#include "engine/model/show.h"

#define CELL_MAX 4096

void ckpt_table_init(struct ckpt_table *t, struct ckpt_arena *arena, const char *name,
		     const struct ckpt_column *columns, size_t n_columns)
{
	*t = (struct ckpt_table){ .arena = arena,
				  .name = name,
				  .columns = columns,
				  .n_columns = n_columns };
}

struct ckpt_row *ckpt_table_add(struct ckpt_table *t)
{
	t->rows = ckpt_grow(t->arena, t->rows, t->n, &t->room, 32, sizeof(*t->rows));
	t->rows[t->n] = ckpt_new(t->arena, struct ckpt_row);
	return t->rows[t->n++];
}

void ckpt_row_number(struct ckpt_row *row, unsigned int i, uint64_t n)
{
	row->cell[i].set = true;
	row->cell[i].n = n;
}

void ckpt_row_text(struct ckpt_row *row, unsigned int i, const char *text)
{
	row->cell[i].set = text && *text;
	row->cell[i].text = text;
}

const char *ckpt_cell_text(const struct ckpt_column *column, const struct ckpt_cell *cell,
			   char *buf, size_t size)
{
	struct ckpt_text t;

	if (!cell->set)
		return "";
	switch (column->type) {
	case CKPT_CELL_NUMBER:
		snprintf(buf, size, "%" PRIu64, cell->n);
		break;
	case CKPT_CELL_HEX:
		snprintf(buf, size, "%" PRIx64, cell->n);
		break;
	case CKPT_CELL_BYTES:
		return ckpt_size_text(cell->n, buf);
	case CKPT_CELL_TEXT:
		ckpt_text_init(&t, buf, size);
		ckpt_text_escaped(&t, cell->text, strlen(cell->text), 0);
		break;
	}
	return buf;
}

/* 0: empty throughout. */
static void measure(const struct ckpt_table *t, size_t width[CKPT_COLUMNS_MAX])
{
	char buf[CELL_MAX];

	for (size_t c = 0; c < t->n_columns; c++) {
		width[c] = 0;
		for (size_t i = 0; i < t->n; i++) {
			const char *s = ckpt_cell_text(&t->columns[c], &t->rows[i]->cell[c], buf,
						       sizeof(buf));
			size_t n = strlen(s);

			if (t->rows[i]->cell[c].set && n + 1 > width[c])
				width[c] = n + 1;
		}
		if (width[c] && strlen(t->columns[c].key) + 1 > width[c])
			width[c] = strlen(t->columns[c].key) + 1;
	}
}

static void print_cell(const struct ckpt_column *column, const char *s, size_t width, bool last,
		       FILE *out)
{
	int pad = last ? 0 : (int)(width - 1 - strlen(s));

	if (column->type == CKPT_CELL_TEXT)
		fprintf(out, "%s%*s", s, pad, "");
	else
		fprintf(out, "%*s%s", pad, "", s);
}

void ckpt_table_print(const struct ckpt_table *t, FILE *out)
{
	size_t width[CKPT_COLUMNS_MAX], last = 0;
	char buf[CELL_MAX];

	measure(t, width);
	for (size_t c = 0; c < t->n_columns; c++)
		last = width[c] ? c : last;
	for (size_t i = 0; i <= t->n && t->n; i++) {
		const struct ckpt_row *row = i ? t->rows[i - 1] : NULL;

		for (size_t c = 0; c <= last; c++) {
			const char *s = t->columns[c].key;

			if (!width[c])
				continue;
			if (row)
				s = ckpt_cell_text(&t->columns[c], &row->cell[c], buf, sizeof(buf));
			if (row && c == last)
				fprintf(out, "%*s", 2 * (int)row->indent, "");
			print_cell(&t->columns[c], s, width[c], c == last, out);
			fputs(c == last ? "\n" : "  ", out);
		}
	}
}

struct json_object *ckpt_table_json(const struct ckpt_table *t)
{
	struct json_object *all = json_object_new_array();

	for (size_t i = 0; i < t->n; i++) {
		struct json_object *row = json_object_new_object();

		for (size_t c = 0; c < t->n_columns; c++) {
			const struct ckpt_cell *cell = &t->rows[i]->cell[c];

			if (!cell->set)
				continue;
			json_object_object_add(row, t->columns[c].key,
					       t->columns[c].type == CKPT_CELL_TEXT ?
						       ckpt_json_text(cell->text) :
						       json_object_new_uint64(cell->n));
		}
		json_object_array_add(all, row);
	}
	return all;
}

void ckpt_html_printed(const char *text, FILE *out)
{
	for (const char *p = text; *p; p++) {
		if (*p == '<')
			fputs("&lt;", out);
		else if (*p == '>')
			fputs("&gt;", out);
		else if (*p == '&')
			fputs("&amp;", out);
		else if (*p == '"')
			fputs("&quot;", out);
		else
			putc(*p, out);
	}
}

void ckpt_html(const char *text, FILE *out)
{
	char buf[CELL_MAX];
	struct ckpt_text t;

	ckpt_text_init(&t, buf, sizeof(buf));
	ckpt_text_escaped(&t, text, strlen(text), 0);
	ckpt_html_printed(buf, out);
}

void ckpt_table_html(const struct ckpt_table *t, FILE *out)
{
	size_t width[CKPT_COLUMNS_MAX];
	char buf[CELL_MAX];

	measure(t, width);
	fputs("<table><thead><tr>", out);
	for (size_t c = 0; c < t->n_columns; c++)
		if (width[c])
			fprintf(out, "<th>%s</th>", t->columns[c].key);
	fputs("</tr></thead><tbody>\n", out);
	for (size_t i = 0; i < t->n; i++) {
		fputs("<tr>", out);
		for (size_t c = 0; c < t->n_columns; c++) {
			if (!width[c])
				continue;
			fputs(t->columns[c].type == CKPT_CELL_TEXT ? "<td>" : "<td class=n>", out);
			for (unsigned int k = 0; c + 1 == t->n_columns && k < t->rows[i]->indent;
			     k++)
				fputs("&emsp;", out);
			if (t->columns[c].type == CKPT_CELL_TEXT && t->rows[i]->cell[c].set)
				ckpt_html(t->rows[i]->cell[c].text, out);
			else
				fputs(ckpt_cell_text(&t->columns[c], &t->rows[i]->cell[c], buf,
						     sizeof(buf)),
				      out);
			fputs("</td>", out);
		}
		fputs("</tr>\n", out);
	}
	fputs("</tbody></table>\n", out);
}
