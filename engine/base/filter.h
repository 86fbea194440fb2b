/* SPDX-License-Identifier: Apache-2.0 */
/* Filters of seccomp(2): what they are, and what one would answer to a system call, which has to be
 * known before a thread that has it is made to run one. */
#pragma once
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ckpt_filter {
	const struct sock_filter *prog;
	size_t n;
	bool log; /* SECCOMP_FILTER_FLAG_LOG */
};

/* SECCOMP_RET_*: as the kernel would have it; one that it would not have taken kills. */
uint32_t ckpt_filter_answer(const struct ckpt_filter *f, const struct seccomp_data *data);
/* Would the kernel take it? */
bool ckpt_filter_sane(const struct ckpt_filter *f);
/* May it answer with SECCOMP_RET_USER_NOTIF? True if that cannot be told. */
bool ckpt_filter_may_notify(const struct ckpt_filter *f);
bool ckpt_filter_same(const struct ckpt_filter *a, const struct ckpt_filter *b);
