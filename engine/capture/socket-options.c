/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order within a table is that in which they are set. Numbers that have no name here are newer
 * than the headers of the oldest supported distribution. Options that can be set but not read are
 * not here: IP_MULTICAST_IF by index alone, IPV6_PKTINFO, IPV6_JOIN_ANYCAST, SO_ATTACH_REUSEPORT_*,
 * TCP_MD5SIG.
 */
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/netlink.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/time.h>
#include "engine/capture/socket-options.h"

#define FRESH CKPT_OPTION_FRESH
#define KEEP CKPT_OPTION_KEEP
#define LATE CKPT_OPTION_LATE
#define BUFFER CKPT_OPTION_BUFFER
#define DEVICE CKPT_OPTION_DEVICE
#define OWN CKPT_OPTION_OWN
#define DEVICE_BE CKPT_OPTION_DEVICE_BE
#define SOL_IP_ 0
#define SOL_TCP_ 6
#define SOL_UDP_ 17
#define SOL_IPV6_ 41
#define SOL_ICMPV6_ 58
#define SOL_RAW_ 255
#define SOL_PACKET_ 263
#define SOL_NETLINK_ 270
#define MPTCP 262 /* IPPROTO_MPTCP, Linux 5.6 */
#define UDPLITE 136

/* clang-format off */
static const struct ckpt_socket_option general[] = {
	{ SOL_SOCKET, SO_SNDBUF, 4, KEEP | BUFFER, 0, SO_SNDBUFFORCE },
	{ SOL_SOCKET, SO_RCVBUF, 4, KEEP | BUFFER, 0, SO_RCVBUFFORCE },
	{ SOL_SOCKET, 72 /* SO_BUF_LOCK, Linux 5.14 */, 4, 0, 0, 0 },
	{ SOL_SOCKET, SO_RCVTIMEO, sizeof(struct timeval), 0, 0, 0 },
	{ SOL_SOCKET, SO_SNDTIMEO, sizeof(struct timeval), 0, 0, 0 },
	{ SOL_SOCKET, SO_RCVLOWAT, 4, 0, 1, 0 },
	{ SOL_SOCKET, SO_PEEK_OFF, 4, LATE, -1, 0 },
	{ SOL_SOCKET, SO_PRIORITY, 4, 0, 0, 0 },
	{ SOL_SOCKET, SO_MARK, 4, 0, 0, 0 },
	{ SOL_SOCKET, SO_REUSEADDR, 4, 0, 0, 0 },
	{ SOL_SOCKET, SO_REUSEPORT, 4, 0, 0, 0 },
	{ SOL_SOCKET, SO_BROADCAST, 4, 0, 0, 0 },
	{ SOL_SOCKET, SO_KEEPALIVE, 4, 0, 0, 0 },
	{ SOL_SOCKET, SO_OOBINLINE, 4, 0, 0, 0 },
	{ SOL_SOCKET, SO_DONTROUTE, 4, 0, 0, 0 },
	{ SOL_SOCKET, SO_NO_CHECK, 4, 0, 0, 0 },
	{ SOL_SOCKET, SO_LINGER, sizeof(struct linger), 0, 0, 0 },
	{ SOL_SOCKET, SO_TIMESTAMP, 4, 0, 0, 0 },
	{ SOL_SOCKET, SO_TIMESTAMPNS, 4, 0, 0, 0 },
	{ SOL_SOCKET, SO_TIMESTAMPING, 8, 0, 0, 0 },
	{ SOL_SOCKET, SO_TXTIME, 8, 0, 0, 0 },
	{ SOL_SOCKET, SO_PASSCRED, 4, 0, 0, 0 },
	{ SOL_SOCKET, SO_PASSSEC, 4, 0, 0, 0 },
	{ SOL_SOCKET, 76 /* SO_PASSPIDFD, Linux 6.5 */, 4, 0, 0, 0 },
	{ SOL_SOCKET, 83 /* SO_PASSRIGHTS, Linux 6.16 */, 4, 0, 1, 0 },
	{ SOL_SOCKET, 84 /* SO_INQ, Linux 6.17 */, 4, 0, 0, 0 },
	{ SOL_SOCKET, SO_RXQ_OVFL, 4, 0, 0, 0 },
	{ SOL_SOCKET, SO_WIFI_STATUS, 4, 0, 0, 0 },
	{ SOL_SOCKET, SO_NOFCS, 4, 0, 0, 0 },
	{ SOL_SOCKET, SO_SELECT_ERR_QUEUE, 4, 0, 0, 0 },
	{ SOL_SOCKET, SO_PREFER_BUSY_POLL, 4, 0, 0, 0 },
	{ SOL_SOCKET, SO_ZEROCOPY, 4, 0, 0, 0 },
	{ SOL_SOCKET, SO_RCVMARK, 4, 0, 0, 0 },
	{ SOL_SOCKET, 82 /* SO_RCVPRIORITY, Linux 6.14 */, 4, 0, 0, 0 },
	{ SOL_SOCKET, SO_LOCK_FILTER, 4, LATE, 0, 0 },
};

