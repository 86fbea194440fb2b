/* SPDX-License-Identifier: Apache-2.0 */
/* Netlink sockets: their port, groups and options; what they hold is refused by name. */
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include "tests/lib/case.h"

static int fd, idle;
static uint32_t port;
static char buf[65536];

static void setup(void)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_NEIGH };
	socklen_t len = sizeof(a);
	int group = RTNLGRP_IPV4_RULE, on = 1;

	fd = CHECK_CALL(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
	CHECK_CALL(bind(fd, (struct sockaddr *)&a, len));
	CHECK_CALL(setsockopt(fd, 270, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)));
	CHECK_CALL(setsockopt(fd, 270, NETLINK_EXT_ACK, &on, sizeof(on)));
	CHECK_CALL(getsockname(fd, (struct sockaddr *)&a, &len));
	port = a.nl_pid;
	idle = CHECK_CALL(socket(AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE));
}

static void ask(int s)
{
	struct {
		struct nlmsghdr h;
		struct rtgenmsg g;
	} m = { { sizeof(m), RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0 }, { AF_UNSPEC } };

	CHECK_INT(send(s, &m, sizeof(m), 0), sizeof(m));
}

static void check(void)
{
	struct sockaddr_nl a;
	socklen_t len = sizeof(a);
	uint32_t bits[8] = { 0 };
	int on = 0;

	CHECK_CALL(getsockname(fd, (struct sockaddr *)&a, &len));
	CHECK_INT(a.nl_pid, port);
	CHECK(a.nl_groups & RTMGRP_NEIGH);
	len = sizeof(bits);
	CHECK_CALL(getsockopt(fd, 270, NETLINK_LIST_MEMBERSHIPS, bits, &len));
	CHECK(bits[0] >> (RTNLGRP_IPV4_RULE - 1) & 1);
	CHECK(bits[0] >> (RTNLGRP_NEIGH - 1) & 1);
	len = sizeof(on);
	CHECK_CALL(getsockopt(fd, 270, NETLINK_EXT_ACK, &on, &len));
	CHECK_INT(on, 1);
	ask(fd);
	CHECK(recv(fd, buf, sizeof(buf), 0) > (ssize_t)sizeof(struct nlmsghdr));
	ask(idle);
	CHECK(recv(idle, buf, sizeof(buf), 0) > (ssize_t)sizeof(struct nlmsghdr));
}

static void setup_unread(void)
{
	setup();
	ask(idle);
}

static void check_unread(void)
{
	CHECK(recv(idle, buf, sizeof(buf), MSG_DONTWAIT) > 0);
}

CASES({ "port, groups and options stay", setup, check },
      { "messages that nobody has read are refused by name", setup_unread, check_unread,
	.refused = { "CKPT-E0201", "netlink socket: it holds messages" } })
