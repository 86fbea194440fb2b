/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transfers with a time limit of the socket's (SO_RCVTIMEO, SO_SNDTIMEO). A call that is made again
 * would have the whole of it again. So it is tried, without waiting, until what is left is over;
 * again and again, for a send needs less room than poll(2) asks for, and who connects to a Unix
 * socket is not told of a place there.
 */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include "libinproc/inproc.h"
#include "libinproc/sys.h"

#define TRY_NS 10000000

int64_t ckpt_socket_limit(int fd, int option)
{
	struct timeval limit = { 0 };
	uint32_t len = sizeof(limit);

	if (ckpt_sys(SYS_getsockopt, fd, SOL_SOCKET, option, &limit, &len) < 0)
		return 0;
	return limit.tv_sec * 1000000000 + limit.tv_usec * 1000;
}

/* As write(2) has it. */
static int own_flags(int fd)
{
	uint32_t type = 0, len = sizeof(type);

	ckpt_sys(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &len);
	return type == SOCK_SEQPACKET ? MSG_EOR : 0;
}

/* There is no flag for it: for a moment the socket, which has no connection yet, is non-blocking.
 * No checkpoint comes in between, for this thread takes no signal. */
static int64_t try_connect(const uint64_t arg[6])
{
	int on = 1, off = 0;
	int64_t ret;

	ckpt_sys(SYS_ioctl, arg[0], FIONBIO, &on);
	ret = ckpt_sys(SYS_connect, arg[0], arg[1], arg[2]);
	ckpt_sys(SYS_ioctl, arg[0], FIONBIO, &off);
	return ret;
}

static int64_t try_once(long nr, const uint64_t arg[6])
{
	struct iovec one = { (void *)arg[1], arg[2] };
	struct msghdr m = { .msg_iov = &one, .msg_iovlen = 1 };

	switch (nr) {
	case SYS_connect:
		return try_connect(arg);
	case SYS_writev:
	case SYS_readv:
		m = (struct msghdr){ .msg_iov = (void *)arg[1], .msg_iovlen = arg[2] };
		if (nr == SYS_readv)
			return ckpt_sys(SYS_recvmsg, arg[0], &m, MSG_DONTWAIT);
		/* fall through */
	case SYS_write:
		return ckpt_sys(SYS_sendmsg, arg[0], &m, MSG_DONTWAIT | own_flags(arg[0]));
	case SYS_sendto:
		return ckpt_sys(nr, arg[0], arg[1], arg[2], arg[3] | MSG_DONTWAIT, arg[4], arg[5]);
	case SYS_sendmmsg:
		return ckpt_sys(nr, arg[0], arg[1], arg[2], arg[3] | MSG_DONTWAIT);
	default: /* sendmsg, recvmsg */
		return ckpt_sys(nr, arg[0], arg[1], arg[2] | MSG_DONTWAIT);
	}
}

int64_t ckpt_try_until(long nr, const uint64_t arg[6], int64_t left, const uint64_t *mask)
{
	bool receives = nr == SYS_readv || nr == SYS_recvmsg;
	struct pollfd p = { arg[0], receives ? POLLIN : POLLOUT, 0 };
	int64_t ret, ready = 0;

	while ((ret = try_once(nr, arg)) == -EAGAIN && left > 0) {
		int64_t ns = left < TRY_NS ? left : TRY_NS;
		struct timespec t = { 0, ns };
		/* What said that it is ready, and was not, will say so again. */
		const uint64_t wait[6] = { (uintptr_t)&p, ready <= 0, (uintptr_t)&t,
					   (uintptr_t)mask, sizeof(*mask) };

		ckpt_again_met = false;
		ready = ckpt_again_call(SYS_ppoll, wait);
		if (ready == -EINTR && !ckpt_again_met)
			return ready;
		left -= ns - t.tv_nsec; /* the kernel writes back what is left */
	}
	return ret;
}