/* Of all families but AF_UNIX. */
static const struct ckpt_socket_option net[] = {
	{ SOL_SOCKET, SO_BINDTODEVICE, 16, 0, 0, 0 },
	{ SOL_SOCKET, SO_INCOMING_CPU, 4, 0, -1, 0 },
	{ SOL_SOCKET, SO_BUSY_POLL, 4, FRESH, 0, 0 },
	{ SOL_SOCKET, SO_MAX_PACING_RATE, 8, FRESH, 0, 0 },
	{ SOL_SOCKET, SO_RESERVE_MEM, 4, 0, 0, 0 },
	{ SOL_SOCKET, SO_TXREHASH, 4, FRESH, 0, 0 },
};

static const struct ckpt_socket_option ip[] = {
	{ SOL_IP_, IP_TOS, 4, FRESH, 0, 0 },
	{ SOL_IP_, IP_TTL, 4, FRESH, 0, 0 },
	{ SOL_IP_, IP_HDRINCL, 4, FRESH, 0, 0 },
	{ SOL_IP_, IP_OPTIONS, 40, FRESH, 0, 0 },
	{ SOL_IP_, IP_RECVOPTS, 4, FRESH, 0, 0 },
	{ SOL_IP_, IP_RETOPTS, 4, FRESH, 0, 0 },
	{ SOL_IP_, IP_PKTINFO, 4, FRESH, 0, 0 },
	{ SOL_IP_, IP_MTU_DISCOVER, 4, FRESH, 0, 0 },
	{ SOL_IP_, IP_RECVERR, 4, FRESH, 0, 0 },
	{ SOL_IP_, IP_RECVTTL, 4, FRESH, 0, 0 },
	{ SOL_IP_, IP_RECVTOS, 4, FRESH, 0, 0 },
	{ SOL_IP_, IP_FREEBIND, 4, FRESH, 0, 0 },
	{ SOL_IP_, IP_PASSSEC, 4, FRESH, 0, 0 },
	{ SOL_IP_, IP_TRANSPARENT, 4, FRESH, 0, 0 },
	{ SOL_IP_, IP_RECVORIGDSTADDR, 4, FRESH, 0, 0 },
	{ SOL_IP_, IP_MINTTL, 4, FRESH, 0, 0 },
	{ SOL_IP_, IP_NODEFRAG, 4, FRESH, 0, 0 },
	{ SOL_IP_, IP_CHECKSUM, 4, FRESH, 0, 0 },
	{ SOL_IP_, IP_BIND_ADDRESS_NO_PORT, 4, FRESH, 0, 0 },
	{ SOL_IP_, IP_RECVFRAGSIZE, 4, FRESH, 0, 0 },
	{ SOL_IP_, IP_RECVERR_RFC4884, 4, FRESH, 0, 0 },
	{ SOL_IP_, IP_UNICAST_IF, 4, FRESH | DEVICE_BE, 0, 0 },
	{ SOL_IP_, 51 /* IP_LOCAL_PORT_RANGE, Linux 6.3 */, 4, FRESH, 0, 0 },
};

