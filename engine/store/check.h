/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the store: parts of the check of a snapshot. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "engine/base/err.h"
#include "engine/model/snapshot.h"

int ckpt_unsound(struct ckpt_err *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3), cold));
bool ckpt_is_file(const struct ckpt_snapshot *snap, uint32_t object);
/* The areas of a task that has an mm, and the runs of its pages. */
int ckpt_check_memory(const struct ckpt_snapshot *snap, const struct ckpt_task *task,
		      uint64_t pages_size, struct ckpt_err *err);
/* The runs of its pages alone. */
int ckpt_check_pages(const struct ckpt_task *task, uint64_t pages_size, struct ckpt_err *err);
int ckpt_check_content(const struct ckpt_object *obj, uint64_t pages_size, struct ckpt_err *err);
