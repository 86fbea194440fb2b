/* SPDX-License-Identifier: Apache-2.0 */
/* Processes of ours that a thread of the target may look at, so that it can be tried. */
#pragma once
#include <sys/types.h>
#include "engine/base/creds.h"
#include "engine/capture/collect.h"

/* One that a thread with CREDS may look at as far as users and capabilities go; 0: there is none to
 * be had. It is there until the capture ends. */
pid_t ckpt_witness(struct ckpt_collect *c, const struct ckpt_creds *creds);
/* Before the freeze, since making one takes its time: one for the root of the tree. */
void ckpt_witness_ahead(struct ckpt_capture *c);
void ckpt_witness_end(struct ckpt_capture *c);
