/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel knows of Unix sockets: sock_diag(7). */
#include <errno.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <string.h>
#include <sys/socket.h>
#include "engine/capture/diag.h"
#include "engine/capture/unix-diag.h"

static void take_attribute(struct ckpt_unix_diag *d, unsigned int type, const void *data,
			   size_t len)
{
	if (type == UNIX_DIAG_PEER && len >= sizeof(d->peer)) {
		d->has_peer = true;
		memcpy(&d->peer, data, sizeof(d->peer));
	} else if (type == UNIX_DIAG_VFS && len >= sizeof(struct unix_diag_vfs)) {
		d->has_file = true;
		d->file_ino = ((const struct unix_diag_vfs *)data)->udiag_vfs_ino;
	} else if (type == UNIX_DIAG_RQLEN && len >= sizeof(struct unix_diag_rqlen)) {
		d->waiting = ((const struct unix_diag_rqlen *)data)->udiag_rqueue;
		d->backlog = ((const struct unix_diag_rqlen *)data)->udiag_wqueue;
		d->sent = d->backlog;
	} else if (type == UNIX_DIAG_ICONS && len <= sizeof(d->pending)) {
		memcpy(d->pending, data, len);
		d->n_pending = len / sizeof(d->pending[0]);
	} else if (type == UNIX_DIAG_SHUTDOWN && len >= 1) {
		d->shutdown = *(const uint8_t *)data;
	}
}

static int take(void *arg, const struct nlmsghdr *h)
{
	const struct unix_diag_msg *m = NLMSG_DATA(h);
	size_t at = NLMSG_LENGTH(sizeof(*m));
	struct ckpt_unix_diag *d = arg;
	const struct nlattr *a;

	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)))
		return -EBADMSG;
	*d = (struct ckpt_unix_diag){ .type = m->udiag_type, .state = m->udiag_state };
	while ((a = ckpt_diag_attribute(h, &at)))
		take_attribute(d, a->nla_type & NLA_TYPE_MASK, a + 1, ckpt_diag_size(a));
	return 1;
}

int ckpt_unix_diag(uint32_t ino, struct ckpt_unix_diag *diag, struct ckpt_err *err)
{
	struct {
		struct nlmsghdr h;
		struct unix_diag_req r;
	} ask = {
		.h = { .nlmsg_len = sizeof(ask),
		       .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		       .nlmsg_flags = NLM_F_REQUEST },
		.r = { .sdiag_family = AF_UNIX,
		       .udiag_states = ~0u,
		       .udiag_ino = ino,
		       .udiag_cookie = { ~0u, ~0u },
		       .udiag_show = UDIAG_SHOW_VFS | UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN |
				     UDIAG_SHOW_ICONS },
	};
	int r = ckpt_diag_ask(&ask, sizeof(ask), take, diag);

	if (r >= 0)
		return 0;
	if (r == -ENOENT)
		return ckpt_fail(err, r, "Unix socket %u: not in this network namespace", ino);
	return ckpt_refuse(err, CKPT_E_KERNEL_FEATURE, r,
			   "Unix sockets: cannot ask for them: %s (unix_diag)", strerror(-r));
}
