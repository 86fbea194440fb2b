/* SPDX-License-Identifier: Apache-2.0 */
/* The side of the dumps: to start a holder, to give to it, to take from it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "injector/holder-wire.h"

int ckpt_holder_start(struct ckpt_err *err)
{
	int end[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, end) < 0)
		return ckpt_fail(err, -errno, "tracking: cannot make a socket");
	pid = fork();
	if (pid == 0)
		ckpt_holder_main(end[1]);
	close(end[1]);
	if (pid < 0) {
		close(end[0]);
		return ckpt_fail(err, -errno, "tracking: cannot fork");
	}
	return end[0];
}

int ckpt_holder_give(int holder, const struct ckpt_held *what, const struct ckpt_live *live,
		     struct ckpt_err *err)
{
	struct ckpt_holder_head head = { .what = *what };
	const struct ckpt_track *t;
	bool good;

	while (ckpt_live_nth(live, head.n))
		head.n++;
	if (!head.n)
		return ckpt_fail(err, -ENOENT, "no process can be tracked");
	good = ckpt_holder_trusts(holder) &&
	       send(holder, &head, sizeof(head), MSG_NOSIGNAL) == sizeof(head);
	for (uint32_t i = 0; good && (t = ckpt_live_nth(live, i)); i++)
		good = ckpt_holder_send_track(holder, t);
	if (good && ckpt_holder_hears(holder, CKPT_HOLDER_DONE))
		return 0;
	return ckpt_fail(err, -ECHILD, "the process that holds the tracking has ended");
}

/* Anybody may take that name, but only root and who ROOT belongs to can track it. */
static bool can_track(int sock, pid_t root)
{
	char path[32];
	struct ucred peer;
	struct stat st;
	socklen_t len = sizeof(peer);

	snprintf(path, sizeof(path), "/proc/%d", root);
	return getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       stat(path, &st) == 0 && (!peer.uid || peer.uid == st.st_uid);
}

static int connect_to(pid_t root, uint64_t image, bool *theirsp)
{
	struct sockaddr_un a;
	unsigned int len = ckpt_holder_address(&a, root, image);
	CKPT_FD sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (sock < 0 || connect(sock, (struct sockaddr *)&a, len) < 0)
		return -1;
	if (ckpt_holder_trusts(sock))
		return ckpt_take_fd(&sock);
	*theirsp = can_track(sock, root);
	return -1;
}

int ckpt_holder_take(pid_t root, uint64_t image, struct ckpt_arena *arena,
		     struct ckpt_track **trackp, int *holderp, struct ckpt_err *err)
{
	struct ckpt_holder_head head;
	bool good, theirs;
	CKPT_FD sock = connect_to(root, image, &theirs);
	uint32_t n = 0;

	*trackp = NULL;
	if (sock < 0)
		return 0;
	good = ckpt_holder_say(sock, CKPT_HOLDER_TAKE) &&
	       recv(sock, &head, sizeof(head), 0) == sizeof(head) && head.n <= CKPT_HOLDER_MAX;
	if (good)
		*trackp = ckpt_alloc(arena, (head.n + 1) * sizeof(**trackp));
	for (; good && n < head.n; n += good)
		good = ckpt_holder_receive_track(sock, &(*trackp)[n]);
	if (good && ckpt_holder_say(sock, CKPT_HOLDER_DONE)) {
		*holderp = ckpt_take_fd(&sock);
		return n;
	}
	while (n)
		ckpt_track_close(&(*trackp)[--n]);
	return ckpt_fail(err, -EPROTO, "process %d: what tracks its memory does not answer", root);
}

/* Calls VISIT for the image of every holder of ROOT. */
static void each(pid_t root, void (*visit)(void *arg, pid_t root, uint64_t image), void *arg)
{
	FILE *f = fopen("/proc/net/unix", "re");
	CKPT_FREE char *line = NULL;
	size_t size = 0;

	while (f && getline(&line, &size, f) > 0) {
		const char *name = strstr(line, " @" CKPT_HOLDER_NAME "/");
		unsigned long long image;
		int pid;

		if (name && sscanf(name, " @" CKPT_HOLDER_NAME "/%d/%llx", &pid, &image) == 2 &&
		    pid == root)
			visit(arg, root, image);
	}
	if (f)
		fclose(f);
}

static void see(void *arg, pid_t root, uint64_t image)
{
	(void)root;
	(void)image;
	*(bool *)arg = true;
}

bool ckpt_holder_has(pid_t root)
{
	bool any = false;

	each(root, see, &any);
	return any;
}

/* It has ended when the connection does. */
static void end(void *arg, pid_t root, uint64_t image)
{
	bool theirs = false;
	CKPT_FD sock = connect_to(root, image, &theirs);

	*(bool *)arg |= theirs;
	if (sock >= 0 && ckpt_holder_say(sock, CKPT_HOLDER_END))
		ckpt_holder_hears(sock, CKPT_HOLDER_DONE);
}

bool ckpt_holder_end(pid_t root)
{
	bool theirs = false;

	each(root, end, &theirs);
	return !theirs;
}
