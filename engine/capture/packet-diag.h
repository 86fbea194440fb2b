/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel knows of packet sockets. */
#pragma once
#include <linux/packet_diag.h>
#include <stdbool.h>
#include <stdint.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"

struct ckpt_packet_diag {
	struct packet_diag_info info;
	struct packet_diag_mclist *members; /* in the arena */
	size_t n_members;
	bool has_ring;
};

/* Asks for the socket with that inode, in our network namespace. */
int ckpt_packet_diag(struct ckpt_arena *arena, uint32_t ino, struct ckpt_packet_diag *diag,
		     struct ckpt_err *err);
