/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of the process as it stands: the memory is shared with it copy-on-write, so that the
 * program may go on while the copy is written out. */
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include "libinproc/inproc.h"
#include "libinproc/sys.h"

struct ends {
	int engine, copy;
};

/* In the copy, where the session is cleared memory. The program's descriptors must not be held: a
 * pipe that the program closes has to be at its end then. */
static void copy_main(void *arg)
{
	int fd = ((struct ends *)arg)->copy;
	struct ckpt_session *s = ckpt_session;
	struct ckpt_parked me = { .uc = NULL };
	struct ckpt_end end;

	ckpt_sys(SYS_dup2, fd, 0);
	ckpt_sys(SYS_close_range, 1, ~0u, 0);
	ckpt_sys(SYS_prctl, PR_SET_NAME, "ckpt-copy");
	ckpt_sys(SYS_prctl, PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	s->pid = me.tid = ckpt_sys(SYS_getpid);
	s->leader = &me;
	if (ckpt_serve_hello(0, CKPT_WIRE_PARKED, 0))
		ckpt_serve(0, &end);
}

int64_t ckpt_serve_copy(int *fdp)
{
	struct ends e;
	int64_t pid, r;

	r = ckpt_sys(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, &e);
	if (r < 0)
		return r;
	pid = ckpt_spawn_copy(copy_main, &e);
	ckpt_sys(SYS_close, e.copy);
	if (pid < 0) {
		ckpt_sys(SYS_close, e.engine);
		return pid;
	}
	*fdp = e.engine;
	return pid;
}