/* Not of TCP: its accepted sockets have odd values there. */
static const struct ckpt_socket_option multicast[] = {
	{ SOL_IP_, IP_MULTICAST_IF, 4, FRESH, 0, 0 },
	{ SOL_IP_, IP_MULTICAST_TTL, 4, FRESH, 0, 0 },
	{ SOL_IP_, IP_MULTICAST_LOOP, 4, FRESH, 0, 0 },
	{ SOL_IP_, IP_MULTICAST_ALL, 4, FRESH, 0, 0 },
};

static const struct ckpt_socket_option multicast6[] = {
	{ SOL_IPV6_, IPV6_MULTICAST_IF, 4, FRESH | DEVICE, 0, 0 },
	{ SOL_IPV6_, IPV6_MULTICAST_HOPS, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_MULTICAST_LOOP, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_MULTICAST_ALL, 4, FRESH, 0, 0 },
};

static const struct ckpt_socket_option ip6[] = {
	{ SOL_IPV6_, IPV6_V6ONLY, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_UNICAST_HOPS, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_MTU_DISCOVER, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_RECVERR, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, 31 /* IPV6_RECVERR_RFC4884, Linux 5.9 */, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_2292PKTINFO, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_2292HOPOPTS, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_2292DSTOPTS, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_2292RTHDR, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_2292HOPLIMIT, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_FLOWINFO, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_FLOWINFO_SEND, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_HDRINCL, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_RECVPKTINFO, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_RECVHOPLIMIT, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_RECVHOPOPTS, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_RECVRTHDR, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_RECVDSTOPTS, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_RECVPATHMTU, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_DONTFRAG, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_HOPOPTS, 64, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_RTHDRDSTOPTS, 64, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_RTHDR, 64, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_DSTOPTS, 64, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_RECVTCLASS, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_TCLASS, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_AUTOFLOWLABEL, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_ADDR_PREFERENCES, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_MINHOPCOUNT, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_ORIGDSTADDR, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_TRANSPARENT, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_FREEBIND, 4, FRESH, 0, 0 },
	{ SOL_IPV6_, IPV6_UNICAST_IF, 4, FRESH | DEVICE_BE, 0, 0 },
	{ SOL_IPV6_, IPV6_RECVFRAGSIZE, 4, FRESH, 0, 0 },
};

