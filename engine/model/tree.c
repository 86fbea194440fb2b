/* SPDX-License-Identifier: Apache-2.0 */
/* First child and next sibling, without recursion: a tree may be as deep as there are tasks. */
#include <stdlib.h>
#include "engine/base/cleanup.h"
#include "engine/model/snapshot.h"

const struct ckpt_task **ckpt_snapshot_tree(const struct ckpt_snapshot *snap)
{
	size_t n = snap->n_tasks + 1, done = 0;
	CKPT_FREE uint32_t *first = calloc(2 * n, sizeof(*first));
	const struct ckpt_task **order = first ? calloc(n, sizeof(*order)) : NULL;
	uint32_t *next = first + n, at = 1;

	if (!order)
		return NULL;
	for (uint32_t i = snap->n_tasks; i >= 2; i--) {
		uint32_t parent = snap->tasks[i - 1]->parent;

		next[i] = first[parent];
		first[parent] = i;
	}
	while (at) {
		order[done++] = snap->tasks[at - 1];
		if (first[at]) {
			at = first[at];
			continue;
		}
		while (at && !next[at])
			at = snap->tasks[at - 1]->parent;
		at = at ? next[at] : 0;
	}
	return order;
}
