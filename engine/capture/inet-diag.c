/* SPDX-License-Identifier: Apache-2.0 */
/* All sockets of a port are asked for: one alone would have to be asked for by its addresses. */
#include "engine/capture/inet-diag.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include "engine/base/cleanup.h"
#include "engine/capture/diag.h"

#define ROOM 32768

static int shutdown_of(const struct nlmsghdr *h)
{
	size_t at = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct inet_diag_msg));
	const struct nlattr *a;

	while ((a = ckpt_diag_attribute(h, &at)))
		if ((a->nla_type & NLA_TYPE_MASK) == INET_DIAG_SHUTDOWN && ckpt_diag_size(a))
			return *(const uint8_t *)(a + 1);
	return -EOPNOTSUPP;
}

/* The messages of N bytes at H. True: *FOUNDP is the answer. */
static bool take_apart(const struct nlmsghdr *h, size_t n, ino_t ino, int *foundp)
{
	for (; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
		const struct inet_diag_msg *m = NLMSG_DATA(h);

		*foundp = -ENOENT;
		if (h->nlmsg_type == NLMSG_DONE)
			return true;
		if (h->nlmsg_type == NLMSG_ERROR && h->nlmsg_len >= NLMSG_LENGTH(sizeof(int)))
			*foundp = ((const struct nlmsgerr *)NLMSG_DATA(h))->error;
		if (h->nlmsg_type == NLMSG_ERROR)
			return true;
		if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)) || m->idiag_inode != (uint32_t)ino)
			continue;
		*foundp = shutdown_of(h);
		return true;
	}
	return false;
}

int ckpt_udp_shutdown(int domain, int protocol, uint16_t port, ino_t ino)
{
	struct {
		struct nlmsghdr h;
		struct inet_diag_req_v2 r;
	} ask = {
		.h = { .nlmsg_len = sizeof(ask),
		       .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.r = { .sdiag_family = domain,
		       .sdiag_protocol = protocol,
		       .idiag_states = ~0u,
		       .id = { .idiag_sport = htons(port) } },
	};
	union {
		struct nlmsghdr h;
		char room[ROOM];
	} answer;
	CKPT_FD fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	int found = -ENOENT;

	if (fd < 0 || send(fd, &ask, sizeof(ask), 0) < 0)
		return -errno;
	for (;;) {
		ssize_t n = recv(fd, &answer, sizeof(answer), 0);

		if (n <= 0)
			return n < 0 ? -errno : -EBADMSG;
		if (take_apart(&answer.h, n, ino, &found))
			return found;
	}
}
