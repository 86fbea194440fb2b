/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel makes the entries of /proc/PID when they are first looked up: that is done before the
 * tree stands still. */
#pragma once
#include <sys/types.h>
#include "engine/capture/helper.h"

struct ckpt_warm {
	struct ckpt_job job;
	pid_t pid;
};

/* Begins to look at the descriptors of PID. Nothing can fail. W is borrowed until it has been
 * waited for. */
void ckpt_warm_start(struct ckpt_warm *w, struct ckpt_helper *helper, pid_t pid);
