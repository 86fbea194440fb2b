/* SPDX-License-Identifier: Apache-2.0 */
/* What only sock_diag(7) tells of sockets of IPv4 and IPv6. */
#pragma once
#include <stdint.h>
#include <sys/types.h>

/* How a UDP socket that is bound to PORT is shut down: bit 0 receiving, bit 1 sending. Negative
 * errno: not to be learned (-ENOENT: none with that inode in our network namespace). */
int ckpt_udp_shutdown(int domain, int protocol, uint16_t port, ino_t ino);