static const struct ckpt_socket_option tcp[] = {
	{ SOL_TCP_, TCP_CONGESTION, 16, FRESH, 0, 0 },
	{ SOL_TCP_, TCP_NODELAY, 4, FRESH, 0, 0 },
	{ SOL_TCP_, TCP_MAXSEG, 4, FRESH | OWN, 0, 0 },
	{ SOL_TCP_, TCP_CORK, 4, FRESH, 0, 0 },
	{ SOL_TCP_, TCP_KEEPIDLE, 4, FRESH, 0, 0 },
	{ SOL_TCP_, TCP_KEEPINTVL, 4, FRESH, 0, 0 },
	{ SOL_TCP_, TCP_KEEPCNT, 4, FRESH, 0, 0 },
	{ SOL_TCP_, TCP_SYNCNT, 4, FRESH, 0, 0 },
	{ SOL_TCP_, TCP_LINGER2, 4, FRESH, 0, 0 },
	{ SOL_TCP_, TCP_DEFER_ACCEPT, 4, FRESH, 0, 0 },
	{ SOL_TCP_, TCP_WINDOW_CLAMP, 4, FRESH | OWN, 0, 0 },
	{ SOL_TCP_, TCP_QUICKACK, 4, FRESH | OWN, 0, 0 },
	{ SOL_TCP_, TCP_THIN_LINEAR_TIMEOUTS, 4, FRESH, 0, 0 },
	{ SOL_TCP_, TCP_USER_TIMEOUT, 4, FRESH, 0, 0 },
	{ SOL_TCP_, TCP_NOTSENT_LOWAT, 4, FRESH, 0, 0 },
	{ SOL_TCP_, TCP_SAVE_SYN, 4, FRESH, 0, 0 },
	{ SOL_TCP_, TCP_FASTOPEN_CONNECT, 4, FRESH, 0, 0 },
	{ SOL_TCP_, TCP_FASTOPEN_KEY, 32, FRESH, 0, 0 },
	{ SOL_TCP_, TCP_FASTOPEN_NO_COOKIE, 4, FRESH, 0, 0 },
	{ SOL_TCP_, TCP_FASTOPEN, 4, FRESH, 0, 0 },
	{ SOL_TCP_, TCP_INQ, 4, FRESH, 0, 0 },
	{ SOL_TCP_, TCP_TX_DELAY, 4, FRESH, 0, 0 },
	{ SOL_TCP_, 44 /* TCP_RTO_MAX_MS, Linux 6.15 */, 4, FRESH, 0, 0 },
	{ SOL_TCP_, 45 /* TCP_RTO_MIN_US, Linux 6.17 */, 4, FRESH, 0, 0 },
	{ SOL_TCP_, 46 /* TCP_DELACK_MAX_US, Linux 6.17 */, 4, FRESH, 0, 0 },
};

static const struct ckpt_socket_option udp[] = {
	{ SOL_UDP_, UDP_CORK, 4, LATE, 0, 0 },
	{ SOL_UDP_, UDP_ENCAP, 4, 0, 0, 0 },
	{ SOL_UDP_, UDP_NO_CHECK6_TX, 4, 0, 0, 0 },
	{ SOL_UDP_, UDP_NO_CHECK6_RX, 4, 0, 0, 0 },
	{ SOL_UDP_, UDP_SEGMENT, 4, 0, 0, 0 },
	{ SOL_UDP_, UDP_GRO, 4, 0, 0, 0 },
};

static const struct ckpt_socket_option udplite[] = {
	{ UDPLITE, 10 /* UDPLITE_SEND_CSCOV */, 4, FRESH, 0, 0 },
	{ UDPLITE, 11 /* UDPLITE_RECV_CSCOV */, 4, FRESH, 0, 0 },
};

static const struct ckpt_socket_option raw[] = {
	{ SOL_RAW_, 1 /* ICMP_FILTER */, 4, FRESH, 0, 0 },
	{ SOL_RAW_, 7 /* IPV6_CHECKSUM */, 4, FRESH, -1, 0 },
	{ SOL_ICMPV6_, 1 /* ICMPV6_FILTER */, 32, FRESH, 0, 0 },
};

static const struct ckpt_socket_option netlink[] = {
	{ SOL_NETLINK_, NETLINK_PKTINFO, 4, 0, 0, 0 },
	{ SOL_NETLINK_, NETLINK_BROADCAST_ERROR, 4, 0, 0, 0 },
	{ SOL_NETLINK_, NETLINK_NO_ENOBUFS, 4, 0, 0, 0 },
	{ SOL_NETLINK_, NETLINK_LISTEN_ALL_NSID, 4, 0, 0, 0 },
	{ SOL_NETLINK_, NETLINK_CAP_ACK, 4, 0, 0, 0 },
	{ SOL_NETLINK_, NETLINK_EXT_ACK, 4, 0, 0, 0 },
	{ SOL_NETLINK_, NETLINK_GET_STRICT_CHK, 4, 0, 0, 0 },
};

