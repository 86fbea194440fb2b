/* SPDX-License-Identifier: Apache-2.0 */
/* Working directory, root and umask of a thread, which most share with their process. */
#pragma once
#include "engine/capture/collect.h"
#include "proto/fs.pb-c.h"

/* Of c->tid. */
int ckpt_fs_collect(struct ckpt_collect *c, Ckpt__Fs *m, struct ckpt_err *err);
