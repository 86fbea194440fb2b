/* SPDX-License-Identifier: Apache-2.0 */
/* The collecting half of engine/kinds/unix.c. */
#pragma once
#include "engine/capture/collect.h"
#include "proto/unix.pb-c.h"

int ckpt_unix_collect(struct ckpt_collect *c, Ckpt__Unix *m, struct ckpt_err *err);
