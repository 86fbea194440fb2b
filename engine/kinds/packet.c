/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packet sockets without a ring: device, protocol, memberships, options, filter. What was heard and
 * not read is lost by name; how much was dropped (PACKET_STATISTICS) cannot be read without
 * clearing it.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "engine/base/cleanup.h"
#include "engine/capture/packet-diag.h"
#include "engine/capture/socket.h"
#include "engine/model/object.h"
#include "engine/plan/host.h"
#include "engine/plan/plan.h"
#include "engine/plan/site.h"
#include "proto/packet.pb-c.h"

#define MOST_COUNT 1024
#define MOST_ADDRESS sizeof(((struct packet_diag_mclist *)0)->pdmc_addr)

static bool match(const struct ckpt_probe *probe)
{
	return S_ISSOCK(probe->st.st_mode) && probe->domain == AF_PACKET;
}

static int name_of(struct ckpt_collect *c, unsigned int index, char **namep, struct ckpt_err *err)
{
	char name[IF_NAMESIZE];

	if (!if_indextoname(index, name))
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -errno,
				   "%s: packet socket: its network device %u is gone",
				   c->probe->link, index);
	*namep = ckpt_strdup(c->arena, name);
	return 0;
}

static int collect_members(struct ckpt_collect *c, Ckpt__Packet *m,
			   const struct ckpt_packet_diag *d, struct ckpt_err *err)
{
	int r = 0;

	m->members = ckpt_alloc(c->arena, (d->n_members + 1) * sizeof(*m->members));
	for (size_t i = 0; r >= 0 && i < d->n_members; i++) {
		const struct packet_diag_mclist *from = &d->members[i];
		Ckpt__PacketMember *to = m->members[m->n_members++] =
			ckpt_new(c->arena, Ckpt__PacketMember);

		ckpt__packet_member__init(to);
		to->type = from->pdmc_type;
		to->count = from->pdmc_count;
		to->address.len = from->pdmc_alen < MOST_ADDRESS ? from->pdmc_alen : MOST_ADDRESS;
		to->address.data = ckpt_alloc(c->arena, MOST_ADDRESS);
		memcpy(to->address.data, from->pdmc_addr, to->address.len);
		r = name_of(c, from->pdmc_index, &to->device, err);
	}
	return r;
}

/* What the kernel does not give away again. */
static int refuse(struct ckpt_collect *c, const struct ckpt_packet_diag *d, struct ckpt_err *err)
{
	const char *why = NULL;
	socklen_t len = sizeof(int);
	int fanout = 0;

	getsockopt(c->fd, SOL_PACKET, PACKET_FANOUT, &fanout, &len);
	fanout = fanout >> 16 & 0xff;
	if (fanout == PACKET_FANOUT_CBPF || fanout == PACKET_FANOUT_EBPF)
		why = "its fanout group has a program";
	if (d->has_ring)
		why = "it has a ring";
	return why ? ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP, "%s: packet socket: %s",
				 c->probe->link, why) :
		     0;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Packet *m = (void *)msg;
	struct pollfd p = { .fd = c->fd, .events = POLLIN };
	struct ckpt_packet_diag d;
	struct sockaddr_ll a;
	socklen_t len = sizeof(a);
	int r = ckpt_packet_diag(c->arena, c->probe->st.st_ino, &d, err);

	if (r >= 0)
		r = refuse(c, &d, err);
	if (r < 0)
		return r;
	if (getsockname(c->fd, (void *)&a, &len) < 0)
		return ckpt_fail(err, -errno, "%s: cannot ask for its name", c->probe->link);
	m->type = c->probe->type;
	m->protocol = ntohs(a.sll_protocol);
	m->has_copy_thresh = d.info.pdi_copy_thresh > 0;
	m->copy_thresh = d.info.pdi_copy_thresh;
	if (a.sll_ifindex)
		r = name_of(c, a.sll_ifindex, &m->device, err);
	if (r >= 0)
		r = collect_members(c, m, &d, err);
	if (r >= 0 && poll(&p, 1, 0) > 0 && p.revents & POLLIN)
		ckpt_lost(c,
			  "process %d: fd %d: %s: packet socket: what it has heard and nobody has "
			  "read",
			  c->pid, c->number, c->probe->link);
	return r < 0 ? r : ckpt_socket_collect(c, false, &m->socket, err);
}

