/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of IPv4 and IPv6: who listens, who is not connected, UDP; with every option. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/lib/case.h"

#define LOOPBACK INADDR_LOOPBACK
static int s[4];
static struct sockaddr_in name4 = { .sin_family = AF_INET };
static struct sockaddr_in6 name6 = { .sin6_family = AF_INET6 };
static socklen_t len4 = sizeof(name4), len6 = sizeof(name6);
static char buf[100];

static void set(int fd, int level, int option, int value)
{
	if (setsockopt(fd, level, option, &value, sizeof(value)) < 0)
		case_fail("option %d of level %d: %m", option, level);
}

static int get(int fd, int level, int option)
{
	int value = -12345;
	socklen_t len = sizeof(value);

	CHECK_CALL(getsockopt(fd, level, option, &value, &len));
	return value;
}

static void bind4(int fd)
{
	name4.sin_port = 0;
	name4.sin_addr.s_addr = htonl(LOOPBACK);
	if (bind(fd, (struct sockaddr *)&name4, len4) < 0)
		case_skip("no loopback network: %m");
	CHECK_CALL(getsockname(fd, (struct sockaddr *)&name4, &len4));
}

/* ---- who listens ---- */

static void setup_listeners(void)
{
	s[0] = CHECK_CALL(socket(AF_INET, SOCK_STREAM, 0));
	bind4(s[0]);
	CHECK_CALL(listen(s[0], 7));
	s[1] = CHECK_CALL(socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0));
	set(s[1], SOL_IPV6, IPV6_V6ONLY, 1);
	name6.sin6_addr = in6addr_any;
	CHECK_CALL(bind(s[1], (struct sockaddr *)&name6, len6));
	CHECK_CALL(getsockname(s[1], (struct sockaddr *)&name6, &len6));
	CHECK_CALL(listen(s[1], 20));
}

static void knock(int listener, int domain, struct sockaddr *name, socklen_t len)
{
	int to = CHECK_CALL(socket(domain, SOCK_STREAM, 0)), from;
	struct linger now = { 1, 0 };

	CHECK_CALL(connect(to, name, len));
	poll(&(struct pollfd){ listener, POLLIN, 0 }, 1, 1000);
	from = CHECK_CALL(accept(listener, NULL, NULL));
	CHECK(write(to, "hello", 5) == 5);
	CHECK(read(from, buf, 100) == 5);
	CHECK_CALL(setsockopt(to, SOL_SOCKET, SO_LINGER, &now, sizeof(now)));
	close(to);
	close(from);
}

static int backlog(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	CHECK_CALL(getsockopt(fd, SOL_TCP, TCP_INFO, &info, &len));
	CHECK_INT(info.tcpi_state, 10);
	return info.tcpi_sacked;
}

static void check_listeners(void)
{
	struct sockaddr_in6 any = name6;

	CHECK_INT(backlog(s[0]), 7);
	CHECK_INT(backlog(s[1]), 20);
	CHECK_INT(get(s[1], SOL_IPV6, IPV6_V6ONLY), 1);
	CHECK(accept(s[1], NULL, NULL) < 0 && errno == EAGAIN);
	any.sin6_addr = in6addr_loopback;
	knock(s[0], AF_INET, (struct sockaddr *)&name4, len4);
	knock(s[1], AF_INET6, (struct sockaddr *)&any, len6);
}

/* They lost ports that the kernel chose, and still show them; somebody else has one of them now. */
static void setup_lost_port(void)
{
	for (int i = 0; i < 2; i++) {
		s[i] = CHECK_CALL(socket(AF_INET, SOCK_STREAM, 0));
		bind4(s[i]);
		CHECK_CALL(listen(s[i], 3));
		CHECK_CALL(shutdown(s[i], SHUT_RDWR));
	}
	s[2] = CHECK_CALL(socket(AF_INET, SOCK_STREAM, 0));
	CHECK_CALL(bind(s[2], (struct sockaddr *)&name4, len4));
	CHECK_CALL(listen(s[2], 3));
	s[3] = CHECK_CALL(socket(AF_INET6, SOCK_STREAM, 0));
	CHECK_CALL(bind(s[3], (struct sockaddr *)&name6, len6));
}