static const struct ckpt_socket_option packet[] = {
	{ SOL_PACKET_, PACKET_VERSION, 4, 0, 0, 0 },
	{ SOL_PACKET_, PACKET_RESERVE, 4, 0, 0, 0 },
	{ SOL_PACKET_, PACKET_AUXDATA, 4, 0, 0, 0 },
	{ SOL_PACKET_, PACKET_ORIGDEV, 4, 0, 0, 0 },
	{ SOL_PACKET_, PACKET_VNET_HDR, 4, 0, 0, 0 },
	{ SOL_PACKET_, 24 /* PACKET_VNET_HDR_SZ, Linux 6.6 */, 4, 0, 0, 0 },
	{ SOL_PACKET_, PACKET_TIMESTAMP, 4, 0, 0, 0 },
	{ SOL_PACKET_, PACKET_LOSS, 4, 0, 0, 0 },
	{ SOL_PACKET_, PACKET_TX_HAS_OFF, 4, 0, 0, 0 },
	{ SOL_PACKET_, PACKET_QDISC_BYPASS, 4, 0, 0, 0 },
	{ SOL_PACKET_, PACKET_IGNORE_OUTGOING, 4, 0, 0, 0 },
	{ SOL_PACKET_, PACKET_FANOUT, 4, LATE, 0, 0 },
};

#define TABLE(domain, type, protocol, t) { domain, type, protocol, t, sizeof(t) / sizeof(t[0]) }
const struct ckpt_socket_table ckpt_socket_tables[] = {
	TABLE(-1, -1, -1, general),
	TABLE(AF_INET, -1, -1, net),
	TABLE(AF_INET, -1, -1, ip),
	TABLE(AF_INET, SOCK_STREAM, IPPROTO_TCP, tcp),
	TABLE(AF_INET, SOCK_STREAM, MPTCP, tcp),
	TABLE(AF_INET, SOCK_DGRAM, IPPROTO_UDP, udp),
	TABLE(AF_INET, SOCK_DGRAM, UDPLITE, udplite),
	TABLE(AF_INET, SOCK_RAW, -1, raw),
	TABLE(AF_INET, SOCK_RAW, -1, multicast),
	TABLE(AF_INET, SOCK_DGRAM, -1, multicast),
	/* One for both protocols has the options of both. */
	TABLE(AF_INET6, -1, -1, net),
	TABLE(AF_INET6, -1, -1, ip6),
	TABLE(AF_INET6, -1, -1, ip),
	TABLE(AF_INET6, SOCK_STREAM, IPPROTO_TCP, tcp),
	TABLE(AF_INET6, SOCK_STREAM, MPTCP, tcp),
	TABLE(AF_INET6, SOCK_DGRAM, IPPROTO_UDP, udp),
	TABLE(AF_INET6, SOCK_DGRAM, UDPLITE, udplite),
	TABLE(AF_INET6, SOCK_RAW, -1, raw),
	TABLE(AF_INET6, SOCK_RAW, -1, multicast6),
	TABLE(AF_INET6, SOCK_DGRAM, -1, multicast6),
	TABLE(AF_INET6, SOCK_RAW, -1, multicast),
	TABLE(AF_INET6, SOCK_DGRAM, -1, multicast),
	TABLE(AF_NETLINK, -1, -1, net),
	TABLE(AF_NETLINK, -1, -1, netlink),
	TABLE(AF_PACKET, -1, -1, net),
	TABLE(AF_PACKET, -1, -1, packet),
};
/* clang-format on */
const unsigned int ckpt_n_socket_tables =
	sizeof(ckpt_socket_tables) / sizeof(ckpt_socket_tables[0]);

const struct ckpt_socket_option *ckpt_socket_option_find(int level, int option)
{
	for (unsigned int i = 0; i < ckpt_n_socket_tables; i++)
		for (unsigned int j = 0; j < ckpt_socket_tables[i].n; j++)
			if (ckpt_socket_tables[i].option[j].level == level &&
			    ckpt_socket_tables[i].option[j].option == option)
				return &ckpt_socket_tables[i].option[j];
	return NULL;
}
