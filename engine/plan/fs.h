/* SPDX-License-Identifier: Apache-2.0 */
/* What a working directory, a root and a umask need here, and the calls that set them. */
#pragma once
#include "engine/plan/plan.h"
#include "proto/fs.pb-c.h"

/* Are they there, and may we use them? An error: the message is none. */
int ckpt_fs_plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err);
/* Root and umask, which do not move the working directory. */
void ckpt_fs_emit(struct ckpt_planner *p, enum ckpt_when when, const Ckpt__Fs *m);
