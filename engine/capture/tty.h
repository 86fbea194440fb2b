/* SPDX-License-Identifier: Apache-2.0 */
/* The collecting half of engine/kinds/tty.c. */
#pragma once
#include "engine/capture/collect.h"
#include "proto/tty.pb-c.h"

int ckpt_tty_collect(struct ckpt_collect *c, Ckpt__Tty *t, struct ckpt_err *err);

struct ckpt_tty_use {
	int64_t session, device, foreground; /* device 0: the session has no terminal */
};
/* What /proc/PID/stat says of the terminal of c's task. */
int ckpt_tty_use(struct ckpt_collect *c, struct ckpt_tty_use *use, struct ckpt_err *err);
