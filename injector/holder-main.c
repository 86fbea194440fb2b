/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process that holds. It has left everything of who started it: session, terminal, folder,
 * descriptors; a pipe of a script is not kept open by it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/clocks.h"
#include "injector/holder-wire.h"

#define GIVER 3
#define MS 1000000ull /* in ns */
#define SOCKET 0
#define TAKER 1
#define TASKS 2

struct holder {
	struct ckpt_holder_head head;
	struct ckpt_track *track;
	/* The socket, who has got all of it, then a pidfd for each; -1: it has ended. */
	struct pollfd *poll;
	uint64_t deadline; /* CLOCK_MONOTONIC in ms, 0: none */
};

/* What ps shows of the arguments is their memory. */
static void set_title(const char *title)
{
	unsigned long start = 0, end = 0;
	char stat[2048];
	CKPT_FD fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, stat, sizeof(stat) - 1);
	char *p = stat;

	if (n <= 0)
		return;
	stat[n] = '\0';
	p = strrchr(stat, ')');
	for (int field = 2; p && field < 48; field++)
		p = strchr(p + 1, ' ');
	if (!p || sscanf(p, "%lu %lu", &start, &end) != 2 || end <= start)
		return;
	memset((void *)start, 0, end - start);
	snprintf((char *)start, end - start, "%s", title);
}

static void leave_all(int giver)
{
	sigset_t none;
	int null;

	setsid();
	prctl(PR_SET_NAME, CKPT_HOLDER_NAME, 0, 0, 0);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (chdir("/") < 0 || dup2(giver, GIVER) < 0)
		_exit(1);
	null = open("/dev/null", O_RDWR);
	for (int fd = 0; fd < GIVER; fd++)
		if (null < 0 || dup2(null, fd) < 0)
			_exit(1);
	syscall(SYS_close_range, GIVER + 1, ~0u, 0);
	fcntl(GIVER, F_SETFD, FD_CLOEXEC);
}

static bool receive(struct holder *h)
{
	ssize_t n;

	do
		n = recv(GIVER, &h->head, sizeof(h->head), 0);
	while (n < 0 && errno == EINTR);
	if (n != sizeof(h->head) || !h->head.n || h->head.n > CKPT_HOLDER_MAX)
		return false;
	h->track = calloc(h->head.n, sizeof(*h->track));
	h->poll = calloc(TASKS + h->head.n, sizeof(*h->poll));
	if (!h->track || !h->poll)
		return false;
	for (uint32_t i = 0; i < h->head.n; i++) {
		if (!ckpt_holder_receive_track(GIVER, &h->track[i]))
			return false;
		h->poll[TASKS + i].fd = syscall(SYS_pidfd_open, h->track[i].pid, 0);
		h->poll[TASKS + i].events = POLLIN;
	}
	return true;
}

static bool appear(struct holder *h)
{
	struct sockaddr_un a;
	unsigned int len = ckpt_holder_address(&a, h->head.what.root, h->head.what.image);
	char title[64];
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	h->poll[SOCKET] = (struct pollfd){ sock, POLLIN, 0 };
	h->poll[TAKER] = (struct pollfd){ -1, POLLIN, 0 };
	if (sock < 0 || bind(sock, (struct sockaddr *)&a, len) < 0 || listen(sock, 8) < 0)
		return false;
	snprintf(title, sizeof(title), CKPT_HOLDER_NAME " %d", h->head.what.root);
	set_title(title);
	return true;
}

/* Those that have ended are forgotten. */
static bool forget_ended(struct holder *h)
{
	bool any = false;

	for (uint32_t i = 0; i < h->head.n; i++) {
		struct pollfd *p = &h->poll[TASKS + i];

		if (p->fd >= 0 && p->revents) {
			ckpt_close_fd(&p->fd);
			p->fd = -1;
			p->revents = 0;
		}
		if (p->fd < 0)
			ckpt_track_close(&h->track[i]);
		any |= p->fd >= 0;
	}
	return any;
}

static bool give(const struct holder *h, int sock)
{
	struct ckpt_holder_head head = h->head;

	head.n = 0;
	for (uint32_t i = 0; i < h->head.n; i++)
		head.n += h->track[i].uffd >= 0;
	if (send(sock, &head, sizeof(head), MSG_NOSIGNAL) != sizeof(head))
		return false;
	for (uint32_t i = 0; i < h->head.n; i++)
		if (h->track[i].uffd >= 0 && !ckpt_holder_send_track(sock, &h->track[i]))
			return false;
	return ckpt_holder_hears(sock, CKPT_HOLDER_DONE);
}

/* Somebody comes. A dump that dies before it has all of it leaves us what it was. Whoever has got
 * it need not wait for the end of the tracking: 12 ms for each GiB, as of now only ours. */
static void answer(struct holder *h)
{
	CKPT_FD sock = accept4(h->poll[SOCKET].fd, NULL, NULL, SOCK_CLOEXEC);
	char verb = 0;

	if (sock < 0 || !ckpt_holder_trusts(sock) || recv(sock, &verb, 1, 0) != 1)
		return;
	if (verb == CKPT_HOLDER_END)
		_exit(0);
	if (verb == CKPT_HOLDER_TAKE && h->poll[TAKER].fd < 0 && give(h, sock))
		h->poll[TAKER].fd = ckpt_take_fd(&sock);
}

void ckpt_holder_main(int giver)
{
	struct holder h = { .deadline = 0 };

	leave_all(giver);
	if (!receive(&h) || !appear(&h))
		_exit(1);
	ckpt_holder_say(GIVER, CKPT_HOLDER_DONE);
	close(GIVER);
	if (h.head.what.timeout_s)
		h.deadline = ckpt_now_ns() / MS + h.head.what.timeout_s * 1000ull;
	while (forget_ended(&h)) {
		uint64_t now = ckpt_now_ns() / MS;
		int wait = !h.deadline                      ? -1 :
			   h.deadline <= now                ? 0 :
			   h.deadline - now > 1000000000ull ? 1000000000 :
							      (int)(h.deadline - now);

		if (!wait || (poll(h.poll, TASKS + h.head.n, wait) < 0 && errno != EINTR))
			break;
		if (h.poll[TAKER].fd >= 0 && h.poll[TAKER].revents)
			break;
		if (h.poll[SOCKET].revents)
			answer(&h);
	}
	_exit(0);
}
