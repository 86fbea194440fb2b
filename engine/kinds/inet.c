/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets of IPv4 and IPv6 without a connection of TCP: listening, not connected, UDP, raw. What an
 * address of the image is worth on this machine is found out by the plan, which binds it for a
 * moment. Who listens does so when everything else of the tree is there. A connection of TCP, if it
 * may be lost, comes back as one that its peer has closed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/capture/inet-diag.h"
#include "engine/capture/multicast.h"
#include "engine/capture/socket.h"
#include "engine/model/object.h"
#include "engine/plan/host.h"
#include "engine/plan/lost-port.h"
#include "engine/plan/path.h"
#include "engine/plan/site.h"

#define LISTENING CKPT__INET__STATE__LISTENING
#define CONNECTED CKPT__INET__STATE__CONNECTED
#define CLOSED CKPT__INET__STATE__CLOSED
#define MPTCP 262 /* IPPROTO_MPTCP, Linux 5.6 */
#define UDPLITE 136
#define BOTH_WAYS 3u
enum { TCP_IS_CLOSED = 7, TCP_LISTENS = 10 };

static bool match(const struct ckpt_probe *probe)
{
	int p = probe->protocol;

	if (!S_ISSOCK(probe->st.st_mode) || (probe->domain != AF_INET && probe->domain != AF_INET6))
		return false;
	return probe->type == SOCK_RAW ||
	       (probe->type == SOCK_STREAM && (p == IPPROTO_TCP || p == MPTCP)) ||
	       (probe->type == SOCK_DGRAM &&
		(p == IPPROTO_UDP || p == UDPLITE || p == IPPROTO_ICMP || p == IPPROTO_ICMPV6));
}

/* ---- addresses ---- */

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static Ckpt__InetAddress *keep_address(struct ckpt_arena *arena, const union address *a)
{
	Ckpt__InetAddress *m = ckpt_new(arena, Ckpt__InetAddress);
	bool six = a->any.sa_family == AF_INET6;
	char device[IF_NAMESIZE];

	ckpt__inet_address__init(m);
	m->ip.len = six ? 16 : 4;
	m->ip.data = memcpy(ckpt_alloc(arena, 16),
			    six ? (void *)&a->v6.sin6_addr : (void *)&a->v4.sin_addr, m->ip.len);
	m->port = ntohs(six ? a->v6.sin6_port : a->v4.sin_port);
	if (!six)
		return m;
	m->has_flow = a->v6.sin6_flowinfo != 0;
	m->flow = ntohl(a->v6.sin6_flowinfo);
	if (a->v6.sin6_scope_id && if_indextoname(a->v6.sin6_scope_id, device))
		m->device = ckpt_strdup(arena, device);
	return m;
}

static bool is_set(const Ckpt__InetAddress *m)
{
	static const uint8_t none[16];

	return m->port || memcmp(m->ip.data, none, m->ip.len) != 0;
}

static socklen_t use_address(const Ckpt__InetAddress *m, union address *a)
{
	memset(a, 0, sizeof(*a));
	if (m->ip.len == 4) {
		a->v4.sin_family = AF_INET;
		a->v4.sin_port = htons(m->port);
		memcpy(&a->v4.sin_addr, m->ip.data, 4);
		return sizeof(a->v4);
	}
	a->v6.sin6_family = AF_INET6;
	a->v6.sin6_port = htons(m->port);
	a->v6.sin6_flowinfo = htonl(m->flow);
	memcpy(&a->v6.sin6_addr, m->ip.data, 16);
	a->v6.sin6_scope_id = m->device ? if_nametoindex(m->device) : 0;
	return sizeof(a->v6);
}

static const char *show(const Ckpt__InetAddress *m, char buf[80])
{
	char ip[INET6_ADDRSTRLEN] = "?";

	inet_ntop(m->ip.len == 4 ? AF_INET : AF_INET6, m->ip.data, ip, sizeof(ip));
	snprintf(buf, 80, m->ip.len == 4 ? "%s:%u" : "[%s]:%u", ip, m->port);
	return buf;
}

