/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes of an answer of sock_diag(7). */
#pragma once
#include <linux/netlink.h>
#include <stddef.h>

/* The one at *ATP, which goes on to the next; NULL: there is none. */
static inline const struct nlattr *ckpt_diag_attribute(const struct nlmsghdr *h, size_t *atp)
{
	const struct nlattr *a = (const void *)((const char *)h + *atp);

	if (*atp + sizeof(*a) > h->nlmsg_len || a->nla_len < sizeof(*a) ||
	    *atp + a->nla_len > h->nlmsg_len)
		return NULL;
	*atp += NLA_ALIGN(a->nla_len);
	return a;
}

static inline size_t ckpt_diag_size(const struct nlattr *a)
{
	return a->nla_len - sizeof(*a);
}
