/* SPDX-License-Identifier: Apache-2.0 */
/* Options that every sort of socket has (SOL_SOCKET). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "engine/base/err.h"

struct ckpt_sockopt {
	int option;    /* SO_* */
	int64_t value; /* as the kernel tells it; times in microseconds */
};
#define CKPT_SOCKOPT_MAX 24

/* Those of FD that are not as in a new socket, and always the sizes of its buffers. Returns how
 * many. */
size_t ckpt_sockopt_get(int fd, struct ckpt_sockopt opt[CKPT_SOCKOPT_MAX]);
/* Is it one of those, with a possible value? */
bool ckpt_sockopt_sane(const struct ckpt_sockopt *opt);
/* Makes the options of FD the N in OPT, and all others what they are in a new socket. */
int ckpt_sockopt_set(int fd, const struct ckpt_sockopt *opt, size_t n, struct ckpt_err *err);
/* As much room for sending as we may have. */
void ckpt_sockopt_widen(int fd);
/* Has it a filter, which cannot be kept? */
bool ckpt_sockopt_has_filter(int fd);