static const char *sort_of(const Ckpt__Inet *m)
{
	return m->type == SOCK_RAW                                  ? "raw" :
	       m->type == SOCK_STREAM                               ? "TCP" :
	       m->protocol == IPPROTO_UDP || m->protocol == UDPLITE ? "UDP" :
								      "ping";
}

/* ---- collect ---- */

static int collect_names(struct ckpt_collect *c, Ckpt__Inet *m, struct ckpt_err *err)
{
	union address a;
	socklen_t len = sizeof(a);

	if (getsockname(c->fd, &a.any, &len) < 0)
		return ckpt_fail(err, -errno, "%s: cannot ask for its name", c->probe->link);
	m->local = keep_address(c->arena, &a);
	/* A raw socket shows its protocol as a port. */
	if (m->type == SOCK_RAW)
		m->local->port = 0;
	if (!is_set(m->local))
		m->local = NULL;
	len = sizeof(a);
	if (getpeername(c->fd, &a.any, &len) == 0) {
		m->peer = keep_address(c->arena, &a);
		m->state = CONNECTED;
	}
	return 0;
}

static int collect_connection(struct ckpt_collect *c, Ckpt__Inet *m, struct ckpt_err *err)
{
	char local[80] = "?", peer[80] = "?";

	if (m->local)
		show(m->local, local);
	if (m->peer)
		show(m->peer, peer);
	if (!c->tcp_close)
		return ckpt_refuse(err, CKPT_E_TCP_CONNECTION, -EOPNOTSUPP,
				   "%s: TCP connection %s to %s: cannot be dumped", c->probe->link,
				   local, peer);
	ckpt_lost(c, "process %d: fd %d: TCP connection %s to %s: will be closed", c->pid,
		  c->number, local, peer);
	m->state = CLOSED;
	m->local = m->peer = NULL;
	m->has_shutdown = true;
	m->shutdown = BOTH_WAYS;
	return 0;
}

static int collect_listener(struct ckpt_collect *c, Ckpt__Inet *m, const struct tcp_info *info,
			    struct ckpt_err *err)
{
	char local[80] = "?";

	m->state = LISTENING;
	m->peer = NULL;
	m->has_backlog = true;
	m->backlog = info->tcpi_sacked; /* of a listening one; the other is how many wait */
	if (!info->tcpi_unacked)
		return 0;
	if (m->local)
		show(m->local, local);
	if (!c->tcp_close && !c->skip_in_flight)
		return ckpt_refuse(err, CKPT_E_NOT_ACCEPTED, -EOPNOTSUPP,
				   "%s: %u connections to %s have not been accepted yet",
				   c->probe->link, info->tcpi_unacked, local);
	ckpt_lost(c, "process %d: fd %d: %u connections to %s, not accepted yet: will be closed",
		  c->pid, c->number, info->tcpi_unacked, local);
	return 0;
}

/* It is free again, and may be in use. */
static void lose_address(struct ckpt_collect *c, Ckpt__Inet *m)
{
	char local[80];

	if (m->local)
		ckpt_lost(c, "process %d: fd %d: TCP connection that has ended: its address %s",
			  c->pid, c->number, show(m->local, local));
	m->local = NULL;
}

/* One that had a connection is told from one that never had by what poll(2) says. */
static int collect_tcp(struct ckpt_collect *c, Ckpt__Inet *m, short events, struct ckpt_err *err)
{
	struct tcp_info info = { .tcpi_state = 0 };
	socklen_t len = sizeof(info);

	if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return ckpt_fail(err, -errno, "%s: cannot ask for its state", c->probe->link);
	if (info.tcpi_state == TCP_LISTENS)
		return collect_listener(c, m, &info, err);
	if (info.tcpi_state != TCP_IS_CLOSED)
		return collect_connection(c, m, err);
	if (events & POLLRDHUP) {
		lose_address(c, m);
		m->state = CLOSED;
		m->has_shutdown = true;
		m->shutdown = BOTH_WAYS;
	}
	/* So is one that the kernel chose, when who listened there was shut down. It is shown. */
	m->has_port_lost = m->port_lost =
		m->local && m->local->port && m->protocol == IPPROTO_TCP &&
		ckpt_tcp_has_no_port(c->fd, m->domain, c->probe->st.st_ino);
	m->peer = NULL;
	return 0;
}

