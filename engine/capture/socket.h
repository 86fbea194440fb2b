/* SPDX-License-Identifier: Apache-2.0 */
/* What every sort of socket has: options, a packet filter, an owner. Read, judged, and set again.
 */
#pragma once
#include <stdbool.h>
#include "engine/capture/collect.h"
#include "proto/socket.pb-c.h"

/* All that is not as in a new socket. Refuses a filter that cannot be read. CONNECTED: it has or
 * had a connection, of which the kernel knows more than was set. */
int ckpt_socket_collect(struct ckpt_collect *c, bool connected, Ckpt__Socket **socketp,
			struct ckpt_err *err);
bool ckpt_socket_sane(const Ckpt__Socket *s);
/* Owner, filter and options of a new socket FD: those that have to be there before it gets its
 * name. */
int ckpt_socket_set(int fd, const Ckpt__Socket *s, struct ckpt_err *err);
/* The others, when it has it. */
int ckpt_socket_set_late(int fd, const Ckpt__Socket *s, struct ckpt_err *err);
/* As much room for sending as we may have. */
void ckpt_socket_widen(int fd);
