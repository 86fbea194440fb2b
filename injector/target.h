/* SPDX-License-Identifier: Apache-2.0 */
/* Can a process be dumped from outside at all? */
#pragma once
#include <stddef.h>
#include <sys/types.h>
#include "engine/base/err.h"

/* Refuses what does not exist, threads, kernel threads, zombies, ckpt itself and its ancestors,
 * what is traced already and what this user may not trace. Stops nothing. */
int ckpt_target_check(pid_t pid, struct ckpt_err *err);
/* Its /proc/PID/status, where PID is a process. SIZE as of ckpt_proc_read(). */
int ckpt_target_status(pid_t pid, char *status, size_t size, struct ckpt_err *err);
/* CODE has been the answer to tracing thread TID, which nobody else does. Says what stands against
 * it as far as that can be seen; WHO: "process", "thread". */
int ckpt_target_forbidden(const char *who, pid_t tid, int code, struct ckpt_err *err);
/* The main thread, or where that has ended while others go on, one of these. */
pid_t ckpt_target_acts(pid_t pid);
/* Of that only: ckpt itself must not be part of the tree. */
int ckpt_target_check_self(pid_t pid, struct ckpt_err *err);
