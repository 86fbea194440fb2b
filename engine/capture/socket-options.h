/* SPDX-License-Identifier: Apache-2.0 */
/* Every option of a socket that can be read and set again, by level. */
#pragma once
#include <stdint.h>

enum {
	CKPT_OPTION_FRESH = 1 << 0,  /* its default depends on the system: compare with a new one */
	CKPT_OPTION_KEEP = 1 << 1,   /* always kept */
	CKPT_OPTION_LATE = 1 << 2,   /* set when the socket has its name, and its filter */
	CKPT_OPTION_BUFFER = 1 << 3, /* the kernel tells twice the size that it was asked for */
	CKPT_OPTION_DEVICE = 1 << 4, /* index of a network device */
	CKPT_OPTION_DEVICE_BE = 1 << 5, /* the same, in network order */
	CKPT_OPTION_OWN = 1 << 6, /* while there is a connection, or was, it is the kernel's own */
};

struct ckpt_socket_option {
	int level, option;
	uint16_t room; /* bytes, at most */
	uint16_t flags;
	int normal; /* of a new socket; the bytes behind the first four are zero then */
	int force;  /* CKPT_OPTION_BUFFER: does it without the system's limit */
};
#define CKPT_OPTION_ROOM 64 /* of any of them */

struct ckpt_socket_table {
	int domain, type, protocol; /* of sockets that have these; -1: any */
	const struct ckpt_socket_option *option;
	unsigned int n;
};
extern const struct ckpt_socket_table ckpt_socket_tables[];
extern const unsigned int ckpt_n_socket_tables;

/* NULL: there is none. */
const struct ckpt_socket_option *ckpt_socket_option_find(int level, int option);
