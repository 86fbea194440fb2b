/* SPDX-License-Identifier: Apache-2.0 */
/* Signals that ask us to stop: blocked, and looked at between steps, so that none ends us half-way.
 */
#pragma once
#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>
#include "engine/base/err.h"

struct ckpt_stops {
	sigset_t watched, old_mask;
};

/* What we ignore already (nohup) stays without effect. */
void ckpt_stops_block(struct ckpt_stops *s);
/* The one that came, or 0. */
int ckpt_stops_pending(const struct ckpt_stops *s);
/* The same as a failure of WHAT with process PID: -ECANCELED. */
int ckpt_stops_check(const struct ckpt_stops *s, pid_t pid, const char *what, struct ckpt_err *err);
/* REPORTED: what came does not end us as well: it has had its effect, or something else has failed,
 * which is to be said. */
void ckpt_stops_unblock(struct ckpt_stops *s, bool reported);