static void check_lost_port(void)
{
	struct sockaddr_in name;
	socklen_t len = sizeof(name);

	CHECK_CALL(getsockname(s[1], (struct sockaddr *)&name, &len));
	CHECK_INT(name.sin_port, name4.sin_port);
	CHECK(bind(s[1], (struct sockaddr *)&name4, len4) < 0 && errno == EADDRINUSE);
	CHECK_CALL(getsockname(s[0], (struct sockaddr *)&name, &len));
	CHECK(name.sin_port != 0);
	CHECK_CALL(bind(s[0], (struct sockaddr *)&name, len));
	CHECK_CALL(listen(s[0], 3));
	knock(s[2], AF_INET, (struct sockaddr *)&name4, len4);
	CHECK(bind(s[3], (struct sockaddr *)&name6, len6) < 0 && errno == EINVAL);
}

/* ---- options ---- */

/* clang-format off */
static const struct {
	int level, option, value;
} tcp_options[] = {
	{ SOL_SOCKET, SO_KEEPALIVE, 1 },	{ SOL_SOCKET, SO_REUSEADDR, 1 },
	{ SOL_SOCKET, SO_REUSEPORT, 1 },	{ SOL_SOCKET, SO_OOBINLINE, 1 },
	{ SOL_SOCKET, SO_PRIORITY, 5 },		{ SOL_SOCKET, SO_RCVLOWAT, 3 },
	{ SOL_SOCKET, SO_ZEROCOPY, 1 },		{ SOL_SOCKET, SO_INCOMING_CPU, 0 },
	{ SOL_TCP, TCP_NODELAY, 1 },		{ SOL_TCP, TCP_MAXSEG, 1000 },
	{ SOL_TCP, TCP_KEEPIDLE, 77 },		{ SOL_TCP, TCP_KEEPINTVL, 33 },
	{ SOL_TCP, TCP_KEEPCNT, 5 },		{ SOL_TCP, TCP_SYNCNT, 4 },
	{ SOL_TCP, TCP_LINGER2, 17 },		{ SOL_TCP, TCP_USER_TIMEOUT, 12345 },
	{ SOL_TCP, TCP_NOTSENT_LOWAT, 4096 },	{ SOL_TCP, TCP_SAVE_SYN, 1 },
	{ SOL_TCP, TCP_THIN_LINEAR_TIMEOUTS, 1 }, { SOL_TCP, TCP_QUICKACK, 0 },
	{ SOL_TCP, TCP_INQ, 1 },		{ SOL_TCP, TCP_WINDOW_CLAMP, 30000 },
	{ SOL_IP, IP_TOS, 0x10 },		{ SOL_IP, IP_TTL, 33 },
	{ SOL_IP, IP_MINTTL, 2 },		{ SOL_IP, IP_FREEBIND, 1 },
	{ SOL_IP, IP_MTU_DISCOVER, 0 },		{ SOL_IP, IP_RECVERR, 1 },
	{ SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1 }, { SOL_IP, 51, 0x90008000 },
};

/* clang-format on */

