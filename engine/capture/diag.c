/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/sock_diag.h>
#include <stdbool.h>
#include <sys/socket.h>
#include "engine/base/cleanup.h"
#include "engine/capture/diag.h"

#define ROOM 32768 /* what the kernel tells at once at most */

static int error_of(const struct nlmsghdr *h)
{
	const struct nlmsgerr *e = NLMSG_DATA(h);

	return h->nlmsg_len >= NLMSG_LENGTH(sizeof(*e)) && e->error < 0 ? e->error : -EBADMSG;
}

int ckpt_diag_ask(const void *ask, size_t len, int (*take)(void *arg, const struct nlmsghdr *h),
		  void *arg)
{
	CKPT_FD fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	bool all = ((const struct nlmsghdr *)ask)->nlmsg_flags & NLM_F_DUMP;
	union {
		struct nlmsghdr h;
		char room[ROOM];
	} answer;

	if (fd < 0 || send(fd, ask, len, 0) < 0)
		return -errno;
	do {
		ssize_t got = recv(fd, &answer, sizeof(answer), 0);
		const struct nlmsghdr *h = &answer.h;
		int r = 0;

		if (got <= 0)
			return got < 0 ? -errno : -EBADMSG;
		for (; r == 0 && NLMSG_OK(h, got); h = NLMSG_NEXT(h, got))
			r = h->nlmsg_type == NLMSG_DONE  ? -ENOENT :
			    h->nlmsg_type == NLMSG_ERROR ? error_of(h) :
							   take(arg, h);
		if (r)
			return r;
	} while (all);
	return -ENOENT;
}

const struct nlattr *ckpt_diag_attribute(const struct nlmsghdr *h, size_t *atp)
{
	const struct nlattr *a = (const void *)((const char *)h + *atp);

	if (*atp + sizeof(*a) > h->nlmsg_len || a->nla_len < sizeof(*a) ||
	    *atp + a->nla_len > h->nlmsg_len)
		return NULL;
	*atp += NLA_ALIGN(a->nla_len);
	return a;
}
