/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages of an address space that are still in the image only. It follows what the program does with
 * the memory: what is unmapped or given back is not wanted any more, what moves is wanted
 * elsewhere.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "engine/model/pages.h"

struct ckpt_absent {
	struct ckpt_run *run; /* by address; malloc */
	size_t n, room;
};

/* False: no memory, nothing has changed. All of them but find. */
bool ckpt_absent_add(struct ckpt_absent *a, struct ckpt_run run); /* behind all that there are */
bool ckpt_absent_drop(struct ckpt_absent *a, uint64_t start, uint64_t end);
bool ckpt_absent_move(struct ckpt_absent *a, uint64_t from, uint64_t to, uint64_t len);
bool ckpt_absent_copy(struct ckpt_absent *to, const struct ckpt_absent *from);
/* The rest of the run from the page at AT on; false: that page is not absent. */
bool ckpt_absent_find(const struct ckpt_absent *a, uint64_t at, struct ckpt_run *restp);
void ckpt_absent_free(struct ckpt_absent *a);
