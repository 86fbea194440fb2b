/* SPDX-License-Identifier: Apache-2.0 */
/* A TCP socket that shows a port and does not have it: the kernel chose it, and took it back when
 * who listened there was shut down. */
#pragma once
#include <sys/socket.h>

/* Makes the unbound socket FD one that lost the port of NAME, if that is free now, or else another
 * one, which it then shows. Negative errno. */
int ckpt_bind_and_lose(int fd, const struct sockaddr *name, socklen_t len);
