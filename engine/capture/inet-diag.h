/* SPDX-License-Identifier: Apache-2.0 */
/* What only sock_diag(7) tells of sockets of IPv4 and IPv6. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* How a UDP socket that is bound to PORT is shut down: bit 0 receiving, bit 1 sending. Negative
 * errno: not to be learned (-ENOENT: none with that inode in our network namespace). */
int ckpt_udp_shutdown(int domain, int protocol, uint16_t port, ino_t ino);
/* Is the TCP socket FD, neither listening nor connected, bound to no port, whatever name it shows?
 * True only where that is certain (it needs Linux 6.8). */
bool ckpt_tcp_has_no_port(int fd, int domain, ino_t ino);
