/* SPDX-License-Identifier: Apache-2.0 */
/* Memory policies of areas; private to engine/capture. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "engine/base/err.h"

struct ckpt_capture;
struct ckpt_capture_task;

struct ckpt_policy {
	uint32_t mode; /* MPOL_*, with MPOL_F_* */
	uint8_t nodes[128];
};

/* What stands behind the address in a line of numa_maps. */
bool ckpt_numa_parse(const char *s, struct ckpt_policy *p);
/* Has the machine more than one node? Looked up once. */
bool ckpt_numa_many_nodes(struct ckpt_capture *c);
/* Begins to read, where there is more than one node. */
void ckpt_numa_start(struct ckpt_capture *c, struct ckpt_capture_task *t);
/* Puts them into the areas, which have been filled in. */
int ckpt_numa_take(struct ckpt_capture *c, struct ckpt_capture_task *t, struct ckpt_err *err);
/* Gives back what was started. */
void ckpt_numa_end(struct ckpt_capture_task *t);
