/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel keeps a port that was asked for; so it is made to choose, from a range of one. */
#include "engine/plan/lost-port.h"
#include <errno.h>
#include <netinet/in.h>

#define PORT_RANGE 51 /* IP_LOCAL_PORT_RANGE, Linux 6.3 */

/* What it was. */
static int swap_option(int fd, int level, int option, int value)
{
	int old = 0;
	socklen_t len = sizeof(old);

	getsockopt(fd, level, option, &old, &len);
	setsockopt(fd, level, option, &value, sizeof(value));
	return old;
}

/* Who is to bind only the address gets the port when it listens. */
static int bind_and_listen(int fd, const struct sockaddr *name, socklen_t len)
{
	return bind(fd, name, len) < 0 || listen(fd, 0) < 0 ? -errno : 0;
}

int ckpt_bind_and_lose(int fd, const struct sockaddr *name, socklen_t len)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} a = { .v6.sin6_family = AF_UNSPEC };
	int range, address, port, r;

	if (name->sa_family == AF_INET)
		a.v4 = *(const struct sockaddr_in *)name;
	else
		a.v6 = *(const struct sockaddr_in6 *)name;
	/* With nobody who has it now. */
	address = swap_option(fd, SOL_SOCKET, SO_REUSEADDR, 0);
	port = swap_option(fd, SOL_SOCKET, SO_REUSEPORT, 0);
	range = swap_option(fd, SOL_IP, PORT_RANGE, (int)(ntohs(a.v4.sin_port) * 0x10001u));
	a.v4.sin_port = 0; /* at the same place in both */
	r = bind_and_listen(fd, &a.any, len);
	swap_option(fd, SOL_IP, PORT_RANGE, range);
	if (r == -EADDRINUSE)
		r = bind_and_listen(fd, &a.any, len);
	if (r == 0 && shutdown(fd, SHUT_RDWR) < 0)
		r = -errno;
	swap_option(fd, SOL_SOCKET, SO_REUSEPORT, port);
	swap_option(fd, SOL_SOCKET, SO_REUSEADDR, address);
	return r;
}