static void need_device(struct ckpt_planner *p, const char *device)
{
	if (!if_nametoindex(device))
		ckpt_problem(p, CKPT_E_NO_DEVICE, "network device %s: is not there", device);
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Packet *m = (const void *)obj->msg;
	const struct ckpt_host *host = ckpt_planner_host(p);
	bool ok = (m->type == SOCK_RAW || m->type == SOCK_DGRAM) && m->socket &&
		  ckpt_socket_sane(m->socket) && m->protocol <= UINT16_MAX;

	for (size_t i = 0; i < m->n_members; i++)
		ok &= m->members[i]->count <= MOST_COUNT &&
		      m->members[i]->address.len <= MOST_ADDRESS;
	if (!ok)
		return ckpt_fail(err, -EBADMSG, "packet %u: bad state", obj->id);
	if (!host)
		return 0;
	if (host->box || !ckpt_host_has_cap(host, CAP_NET_RAW))
		ckpt_problem(p, CKPT_E_PRIVILEGE,
			     "socket:[%llu]: a packet socket takes cap_net_raw",
			     (unsigned long long)obj->file.ino);
	if (m->device)
		need_device(p, m->device);
	for (size_t i = 0; i < m->n_members; i++)
		need_device(p, m->members[i]->device);
	return 0;
}

/* packet(7) takes addresses of eight bytes by that structure, and longer ones behind it. */
static int join(int fd, const Ckpt__PacketMember *g, struct ckpt_err *err)
{
	struct {
		struct packet_mreq mreq;
		uint8_t more[MOST_ADDRESS];
	} q = { .mreq = { .mr_ifindex = if_nametoindex(g->device),
			  .mr_type = g->type,
			  .mr_alen = g->address.len } };

	if (g->address.len)
		memcpy((uint8_t *)&q + offsetof(struct packet_mreq, mr_address), g->address.data,
		       g->address.len);
	for (uint32_t i = 0; i < g->count; i++)
		if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &q, sizeof(q)) < 0)
			return ckpt_fail(err, -errno, "cannot join a group on %s", g->device);
	return 0;
}

/* A fanout group takes only who is bound, and what came in before there was a filter goes again. */
static int bind_it(int fd, const Ckpt__Packet *m, struct ckpt_err *err)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET,
				 .sll_protocol = htons(m->protocol),
				 .sll_ifindex = m->device ? if_nametoindex(m->device) : 0 };
	int r;

	if ((m->protocol || m->device) && bind(fd, (void *)&a, sizeof(a)) < 0)
		return ckpt_fail(err, -errno, "cannot bind to %s",
				 m->device ? m->device : "all devices");
	r = ckpt_socket_set_late(fd, m->socket, err);
	while (r >= 0 && recv(fd, &a, sizeof(a), MSG_DONTWAIT) >= 0)
		;
	return r;
}

static int create(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Packet *m = (const void *)obj->msg;
	CKPT_FD fd = socket(AF_PACKET, m->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	(void)site;
	if (fd < 0)
		return ckpt_fail(err, -errno, "packet %u: cannot create", obj->id);
	r = ckpt_socket_set(fd, m->socket, err);
	for (size_t i = 0; r >= 0 && i < m->n_members; i++)
		r = join(fd, m->members[i], err);
	if (r >= 0 && m->has_copy_thresh &&
	    setsockopt(fd, SOL_PACKET, PACKET_COPY_THRESH, &m->copy_thresh, sizeof(int)) < 0)
		r = ckpt_fail(err, -errno, "cannot set what it copies");
	if (r >= 0)
		r = bind_it(fd, m, err);
	return r < 0 ? ckpt_in(err, r, "packet %u", obj->id) : ckpt_take_fd(&fd);
}

const struct ckpt_kind ckpt_kind_packet = {
	.name = "packet",
	.scope = CKPT_PER_FILE,
	.message = &ckpt__packet__descriptor,
	.match = match,
	.collect = collect,
	.plan = plan,
	.create = create,
};