/* poll(2) shows only who is shut for receiving. */
static void collect_shut_for_sending(struct ckpt_collect *c, Ckpt__Inet *m)
{
	int how = m->local && m->local->port ?
			  ckpt_udp_shutdown(m->domain, m->protocol, m->local->port,
					    c->probe->st.st_ino) :
			  0;

	m->has_shutdown = how > 0;
	m->shutdown = how > 0 ? how : 0;
	if (how < 0)
		ckpt_lost(c, "process %d: fd %d: %s: whether it is shut down for sending: %s",
			  c->pid, c->number, c->probe->link, strerrordesc_np(-how));
}

static int collect_datagrams(struct ckpt_collect *c, Ckpt__Inet *m, short events)
{
	int unsent = 0;

	if (events & POLLRDHUP) {
		m->has_shutdown = true;
		m->shutdown = events & POLLHUP ? BOTH_WAYS : 1;
	} else if (m->protocol == IPPROTO_UDP || m->protocol == UDPLITE) {
		collect_shut_for_sending(c, m);
	}
	if (!(events & POLLRDHUP) && events & POLLIN) {
		ckpt_lost(c, "process %d: fd %d: %s: what it has received and nobody has read",
			  c->pid, c->number, c->probe->link);
	}
	if (ioctl(c->fd, SIOCOUTQ, &unsent) == 0 && unsent > 0 && m->type == SOCK_DGRAM)
		ckpt_lost(c, "process %d: fd %d: %s: %d bytes that have not left yet", c->pid,
			  c->number, c->probe->link, unsent);
	return 0;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Inet *m = (void *)msg;
	struct pollfd p = { .fd = c->fd, .events = POLLIN | POLLRDHUP };
	int r;

	m->domain = c->probe->domain;
	m->type = c->probe->type;
	m->protocol = c->probe->protocol;
	if (poll(&p, 1, 0) < 0)
		return ckpt_fail(err, -errno, "%s: cannot look", c->probe->link);
	if (p.revents & POLLERR)
		ckpt_lost(c, "process %d: fd %d: %s: an error that nobody has asked for", c->pid,
			  c->number, c->probe->link);
	r = collect_names(c, m, err);
	if (r >= 0)
		r = m->type == SOCK_STREAM ? collect_tcp(c, m, p.revents, err) :
					     collect_datagrams(c, m, p.revents);
	if (r >= 0 && m->type != SOCK_STREAM)
		r = ckpt_multicast_collect(c, m, err);
	return r < 0 ? r : ckpt_socket_collect(c, m->state == CLOSED, &m->socket, err);
}

/* ---- create ---- */

/* Binding to an address of IPv6 makes a socket one of IPv6 only: who is not got its address by
 * connecting, which it is to do again. */
static bool bound_to_any(const Ckpt__Inet *m)
{
	bool only = false;

	for (size_t i = 0; i < m->socket->n_options; i++)
		only |= m->socket->options[i]->level == SOL_IPV6 &&
			m->socket->options[i]->option == IPV6_V6ONLY;
	return m->domain == AF_INET6 && m->state == CONNECTED && !only &&
	       !IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)m->local->ip.data);
}

/* A connection of before may still hold the port (TIME_WAIT), which does not keep out who reuses
 * addresses. Who listens there does. */
