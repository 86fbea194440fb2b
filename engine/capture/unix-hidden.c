/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Empty messages that a peek no longer shows: the kernel does so once only, whoever looks. But what
 * was sent and not read is charged to the sender, each message with what one of its size takes: a
 * pair of our own tells how much that is on this kernel.
 */
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/capture/unix-queue.h"

/* The buffer may have to be larger than an ordinary user can have it: then sending fails. */
static void make_room(int fd, size_t len)
{
	int size = len + 1024;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

/* 0: not known. */
static size_t cost(int from, int to, const void *data, size_t len)
{
	int n = 0;

	make_room(from, len);
	if (send(from, data, len, MSG_DONTWAIT) < 0 || ioctl(from, SIOCOUTQ, &n) < 0)
		return 0;
	recv(to, NULL, 0, MSG_DONTWAIT);
	return n;
}

size_t ckpt_unix_hidden(const struct ckpt_unix_queue *queue, int type, uint32_t sent)
{
	CKPT_FD from = -1;
	CKPT_FD to = -1;
	size_t left = sent, each;
	int pair[2];

	/* The first one is always shown. */
	if (!sent || !queue->n || socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0)
		return 0;
	from = pair[0];
	to = pair[1];
	each = cost(from, to, "", 0);
	for (size_t i = 0; i < queue->n; i++) {
		const struct ckpt_unix_message *m = &queue->v[i];
		size_t n = cost(from, to, m->data, m->len);

		if (!n || n > left)
			return 0;
		left -= n;
	}
	return each && left % each == 0 ? left / each : 0;
}
