/* SPDX-License-Identifier: Apache-2.0 */
/* Packets between a dump and the process that holds what it tracks. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include "injector/holder-wire.h"

#define PATIENCE_S 5
#define N_FDS 4

union control {
	struct cmsghdr hdr;
	char buf[CMSG_SPACE(N_FDS * sizeof(int))];
};

bool ckpt_holder_send_track(int sock, const struct ckpt_track *t)
{
	const int fd[N_FDS] = { t->uffd, t->pagemap, t->mem, t->maps };
	union control control = { .buf = { 0 } };
	struct iovec iov = { (void *)&t->pid, sizeof(t->pid) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	ssize_t n;

	control.hdr.cmsg_level = SOL_SOCKET;
	control.hdr.cmsg_type = SCM_RIGHTS;
	control.hdr.cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(&control.hdr), fd, sizeof(fd));
	do
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n == sizeof(t->pid);
}

bool ckpt_holder_receive_track(int sock, struct ckpt_track *t)
{
	int fd[N_FDS];
	union control control;
	struct iovec iov = { &t->pid, sizeof(t->pid) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	ssize_t n;

	*t = (struct ckpt_track){ .uffd = -1, .pagemap = -1, .mem = -1, .maps = -1 };
	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	c = n < 0 ? NULL : CMSG_FIRSTHDR(&msg);
	if (n != sizeof(t->pid) || !c || c->cmsg_type != SCM_RIGHTS ||
	    c->cmsg_len != CMSG_LEN(sizeof(fd)))
		return false;
	memcpy(fd, CMSG_DATA(c), sizeof(fd));
	t->uffd = fd[0];
	t->pagemap = fd[1];
	t->mem = fd[2];
	t->maps = fd[3];
	return true;
}

bool ckpt_holder_say(int sock, enum ckpt_holder_verb verb)
{
	const char c = verb;

	return send(sock, &c, 1, MSG_NOSIGNAL) == 1;
}

bool ckpt_holder_hears(int sock, enum ckpt_holder_verb verb)
{
	char c = 0;
	ssize_t n;

	do
		n = recv(sock, &c, 1, 0);
	while (n < 0 && errno == EINTR);
	return n == 1 && c == (char)verb;
}

bool ckpt_holder_trusts(int sock)
{
	const struct timeval patience = { PATIENCE_S, 0 };
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       peer.uid == geteuid() &&
	       setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
	       setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0;
}

unsigned int ckpt_holder_address(struct sockaddr_un *a, pid_t root, uint64_t image)
{
	int n;

	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	n = snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1, CKPT_HOLDER_NAME "/%d/%016llx", root,
		     (unsigned long long)image);
	return offsetof(struct sockaddr_un, sun_path) + 1 + n;
}
