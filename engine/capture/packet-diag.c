/* SPDX-License-Identifier: Apache-2.0 */
/* All packet sockets are asked for: one alone cannot be. */
#include "engine/capture/packet-diag.h"
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/socket.h>
#include "engine/capture/diag.h"

struct look {
	struct ckpt_arena *arena;
	struct ckpt_packet_diag *diag;
	uint32_t ino;
};

static void take_members(struct ckpt_arena *arena, struct ckpt_packet_diag *d, const void *data,
			 size_t len)
{
	d->n_members = len / sizeof(*d->members);
	d->members = memcpy(ckpt_alloc(arena, len + 1), data, len);
}

static void take_attributes(struct ckpt_arena *arena, struct ckpt_packet_diag *d,
			    const struct nlmsghdr *h)
{
	size_t at = NLMSG_LENGTH(sizeof(struct packet_diag_msg));
	const struct nlattr *a;

	while ((a = ckpt_diag_attribute(h, &at))) {
		unsigned int type = a->nla_type & NLA_TYPE_MASK;

		if (type == PACKET_DIAG_INFO && ckpt_diag_size(a) >= sizeof(d->info))
			memcpy(&d->info, a + 1, sizeof(d->info));
		else if (type == PACKET_DIAG_MCLIST)
			take_members(arena, d, a + 1, ckpt_diag_size(a));
		else if (type == PACKET_DIAG_RX_RING || type == PACKET_DIAG_TX_RING)
			d->has_ring = true;
	}
}

static int take(void *arg, const struct nlmsghdr *h)
{
	const struct packet_diag_msg *m = NLMSG_DATA(h);
	struct look *look = arg;

	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)) || m->pdiag_ino != look->ino)
		return 0;
	take_attributes(look->arena, look->diag, h);
	return 1;
}

int ckpt_packet_diag(struct ckpt_arena *arena, uint32_t ino, struct ckpt_packet_diag *diag,
		     struct ckpt_err *err)
{
	struct {
		struct nlmsghdr h;
		struct packet_diag_req r;
	} ask = {
		.h = { .nlmsg_len = sizeof(ask),
		       .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.r = { .sdiag_family = AF_PACKET,
		       .pdiag_show = PACKET_SHOW_INFO | PACKET_SHOW_MCLIST | PACKET_SHOW_RING_CFG },
	};
	struct look look = { arena, diag, ino };
	int r;

	*diag = (struct ckpt_packet_diag){ 0 };
	r = ckpt_diag_ask(&ask, sizeof(ask), take, &look);
	return r < 0 ? ckpt_refuse(err, CKPT_E_KERNEL_FEATURE, r,
				   "packet sockets: cannot ask for this one: %s (packet_diag)",
				   strerror(-r)) :
		       0;
}