static void setup_tcp_options(void)
{
	struct linger linger = { 1, 9 };
	struct timeval tv = { 3, 500000 };

	s[0] = CHECK_CALL(socket(AF_INET, SOCK_STREAM, 0));
	for (size_t i = 0; i < ARRAY_SIZE(tcp_options); i++)
		set(s[0], tcp_options[i].level, tcp_options[i].option, tcp_options[i].value);
	CHECK_CALL(setsockopt(s[0], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	CHECK_CALL(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	CHECK_CALL(setsockopt(s[0], SOL_TCP, TCP_CONGESTION, "reno", 4));
	set(s[0], SOL_SOCKET, SO_RCVBUF, 50000);
	s[1] = CHECK_CALL(socket(AF_INET6, SOCK_STREAM, 0));
	set(s[1], SOL_IPV6, IPV6_TCLASS, 0x20);
	set(s[1], SOL_IPV6, IPV6_UNICAST_HOPS, 12);
	set(s[1], SOL_IPV6, IPV6_AUTOFLOWLABEL, 0);
	set(s[1], SOL_IPV6, IPV6_DONTFRAG, 1);
	set(s[1], SOL_IP, IP_TTL, 44);
	s[2] = CHECK_CALL(socket(AF_INET, SOCK_STREAM, 0));
	set(s[2], SOL_TCP, TCP_DEFER_ACCEPT, 7);
	set(s[2], SOL_TCP, TCP_FASTOPEN, 9);
	bind4(s[2]);
	CHECK_CALL(listen(s[2], 3));
}

static int deferred, fastopen, n_value;
static int values[ARRAY_SIZE(tcp_options)];

/* The kernel rounds some; what it said before is what it has to say after. */
static void setup_options(void)
{
	setup_tcp_options();
	for (size_t i = 0; i < ARRAY_SIZE(tcp_options); i++)
		values[i] = get(s[0], tcp_options[i].level, tcp_options[i].option);
	deferred = get(s[2], SOL_TCP, TCP_DEFER_ACCEPT);
	fastopen = get(s[2], SOL_TCP, TCP_FASTOPEN);
	n_value = get(s[0], SOL_SOCKET, SO_RCVBUF);
}

static void check_options(void)
{
	struct linger linger = { 0 };
	struct timeval tv = { 0 };
	socklen_t len = sizeof(linger);

	for (size_t i = 0; i < ARRAY_SIZE(tcp_options); i++)
		if (get(s[0], tcp_options[i].level, tcp_options[i].option) != values[i])
			case_fail("option %d of level %d is not %d any more", tcp_options[i].option,
				  tcp_options[i].level, values[i]);
	CHECK_CALL(getsockopt(s[0], SOL_SOCKET, SO_LINGER, &linger, &len));
	CHECK(linger.l_onoff == 1 && linger.l_linger == 9);
	len = sizeof(tv);
	CHECK_CALL(getsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &tv, &len));
	CHECK(tv.tv_sec == 3 && tv.tv_usec == 500000);
	len = sizeof(buf);
	CHECK_CALL(getsockopt(s[0], SOL_TCP, TCP_CONGESTION, buf, &len));
	CHECK_TEXT(buf, "reno");
	CHECK_INT(get(s[0], SOL_SOCKET, SO_RCVBUF), n_value);
	CHECK_INT(get(s[1], SOL_IPV6, IPV6_TCLASS), 0x20);
	CHECK_INT(get(s[1], SOL_IPV6, IPV6_UNICAST_HOPS), 12);
	CHECK_INT(get(s[1], SOL_IPV6, IPV6_AUTOFLOWLABEL), 0);
	CHECK_INT(get(s[1], SOL_IPV6, IPV6_DONTFRAG), 1);
	CHECK_INT(get(s[1], SOL_IP, IP_TTL), 44);
	CHECK_INT(get(s[2], SOL_TCP, TCP_DEFER_ACCEPT), deferred);
	CHECK_INT(get(s[2], SOL_TCP, TCP_FASTOPEN), fastopen);
}

/* ---- UDP ---- */

static struct sockaddr_in other;

static void setup_udp(void)
{
	s[0] = CHECK_CALL(socket(AF_INET, SOCK_DGRAM, 0));
	bind4(s[0]);
	other = name4;
	s[1] = CHECK_CALL(socket(AF_INET, SOCK_DGRAM, 0));
	bind4(s[1]);
	CHECK_CALL(connect(s[1], (struct sockaddr *)&other, len4));
	set(s[0], SOL_IP, IP_PKTINFO, 1);
	set(s[0], SOL_IP, IP_RECVTTL, 1);
	set(s[0], SOL_SOCKET, SO_BROADCAST, 1);
	set(s[0], SOL_SOCKET, SO_PEEK_OFF, 4);
	set(s[0], SOL_UDP, UDP_GRO, 1);
	s[2] = CHECK_CALL(socket(AF_INET6, SOCK_DGRAM, 0));
	s[3] = CHECK_CALL(socket(AF_INET, SOCK_DGRAM, 0));
	CHECK(shutdown(s[3], SHUT_RDWR) < 0 && errno == ENOTCONN);
}

static void check_udp(void)
{
	struct sockaddr_in from, peer;
	socklen_t len = sizeof(from);
	struct pollfd p = { s[3], POLLIN | POLLRDHUP, 0 };

	CHECK_INT(get(s[0], SOL_SOCKET, SO_PEEK_OFF), 4);
	CHECK_CALL(getpeername(s[1], (struct sockaddr *)&peer, &len));
	CHECK_INT(peer.sin_port, other.sin_port);
	CHECK(write(s[1], "datagram", 8) == 8);
	CHECK_INT(recvfrom(s[0], buf, 100, 0, (struct sockaddr *)&from, &len), 8);
	CHECK_INT(from.sin_port, name4.sin_port);
	CHECK_INT(get(s[0], SOL_IP, IP_PKTINFO), 1);
	CHECK_INT(get(s[0], SOL_IP, IP_RECVTTL), 1);
	CHECK_INT(get(s[0], SOL_SOCKET, SO_BROADCAST), 1);
	CHECK_INT(get(s[0], SOL_UDP, UDP_GRO), 1);
	len = sizeof(name6);
	CHECK_CALL(getsockname(s[2], (struct sockaddr *)&name6, &len));
	CHECK_INT(name6.sin6_port, 0);
	CHECK(poll(&p, 1, 0) == 1 && p.revents & POLLHUP);
	CHECK_INT(read(s[3], buf, 100), 0);
}

/* poll(2) does not show it. */
static void setup_shut(void)
{
	signal(SIGPIPE, SIG_IGN);
	s[0] = CHECK_CALL(socket(AF_INET, SOCK_DGRAM, 0));
	bind4(s[0]);
	CHECK(shutdown(s[0], SHUT_WR) < 0 && errno == ENOTCONN);
	s[1] = CHECK_CALL(socket(AF_INET6, SOCK_DGRAM, 0));
	CHECK_CALL(bind(s[1], (struct sockaddr *)&name6, len6));
	CHECK_CALL(getsockname(s[1], (struct sockaddr *)&name6, &len6));
	name6.sin6_addr = in6addr_loopback;
	CHECK_CALL(connect(s[1], (struct sockaddr *)&name6, len6));
	CHECK_CALL(shutdown(s[1], SHUT_WR));
}

static void check_shut(void)
{
	s[2] = CHECK_CALL(socket(AF_INET, SOCK_DGRAM, 0));
	CHECK(sendto(s[0], "x", 1, 0, (struct sockaddr *)&name4, len4) < 0 && errno == EPIPE);
	CHECK(send(s[1], "x", 1, 0) < 0 && errno == EPIPE);
	CHECK(sendto(s[2], "still", 5, 0, (struct sockaddr *)&name4, len4) == 5);
	CHECK_INT(recv(s[0], buf, 100, 0), 5);
}

/* ---- multicast ---- */

static struct sockaddr_in group4 = { .sin_family = AF_INET };
static struct sockaddr_in6 group6 = { .sin6_family = AF_INET6 };

static void setup_groups(void)
{
	struct ip_mreqn join = { .imr_ifindex = if_nametoindex("lo") };
	struct ip_mreq_source from;
	struct ipv6_mreq join6 = { .ipv6mr_interface = if_nametoindex("lo") };

	s[0] = CHECK_CALL(socket(AF_INET, SOCK_DGRAM, 0));
	inet_pton(AF_INET, "239.1.2.3", &join.imr_multiaddr);
	CHECK_CALL(setsockopt(s[0], SOL_IP, IP_ADD_MEMBERSHIP, &join, sizeof(join)));
	inet_pton(AF_INET, "239.4.5.6", &from.imr_multiaddr);
	inet_pton(AF_INET, "127.0.0.1", &from.imr_interface);
	inet_pton(AF_INET, "10.9.8.7", &from.imr_sourceaddr);
	CHECK_CALL(setsockopt(s[0], SOL_IP, IP_ADD_SOURCE_MEMBERSHIP, &from, sizeof(from)));
	set(s[0], SOL_IP, IP_MULTICAST_TTL, 3);
	set(s[0], SOL_IP, IP_MULTICAST_LOOP, 1);
	set(s[0], SOL_IP, IP_MULTICAST_ALL, 0);
	CHECK_CALL(setsockopt(s[0], SOL_IP, IP_MULTICAST_IF, &from.imr_interface, 4));
	bind4(s[0]);
	s[1] = CHECK_CALL(socket(AF_INET6, SOCK_DGRAM, 0));
	inet_pton(AF_INET6, "ff05::1234", &join6.ipv6mr_multiaddr);
	CHECK_CALL(setsockopt(s[1], SOL_IPV6, IPV6_ADD_MEMBERSHIP, &join6, sizeof(join6)));
	set(s[1], SOL_IPV6, IPV6_MULTICAST_IF, join6.ipv6mr_interface);
	set(s[1], SOL_IPV6, IPV6_MULTICAST_HOPS, 5);
	/* One that is in no group. */
	s[2] = CHECK_CALL(socket(AF_INET, SOCK_DGRAM, 0));
}

static void ask(int fd, int level, const void *group, size_t len, uint32_t mode, uint32_t n)
{
	struct group_filter f = { .gf_interface = if_nametoindex("lo"), .gf_numsrc = 1 };
	socklen_t size = sizeof(f);

	memcpy(&f.gf_group, group, len);
	CHECK_CALL(getsockopt(fd, level, MCAST_MSFILTER, &f, &size));
	CHECK_INT(f.gf_fmode, mode);
	CHECK_INT(f.gf_numsrc, n);
	if (n)
		CHECK_TEXT(inet_ntoa(((struct sockaddr_in *)&f.gf_slist[0])->sin_addr), "10.9.8.7");
}

static void check_groups(void)
{
	struct group_filter f = { .gf_interface = if_nametoindex("lo") };
	socklen_t size = sizeof(f);
	struct in_addr device;

	inet_pton(AF_INET, "239.1.2.3", &group4.sin_addr);
	ask(s[0], SOL_IP, &group4, sizeof(group4), MCAST_EXCLUDE, 0);
	memcpy(&f.gf_group, &group4, sizeof(group4));
	CHECK(getsockopt(s[2], SOL_IP, MCAST_MSFILTER, &f, &size) < 0);
	inet_pton(AF_INET, "239.4.5.6", &group4.sin_addr);
	ask(s[0], SOL_IP, &group4, sizeof(group4), MCAST_INCLUDE, 1);
	inet_pton(AF_INET6, "ff05::1234", &group6.sin6_addr);
	ask(s[1], SOL_IPV6, &group6, sizeof(group6), MCAST_EXCLUDE, 0);
	CHECK_INT(get(s[0], SOL_IP, IP_MULTICAST_TTL), 3);
	CHECK_INT(get(s[0], SOL_IP, IP_MULTICAST_ALL), 0);
	size = sizeof(device);
	CHECK_CALL(getsockopt(s[0], SOL_IP, IP_MULTICAST_IF, &device, &size));
	CHECK_TEXT(inet_ntoa(device), "127.0.0.1");
	CHECK_INT(get(s[1], SOL_IPV6, IPV6_MULTICAST_IF), if_nametoindex("lo"));
	CHECK_INT(get(s[1], SOL_IPV6, IPV6_MULTICAST_HOPS), 5);
}

/* ---- connections of TCP ---- */

static void setup_connection(void)
{
	s[0] = CHECK_CALL(socket(AF_INET, SOCK_STREAM, 0));
	set(s[0], SOL_SOCKET, SO_REUSEADDR, 1);
	bind4(s[0]);
	CHECK_CALL(listen(s[0], 5));
	s[1] = CHECK_CALL(socket(AF_INET, SOCK_STREAM, 0));
	CHECK_CALL(connect(s[1], (struct sockaddr *)&name4, len4));
	s[2] = CHECK_CALL(accept(s[0], NULL, NULL));
	s[3] = CHECK_CALL(socket(AF_INET, SOCK_STREAM, 0));
	CHECK_CALL(connect(s[3], (struct sockaddr *)&name4, len4));
}

static void check_closed(void)
{
	CHECK_INT(read(s[1], buf, 100), 0);
	CHECK(send(s[2], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
	CHECK_INT(read(s[3], buf, 100), 0);
	knock(s[0], AF_INET, (struct sockaddr *)&name4, len4);
}

static void check_connected(void)
{
	CHECK(write(s[1], "still", 5) == 5);
	CHECK(read(s[2], buf, 100) == 5);
	close(CHECK_CALL(accept(s[0], NULL, NULL)));
}

/* ---- a filter, an owner ---- */

static void setup_filter(void)
{
	struct sock_filter drop[] = { BPF_STMT(BPF_RET | BPF_K, 0) };
	struct sock_fprog prog = { 1, drop };

	s[0] = CHECK_CALL(socket(AF_INET, SOCK_DGRAM, 0));
	bind4(s[0]);
	CHECK_CALL(setsockopt(s[0], SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)));
	set(s[0], SOL_SOCKET, SO_LOCK_FILTER, 1);
	s[1] = CHECK_CALL(socket(AF_INET, SOCK_DGRAM, 0));
	if (getuid() == 0)
		CHECK_CALL(fchown(s[1], 1234, 1235));
}

static void check_filter(void)
{
	struct stat st;
	int on = 1;

	CHECK(sendto(s[1], "x", 1, 0, (struct sockaddr *)&name4, len4) == 1);
	CHECK(recv(s[0], buf, 100, MSG_DONTWAIT) < 0 && errno == EAGAIN);
	CHECK(setsockopt(s[0], SOL_SOCKET, SO_DETACH_FILTER, &on, sizeof(on)) < 0 &&
	      errno == EPERM);
	CHECK_CALL(fstat(s[1], &st));
	CHECK_INT(st.st_uid, getuid() ? getuid() : 1234);
}

/* ---- several paths ---- */

static int mptcp(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 262 /* IPPROTO_MPTCP, Linux 5.6 */);

	if (fd < 0)
		case_skip("no MPTCP: %m");
	return fd;
}

static void setup_mptcp(void)
{
	s[0] = mptcp();
	bind4(s[0]);
	CHECK_CALL(listen(s[0], 7));
	s[1] = mptcp();
}

static void connect_mptcp(void)
{
	CHECK_CALL(connect(s[1], (struct sockaddr *)&name4, len4));
	s[2] = CHECK_CALL(accept(s[0], NULL, NULL));
	CHECK_INT(get(s[2], SOL_SOCKET, SO_PROTOCOL), 262);
	CHECK(write(s[1], "hello", 5) == 5);
	CHECK(read(s[2], buf, 100) == 5);
}

static void setup_mptcp_connection(void)
{
	setup_mptcp();
	connect_mptcp();
}

static void check_mptcp_connection(void)
{
	CHECK(write(s[2], "back", 4) == 4);
	CHECK(read(s[1], buf, 100) == 4);
}

CASES({ "who listens does so again, with its backlog", setup_listeners, check_listeners },
      { "who listened shows a port that it lost", setup_lost_port, check_lost_port, CASE_ONCE },
      { "options of TCP and IP stay", setup_options, check_options },
      { "UDP sockets: bound, connected, shut down", setup_udp, check_udp },
      { "UDP sockets that are shut for sending only", setup_shut, check_shut, CASE_ONCE },
      { "multicast groups and their sources stay", setup_groups, check_groups },
      { "a packet filter and its lock stay, and an owner", setup_filter, check_filter },
      { "connections of TCP are refused by name", setup_connection, check_connected,
	.refused = { "CKPT-E0250", "TCP connection 127.0.0.1:", "--tcp-close",
		     "1 connections to 127.0.0.1:" } },
      { "connections of TCP may come back closed", setup_connection, check_closed,
	CASE_GOES | CASE_ONCE, .options = { "--tcp-close" }, .differs = { "*/open/[3-6]/*" } },
      { "sockets of MPTCP listen and connect", setup_mptcp, connect_mptcp },
      { "its connections are refused by name", setup_mptcp_connection, check_mptcp_connection,
	.refused = { "CKPT-E0250", "connection 127.0.0.1:" } })
