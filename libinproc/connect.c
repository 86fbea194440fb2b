/* SPDX-License-Identifier: Apache-2.0 */
/* The way to who asked for the checkpoint. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "libinproc/inproc.h"
#include "libinproc/sys.h"

#define FRESH_MS 2000

uint64_t ckpt_token_make(uint32_t random)
{
	return (uint64_t)random << 32 | (uint32_t)(ckpt_now_ns() / 1000000);
}

/* A signal that was blocked for long, or is left over from an earlier try, must not make anybody
 * wait: the token says when it was sent. */
bool ckpt_token_is_fresh(uint64_t token)
{
	return (uint32_t)(ckpt_now_ns() / 1000000) - (uint32_t)token < FRESH_MS;
}

static void put_name(char *at, uint64_t token)
{
	static const char digits[] = "0123456789abcdef", prefix[] = "ckpt-";

	for (int i = 0; prefix[i]; i++)
		*at++ = prefix[i];
	for (int shift = 60; shift >= 0; shift -= 4)
		*at++ = digits[token >> shift & 15];
}

/* Only who may read our memory anyway gets it from us. */
static bool is_trusted(int fd)
{
	struct ucred peer;
	uint32_t len = sizeof(peer);

	if (ckpt_sys(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	return peer.uid == 0 || peer.uid == (uid_t)ckpt_sys(SYS_geteuid);
}

int ckpt_connect(uint64_t token)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int r, fd = ckpt_sys(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return fd;
	put_name(name.sun_path + 1, token);
	r = ckpt_sys(SYS_connect, fd, &name, offsetof(struct sockaddr_un, sun_path) + 1 + 21);
	if (r >= 0 && !is_trusted(fd))
		r = -EPERM;
	if (r >= 0) {
		r = ckpt_sys(SYS_fcntl, fd, F_DUPFD_CLOEXEC, CKPT_LOWEST_FD);
		if (r == -EINVAL) /* the limit is below: nobody else runs who could see it */
			return fd;
	}
	ckpt_sys(SYS_close, fd);
	return r;
}
