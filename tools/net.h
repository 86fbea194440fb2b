/* SPDX-License-Identifier: Apache-2.0 */
/* The way to a ckpt on another machine: --address, --port and --ps-socket of a command. */
#pragma once
#include <stdbool.h>
#include "engine/base/words.h"
#include "tools/ckpt.h"

/* Refuses values that mean nothing. LISTENS: a port may be left to the machine. Not WANTED: there
 * is nothing to be reached. */
int ckpt_net_check(struct ckpt_tool *t, bool listens, bool wanted);
/* What they lead to, as a socket; *NAMEP says it in messages. Waits no longer than some seconds. */
int ckpt_net_connect(struct ckpt_tool *t, const char **namep);

/* The Unix socket at PATH. */
int ckpt_net_connect_at(struct ckpt_tool *t, const char *path);

#define CKPT_LAZY_SOCKET "lazy-pages.socket" /* in the work folder: of `ckpt lazy-pages` */

struct ckpt_listener {
	int fd;           /* listens; -1: it is CONNECTED */
	int connected;    /* the one that there is anyway (--ps-socket); -1: none */
	const char *name; /* where it is */
	const char *path; /* of a Unix socket, to be removed; or NULL */
};
int ckpt_net_listen(struct ckpt_tool *t, struct ckpt_listener *l);
/* The same for a Unix socket at PATH. */
int ckpt_net_listen_at(struct ckpt_tool *t, const char *path, struct ckpt_listener *l);
/* The next one who connects; asks GO_ON meanwhile. */
int ckpt_net_accept(const struct ckpt_listener *l, int (*go_on)(void *arg, struct ckpt_err *err),
		    void *arg, const char **namep, struct ckpt_arena *arena, struct ckpt_err *err);
void ckpt_net_close(struct ckpt_listener *l);
/* Whoever waits for the service may go on: --pidfile, --daemon (returns in the background),
 * --status-fd, and a line that says where it is. */
int ckpt_net_ready(struct ckpt_tool *t, const struct ckpt_listener *l);
