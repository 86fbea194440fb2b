/* SPDX-License-Identifier: Apache-2.0 */
/* Operations of a source that is the calling process, and its children: for unit tests. */
#pragma once
#include "engine/capture/source.h"

int self_open_proc(struct ckpt_source *src, pid_t tid, const char *name, struct ckpt_err *err);
int self_read_link(struct ckpt_source *src, pid_t tid, const char *name, char *buf, size_t size,
		   struct ckpt_err *err);
/* Children have what we have at the same addresses: asking about our memory is asking about what
 * they share. */
int self_call(struct ckpt_source *src, pid_t tid, struct ckpt_call *c, struct ckpt_err *err);
