/* SPDX-License-Identifier: Apache-2.0 */
/* The multicast groups that a socket is in, with the sources that it wants to hear or not. */
#pragma once
#include "engine/capture/collect.h"
#include "proto/inet.pb-c.h"

int ckpt_multicast_collect(struct ckpt_collect *c, Ckpt__Inet *m, struct ckpt_err *err);
bool ckpt_multicast_sane(const Ckpt__InetGroup *g);
int ckpt_multicast_join(int fd, const Ckpt__InetGroup *g, struct ckpt_err *err);