static int bind_it(int fd, const Ckpt__Inet *m, struct ckpt_err *err)
{
	int reuse = 0, on = 1, r;
	socklen_t len = sizeof(reuse);
	union address a;
	char name[80];

	getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, &len);
	if (m->type == SOCK_STREAM && !m->port_lost)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	len = use_address(m->local, &a);
	if (bound_to_any(m))
		a.v6.sin6_addr = in6addr_any;
	if (m->port_lost)
		r = ckpt_bind_and_lose(fd, &a.any, len);
	else
		r = bind(fd, &a.any, len) < 0 ? -errno : 0;
	if (m->type == SOCK_STREAM && !m->port_lost)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse));
	show(m->local, name);
	if (r == -EADDRINUSE)
		return ckpt_refuse(err, CKPT_E_ADDRESS_IN_USE, r, "%s address %s: is in use",
				   sort_of(m), name);
	if (r == -EADDRNOTAVAIL || r == -ENODEV)
		return ckpt_refuse(err, CKPT_E_NO_ADDRESS, r,
				   "%s address %s: this machine does not have it", sort_of(m),
				   name);
	if (r == -EACCES || r == -EPERM)
		return ckpt_refuse(err, CKPT_E_PRIVILEGE, r, "%s address %s: not permitted",
				   sort_of(m), name);
	return r < 0 ? ckpt_fail(err, r, "%s address %s: cannot bind", sort_of(m), name) : 0;
}

static int connect_it(int fd, const Ckpt__Inet *m, struct ckpt_err *err)
{
	union address a;
	char name[80];

	if (connect(fd, &a.any, use_address(m->peer, &a)) == 0)
		return 0;
	return ckpt_refuse(err, CKPT_E_NO_ADDRESS, -errno, "%s address %s: cannot be reached: %s",
			   sort_of(m), show(m->peer, name), strerror(errno));
}

/* Not yet: groups, listening, shut down. */
static int open_socket(const Ckpt__Inet *m, struct ckpt_err *err)
{
	CKPT_FD fd = socket(m->domain, m->type | SOCK_CLOEXEC | SOCK_NONBLOCK, m->protocol);
	int r;

	if (fd < 0 && (errno == EPERM || errno == EACCES))
		return ckpt_refuse(err, CKPT_E_PRIVILEGE, -errno, "%s socket: not permitted",
				   sort_of(m));
	if (fd < 0)
		return ckpt_refuse(err, CKPT_E_KERNEL_FEATURE, -errno, "%s socket: %s", sort_of(m),
				   strerror(errno));
	r = ckpt_socket_set(fd, m->socket, err);
	if (r >= 0 && m->local)
		r = bind_it(fd, m, err);
	if (r >= 0 && m->state == CONNECTED)
		r = connect_it(fd, m, err);
	if (r >= 0)
		r = ckpt_socket_set_late(fd, m->socket, err);
	return r < 0 ? r : ckpt_take_fd(&fd);
}

static int create(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Inet *m = (const void *)obj->msg;
	CKPT_FD fd = open_socket(m, err);
	int r = fd;

	(void)site;
	for (size_t i = 0; r >= 0 && i < m->n_groups; i++)
		r = ckpt_multicast_join(fd, m->groups[i], err);
	return r < 0 ? ckpt_in(err, r, "inet %u", obj->id) : ckpt_take_fd(&fd);
}

/* Without a connection shutdown(2) says ENOTCONN, and does it. */
static int attach(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	static const int how[] = { -1, SHUT_RD, SHUT_WR, SHUT_RDWR };
	const Ckpt__Inet *m = (const void *)obj->msg;
	int fd = site->ops->fd_of(site, obj->id, err);
	char name[80];

	if (fd < 0)
		return fd;
	if (m->state == LISTENING && listen(fd, m->backlog) < 0)
		return ckpt_refuse(err, errno == EADDRINUSE ? CKPT_E_ADDRESS_IN_USE : CKPT_E_NONE,
				   -errno, "TCP address %s: cannot listen: %s",
				   show(m->local, name), strerror(errno));
	if (m->shutdown && shutdown(fd, how[m->shutdown]) < 0 && errno != ENOTCONN)
		return ckpt_fail(err, -errno, "inet %u: cannot shut it down", obj->id);
	return 0;
}

