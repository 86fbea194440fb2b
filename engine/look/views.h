/* SPDX-License-Identifier: Apache-2.0 */
/* What is in an image, from several sides. Each view is a table; TASK NULL: of all processes. The
 * columns are documented in ckpt-show(1): they are added to, never changed. */
#pragma once
#include "engine/look/look.h"
#include "engine/look/table.h"

struct ckpt_view {
	const char *name;
	void (*fill)(struct ckpt_look *look, const struct ckpt_task *task, struct ckpt_table *t);
};
/* tree, files, memory, sockets, stats. */
enum { CKPT_VIEW_TREE, CKPT_VIEW_FILES, CKPT_VIEW_MEMORY, CKPT_VIEW_SOCKETS, CKPT_VIEW_STATS };
#define CKPT_N_VIEWS 5
extern const struct ckpt_view ckpt_views[CKPT_N_VIEWS];

void ckpt_view_tree(struct ckpt_look *look, const struct ckpt_task *task, struct ckpt_table *t);
void ckpt_view_files(struct ckpt_look *look, const struct ckpt_task *task, struct ckpt_table *t);
void ckpt_view_memory(struct ckpt_look *look, const struct ckpt_task *task, struct ckpt_table *t);
void ckpt_view_sockets(struct ckpt_look *look, const struct ckpt_task *task, struct ckpt_table *t);
void ckpt_view_stats(struct ckpt_look *look, const struct ckpt_task *task, struct ckpt_table *t);

/* A screen: when, where, by whom, how much, the tree, files that are not plain ones, what was lost.
 */
void ckpt_view_summary(struct ckpt_look *look, FILE *out);

/* The command line, blanks between the words; [name] where it cannot be read. In the arena. */
const char *ckpt_view_command(struct ckpt_look *look, const struct ckpt_task *task);
/* Bytes of all runs, and of those from START to END. */
uint64_t ckpt_view_stored(const struct ckpt_pages *pages);
uint64_t ckpt_view_stored_in(const struct ckpt_pages *pages, uint64_t start, uint64_t end);
uint64_t ckpt_view_mapped(const struct ckpt_task *task);
const char *ckpt_view_state(const struct ckpt_task *task);
/* The fields of a message on one line, without its name; in the arena. */
const char *ckpt_view_message(struct ckpt_arena *arena, const ProtobufCMessage *msg);
bool ckpt_view_is_socket(const struct ckpt_object *obj);
