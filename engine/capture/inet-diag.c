/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All sockets of a port are asked for: one alone would have to be asked for by its addresses. Those
 * of TCP that are bound and nothing more are a state of their own, where the port is no filter.
 */
#include "engine/capture/inet-diag.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <stdbool.h>
#include <stddef.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "engine/base/cleanup.h"
#include "engine/capture/diag.h"

#define BOUND (1u << 13) /* TCPF_BOUND_INACTIVE, Linux 6.8 */
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14 */
#endif

static int shutdown_of(const struct nlmsghdr *h)
{
	size_t at = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct inet_diag_msg));
	const struct nlattr *a;

	while ((a = ckpt_diag_attribute(h, &at)))
		if ((a->nla_type & NLA_TYPE_MASK) == INET_DIAG_SHUTDOWN && ckpt_diag_size(a))
			return *(const uint8_t *)(a + 1);
	return -EOPNOTSUPP;
}

struct look {
	uint32_t ino;
	int shutdown;
};

static int take(void *arg, const struct nlmsghdr *h)
{
	const struct inet_diag_msg *m = NLMSG_DATA(h);
	struct look *look = arg;

	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)) || m->idiag_inode != look->ino)
		return 0;
	look->shutdown = shutdown_of(h);
	return 1;
}

static int ask(int domain, int protocol, uint32_t states, uint16_t port, ino_t ino)
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
		       .idiag_states = states,
		       .id = { .idiag_sport = htons(port) } },
	};
	struct look look = { .ino = ino };
	int r = ckpt_diag_ask(&ask, sizeof(ask), take, &look);

	return r < 0 ? r : look.shutdown;
}

int ckpt_udp_shutdown(int domain, int protocol, uint16_t port, ino_t ino)
{
	return ask(domain, protocol, ~0u, port, ino);
}

static bool same_network(int a, int b)
{
	uint64_t x = 0, y = 0;
	socklen_t len = sizeof(x);

	return getsockopt(a, SOL_SOCKET, SO_NETNS_COOKIE, &x, &len) == 0 &&
	       getsockopt(b, SOL_SOCKET, SO_NETNS_COOKIE, &y, &len) == 0 && x == y;
}

/* A socket that is bound for the purpose tells whether such are listed at all. */
bool ckpt_tcp_has_no_port(int fd, int domain, ino_t ino)
{
	const struct sockaddr_in6 any = { .sin6_family = domain };
	CKPT_FD mine = socket(domain, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	struct stat st;

	return mine >= 0 && same_network(fd, mine) && ask(domain, IPPROTO_TCP, BOUND, 0, ino) < 0 &&
	       bind(mine, (const struct sockaddr *)&any, sizeof(any)) == 0 &&
	       fstat(mine, &st) == 0 && ask(domain, IPPROTO_TCP, BOUND, 0, st.st_ino) >= 0;
}