/* ---- plan ---- */

static bool sane_address(const Ckpt__Inet *m, const Ckpt__InetAddress *a)
{
	return !a || (a->ip.len == (m->domain == AF_INET ? 4u : 16u) && a->port <= UINT16_MAX &&
		      (!a->device || strlen(a->device) < IF_NAMESIZE));
}

static bool is_sane(const Ckpt__Inet *m)
{
	bool stream = m->type == SOCK_STREAM;
	bool ok = (m->domain == AF_INET || m->domain == AF_INET6) &&
		  (stream || m->type == SOCK_DGRAM || m->type == SOCK_RAW) && m->socket;

	ok = ok && ckpt_socket_sane(m->socket) && sane_address(m, m->local) &&
	     sane_address(m, m->peer) && m->shutdown <= BOTH_WAYS && m->backlog <= INT_MAX;
	ok = ok && (m->state != LISTENING || (stream && m->local)) &&
	     (m->state != CONNECTED || (!stream && m->peer)) &&
	     (!m->port_lost || (stream && m->local && !m->state));
	for (size_t i = 0; ok && i < m->n_groups; i++)
		ok = ckpt_multicast_sane(m->groups[i]);
	return ok;
}

/* Who shows a port that it lost comes before who has it, and holds it for a moment. */
static void plan_order(struct ckpt_planner *p, const struct ckpt_object *obj, const Ckpt__Inet *m)
{
	const struct ckpt_snapshot *snap = ckpt_planner_snapshot(p);

	if (m->type != SOCK_STREAM || !m->local || m->port_lost)
		return;
	for (size_t i = 0; i < snap->n_objects; i++) {
		const struct ckpt_object *other = snap->objects[i];
		const Ckpt__Inet *o = (const void *)other->msg;

		if (other->kind == obj->kind && o->port_lost && o->local &&
		    o->local->port == m->local->port)
			ckpt_needs(p, other->id);
	}
}

static void plan_lost(struct ckpt_planner *p, int fd, const Ckpt__Inet *m, const char *who)
{
	union address a = { .v4.sin_port = 0 };
	socklen_t len = sizeof(a);

	if (m->port_lost && getsockname(fd, &a.any, &len) == 0 &&
	    ntohs(a.v4.sin_port) != m->local->port)
		ckpt_loss(p, "%sTCP socket: shows port %u, which it lost: will show another", who,
			  m->local->port);
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Inet *m = (const void *)obj->msg;
	const struct ckpt_host *host = ckpt_planner_host(p);
	char who[CKPT_WHO];

	if (!is_sane(m))
		return ckpt_fail(err, -EBADMSG, "inet %u: bad state", obj->id);
	plan_order(p, obj, m);
	if (!host)
		return 0;
	ckpt_path_who(p, obj, who, sizeof(who));
	if (m->socket->has_uid && (m->socket->uid != host->uid || m->socket->gid != host->gid) &&
	    !ckpt_host_has_cap(host, CAP_CHOWN))
		ckpt_loss(p, "%s%s socket: will belong to you, not to %u:%u", who, sort_of(m),
			  m->socket->uid, m->socket->gid);
	for (size_t i = 0; i < m->n_groups; i++)
		if (!if_nametoindex(m->groups[i]->device))
			ckpt_problem(p, CKPT_E_NO_DEVICE,
				     "%snetwork device %s: is not there (of a multicast group)",
				     who, m->groups[i]->device);
	CKPT_FD trial = open_socket(m, err);
	if (trial < 0)
		return ckpt_in(err, trial, "%.*s", (int)(strlen(who) - 2), who);
	plan_lost(p, trial, m, who);
	return 0;
}

const struct ckpt_kind ckpt_kind_inet = {
	.name = "inet",
	.scope = CKPT_PER_FILE,
	.message = &ckpt__inet__descriptor,
	.match = match,
	.collect = collect,
	.plan = plan,
	.create = create,
	.attach = attach,
};
