/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Netlink sockets that hold no messages: port, multicast groups, options. A port is a number of its
 * own, mostly the pid of who bound it; another socket may have it here.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "engine/base/cleanup.h"
#include "engine/capture/socket.h"
#include "engine/model/object.h"
#include "engine/plan/site.h"
#include "engine/plan/plan.h"
#include "proto/netlink.pb-c.h"

#define SOL_NETLINK_ 270
#define MAX_GROUPS 4096

static bool match(const struct ckpt_probe *probe)
{
	return S_ISSOCK(probe->st.st_mode) && probe->domain == AF_NETLINK;
}

/* A bit for each group, from the first on. */
static void collect_groups(struct ckpt_collect *c, Ckpt__Netlink *m)
{
	uint32_t bits[MAX_GROUPS / 32] = { 0 };
	socklen_t len = sizeof(bits);

	/* Linux 4.2 */
	if (getsockopt(c->fd, SOL_NETLINK_, NETLINK_LIST_MEMBERSHIPS, bits, &len) < 0)
		return;
	m->groups = ckpt_alloc(c->arena, MAX_GROUPS * sizeof(*m->groups));
	for (uint32_t i = 0; i < MAX_GROUPS && i / 8 < len; i++)
		if (bits[i / 32] >> i % 32 & 1)
			m->groups[m->n_groups++] = i + 1;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Netlink *m = (void *)msg;
	struct pollfd p = { .fd = c->fd, .events = POLLIN };
	struct sockaddr_nl a;
	socklen_t len = sizeof(a);

	m->type = c->probe->type;
	m->protocol = c->probe->protocol;
	if (poll(&p, 1, 0) > 0 && p.revents & (POLLIN | POLLERR))
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
				   "%s: netlink socket: it holds messages that nobody has read",
				   c->probe->link);
	if (getsockname(c->fd, (void *)&a, &len) < 0)
		return ckpt_fail(err, -errno, "%s: cannot ask for its name", c->probe->link);
	m->has_port = a.nl_pid != 0;
	m->port = a.nl_pid;
	len = sizeof(a);
	if (getpeername(c->fd, (void *)&a, &len) == 0 && (a.nl_pid || a.nl_groups)) {
		m->has_peer = m->has_peer_groups = true;
		m->peer = a.nl_pid;
		m->peer_groups = a.nl_groups;
	}
	collect_groups(c, m);
	return ckpt_socket_collect(c, false, &m->socket, err);
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Netlink *m = (const void *)obj->msg;
	bool ok = (m->type == SOCK_RAW || m->type == SOCK_DGRAM) && m->socket &&
		  ckpt_socket_sane(m->socket) && m->n_groups <= MAX_GROUPS;

	(void)p;
	return ok ? 0 : ckpt_fail(err, -EBADMSG, "netlink %u: bad state", obj->id);
}

static int name(int fd, const Ckpt__Netlink *m, struct ckpt_err *err)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK, .nl_pid = m->port };

	if (m->has_port && bind(fd, (void *)&a, sizeof(a)) < 0)
		return errno == EADDRINUSE ?
			       ckpt_refuse(err, CKPT_E_ADDRESS_IN_USE, -EADDRINUSE,
					   "netlink port %u: is in use", m->port) :
			       ckpt_fail(err, -errno, "netlink port %u: cannot bind", m->port);
	for (size_t i = 0; i < m->n_groups; i++)
		if (setsockopt(fd, SOL_NETLINK_, NETLINK_ADD_MEMBERSHIP, &m->groups[i],
			       sizeof(m->groups[i])) < 0)
			return ckpt_refuse(err, CKPT_E_PRIVILEGE, -errno,
					   "netlink group %u: cannot join: %s", m->groups[i],
					   strerror(errno));
	a = (struct sockaddr_nl){ .nl_family = AF_NETLINK,
				  .nl_pid = m->peer,
				  .nl_groups = m->peer_groups };
	if (m->has_peer && connect(fd, (void *)&a, sizeof(a)) < 0)
		return ckpt_fail(err, -errno, "netlink port %u: cannot connect", m->peer);
	return 0;
}

static int create(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Netlink *m = (const void *)obj->msg;
	CKPT_FD fd = socket(AF_NETLINK, m->type | SOCK_CLOEXEC | SOCK_NONBLOCK, m->protocol);
	int r;

	(void)site;
	if (fd < 0)
		return ckpt_fail(err, -errno, "netlink %u: cannot create (protocol %u)", obj->id,
				 m->protocol);
	r = ckpt_socket_set(fd, m->socket, err);
	if (r >= 0)
		r = name(fd, m, err);
	if (r >= 0)
		r = ckpt_socket_set_late(fd, m->socket, err);
	return r < 0 ? ckpt_in(err, r, "netlink %u", obj->id) : ckpt_take_fd(&fd);
}

const struct ckpt_kind ckpt_kind_netlink = {
	.name = "netlink",
	.scope = CKPT_PER_FILE,
	.message = &ckpt__netlink__descriptor,
	.match = match,
	.collect = collect,
	.plan = plan,
	.create = create,
};
