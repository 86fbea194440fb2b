/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of named columns: what is shown as text, as JSON and as HTML, from one description. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "engine/base/arena.h"

struct json_object;

enum ckpt_cell_type {
	CKPT_CELL_NUMBER,
	CKPT_CELL_HEX,
	CKPT_CELL_BYTES, /* a size */
	CKPT_CELL_TEXT,  /* may be hostile: escaped when it is shown */
};

struct ckpt_column {
	const char *key; /* in JSON, and the heading */
	enum ckpt_cell_type type;
};

struct ckpt_cell {
	bool set;
	uint64_t n;
	const char *text;
};

#define CKPT_COLUMNS_MAX 16

struct ckpt_row {
	unsigned int indent; /* of its last column, as text */
	struct ckpt_cell cell[CKPT_COLUMNS_MAX];
};

struct ckpt_table {
	struct ckpt_arena *arena;
	const char *name;
	const struct ckpt_column *columns;
	size_t n_columns;
	struct ckpt_row **rows;
	size_t n, room;
};

void ckpt_table_init(struct ckpt_table *t, struct ckpt_arena *arena, const char *name,
		     const struct ckpt_column *columns, size_t n_columns);
/* A new row, all of it empty. */
struct ckpt_row *ckpt_table_add(struct ckpt_table *t);
/* Column I of ROW. TEXT NULL: stays empty. */
void ckpt_row_number(struct ckpt_row *row, unsigned int i, uint64_t n);
void ckpt_row_text(struct ckpt_row *row, unsigned int i, const char *text);

/* Aligned, with a heading; columns that are empty throughout are left out. */
void ckpt_table_print(const struct ckpt_table *t, FILE *out);
/* A list of objects; empty cells are absent. */
struct json_object *ckpt_table_json(const struct ckpt_table *t);
void ckpt_table_html(const struct ckpt_table *t, FILE *out);
/* What was printed for a terminal, nothing but lines and tame characters, as HTML. */
void ckpt_html_printed(const char *text, FILE *out);
/* TEXT as HTML: control characters escaped as for a terminal, then <, >, & and quotes. */
void ckpt_html(const char *text, FILE *out);
/* What a cell says, in BUF or elsewhere; "" if it is empty. */
const char *ckpt_cell_text(const struct ckpt_column *column, const struct ckpt_cell *cell,
			   char *buf, size_t size);
