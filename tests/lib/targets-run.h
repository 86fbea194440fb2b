/* SPDX-License-Identifier: Apache-2.0 */
/* What the targets themselves are made of. For the files next to this one only. */
#pragma once
#include "tests/lib/targets.h"

void target_bad(const char *what, long is);
void target_good(void);
int64_t target_now(void);

void target_nanosleep(struct target_shared *sh);
void target_nanosleep_rest(struct target_shared *sh);
void target_clock_nanosleep(struct target_shared *sh);
void target_poll(struct target_shared *sh);
void target_epoll(struct target_shared *sh);
void target_sigtimedwait(struct target_shared *sh);
void target_semtimedop(struct target_shared *sh);
void target_futex(struct target_shared *sh);
void target_receive(struct target_shared *sh);
void target_pipe(struct target_shared *sh);
