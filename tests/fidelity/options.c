/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All options of a socket: every number of every level is asked, so that none is forgotten. Those
 * whose reading does something are left out.
 */
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "tests/fidelity/oracle.h"
#include "tests/lib/proc.h"

static const struct {
	int domain; /* 0: all */
	int level;
	const char *name;
	int most;
} levels[] = {
	{ 0, SOL_SOCKET, "socket", 90 },      { AF_INET, IPPROTO_IP, "ip", 60 },
	{ AF_INET6, IPPROTO_IP, "ip", 60 },   { AF_INET6, IPPROTO_IPV6, "ipv6", 90 },
	{ AF_INET, IPPROTO_TCP, "tcp", 50 },  { AF_INET6, IPPROTO_TCP, "tcp", 50 },
	{ AF_INET, IPPROTO_UDP, "udp", 110 }, { AF_INET6, IPPROTO_UDP, "udp", 110 },
	{ AF_INET, IPPROTO_RAW, "raw", 10 },  { AF_INET6, IPPROTO_ICMPV6, "icmp6", 10 },
	{ AF_NETLINK, 270, "netlink", 20 },   { AF_PACKET, 263, "packet", 30 },
	{ AF_VSOCK, AF_VSOCK, "vsock", 10 },
};

static const struct {
	int level, option;
	const char *why;
} acting[] = {
	{ SOL_SOCKET, SO_ERROR, "clears the error" },
	{ SOL_SOCKET, 77, "SO_PEERPIDFD (Linux 6.5) opens a descriptor" },
	{ IPPROTO_TCP, 35, "TCP_ZEROCOPY_RECEIVE maps memory" },
	{ IPPROTO_TCP, 26, "TCP_SAVED_SYN frees what it returns" },
	{ 263, 6, "PACKET_STATISTICS sets the counts to zero" },
};

static bool acts(int level, int option)
{
	for (size_t i = 0; i < ARRAY_SIZE(acting); i++)
		if (acting[i].level == level && acting[i].option == option)
			return true;
	return false;
}

static void add_name(struct oracle *o, int fd, pid_t name, int number, const char *what,
		     int (*get)(int, struct sockaddr *, socklen_t *))
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);

	memset(&address, 0, sizeof(address));
	if (get(fd, (struct sockaddr *)&address, &len) == 0)
		oracle_add_bytes(o, &address, len < sizeof(address) ? len : sizeof(address),
				 "%d/open/%d/%s", name, number, what);
}

static int get_name(int fd, struct sockaddr *a, socklen_t *len)
{
	return getsockname(fd, a, len);
}

static int get_peer(int fd, struct sockaddr *a, socklen_t *len)
{
	return getpeername(fd, a, len);
}

void oracle_add_options(struct oracle *o, int fd, pid_t name, int number)
{
	unsigned char value[512];
	socklen_t len = sizeof(int);
	int domain = 0;

	getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len);
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
		if (levels[i].domain && levels[i].domain != domain)
			continue;
		for (int option = 0; option <= levels[i].most; option++) {
			len = sizeof(value);
			memset(value, 0, sizeof(value));
			if (!acts(levels[i].level, option) &&
			    getsockopt(fd, levels[i].level, option, value, &len) == 0)
				oracle_add_bytes(o, value, len < sizeof(value) ? len : 512,
						 "%d/open/%d/option %s %d", name, number,
						 levels[i].name, option);
		}
	}
	len = sizeof(value);
	if (domain == AF_UNIX && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, &len) == 0)
		oracle_add_bytes(o, value + offsetof(struct ucred, uid), 2 * sizeof(uid_t),
				 "%d/open/%d/ids of peer", name, number);
	add_name(o, fd, name, number, "name", get_name);
	add_name(o, fd, name, number, "peer", get_peer);
}
