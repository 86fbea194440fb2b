/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to sock_diag(7), which knows more of a socket than who has it open may ask. */
#pragma once
#include <linux/netlink.h>
#include <stddef.h>

/*
 * Sends the LEN bytes of the message ASK and calls TAKE for each message of the answer, until it
 * returns something other than 0, which is what is returned then. -ENOENT: nothing more is told;
 * else the kernel's own negative errno.
 */
int ckpt_diag_ask(const void *ask, size_t len, int (*take)(void *arg, const struct nlmsghdr *h),
		  void *arg);

/* The one at *ATP, which goes on to the next; NULL: there is none. */
const struct nlattr *ckpt_diag_attribute(const struct nlmsghdr *h, size_t *atp);

static inline size_t ckpt_diag_size(const struct nlattr *a)
{
	return a->nla_len - sizeof(*a);
}
