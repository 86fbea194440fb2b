/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy of the process as it stands: the memory is shared with it copy-on-write, so that the
 * program may go on while the copy is written out. Areas that a fork leaves out or clears lose that
 * advice for the moment of the fork, while nobody runs who could see it.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include "libinproc/inproc.h"
#include "libinproc/sys.h"

struct copy {
	const struct ckpt_wire_kept *kept;
	size_t n;
};

/* OFF: as if they had never had it. */
static void advise(const struct copy *c, bool off)
{
	ckpt_sys(SYS_madvise, ckpt_session, sizeof(*ckpt_session),
		 off ? MADV_KEEPONFORK : MADV_WIPEONFORK);
	for (size_t i = 0; i < c->n; i++) {
		const struct ckpt_wire_kept *k = &c->kept[i];
		int advice = k->advice;

		if (off)
			advice = advice == MADV_DONTFORK ? MADV_DOFORK : MADV_KEEPONFORK;
		ckpt_sys(SYS_madvise, k->start, k->len, advice);
	}
}

/* In the copy, all of whose memory is going to be read: nothing of it may change but this stack.
 * It stays until the engine closes its end of the connection. */
static void copy_main(void *arg)
{
	struct copy *c = arg;
	char byte = 1;

	ckpt_sys(SYS_prctl, PR_SET_NAME, "ckpt-copy");
	ckpt_sys(SYS_prctl, PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	advise(c, false);
	ckpt_sys(SYS_write, 0, &byte, 1);
	ckpt_sys(SYS_read, 0, &byte, 1);
}

int64_t ckpt_serve_copy(const struct ckpt_wire_kept *kept, size_t n, int *fdp)
{
	struct copy c = { .kept = kept, .n = n };
	int ends[2]; /* the engine's, the copy's */
	int64_t pid, r;

	r = ckpt_sys(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
	if (r < 0)
		return r;
	advise(&c, true);
	pid = ckpt_spawn_copy(ends[1], copy_main, &c);
	advise(&c, false);
	ckpt_sys(SYS_close, ends[1]);
	if (pid < 0)
		ckpt_sys(SYS_close, ends[0]);
	else
		*fdp = ends[0];
	return pid;
}
