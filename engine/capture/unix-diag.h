/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel knows of Unix sockets. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "engine/base/err.h"

#define CKPT_UNIX_MAX_PENDING 1024

struct ckpt_unix_diag {
	uint8_t type, state; /* SOCK_*, TCP_ESTABLISHED and so on */
	bool has_peer;
	uint32_t peer; /* its inode; 0: it has no descriptor (closed, or not accepted yet) */
	bool has_file;
	uint32_t file_ino;         /* of the socket file that it was bound to */
	uint32_t waiting, backlog; /* of a listening one: connections */
	uint32_t sent; /* of another: what the messages take that it has sent (SIOCOUTQ) */
	uint32_t pending[CKPT_UNIX_MAX_PENDING]; /* whose they are, in order; 0: closed since */
	size_t n_pending;
	uint8_t shutdown; /* bit 0: receiving, bit 1: sending */
};

/* Asks for the socket with that inode, in our network namespace. -ENOENT: there is none. */
int ckpt_unix_diag(uint32_t ino, struct ckpt_unix_diag *diag, struct ckpt_err *err);
