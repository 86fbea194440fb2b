/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A moment with descriptors of one's own. Linux opens at the lowest number, where other threads see
 * it; so a thread opens that does not share them, and is gone before anybody could miss it: it is
 * nobody's child, and its maker waits.
 */
#include <errno.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/prctl.h>
#include "libinproc/inproc.h"
#include "libinproc/sys.h"

/* CLONE_FILES at first: the table is left, not copied. No CLONE_VFORK: its maker could not be
 * stopped by a debugger that has stopped it. */
#define FLAGS                                                                               \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | \
	 CLONE_CHILD_CLEARTID)

struct apart {
	void (*function)(void *arg);
	void *arg;
	bool done;
	uint32_t runs; /* the kernel clears it at the end, and wakes who waits */
};

/* In the memory and on the thread pointer of who made it. */
static int apart_main(void *arg)
{
	struct apart *a = arg;

	if (ckpt_sys(SYS_close_range, 0, ~0u, CLOSE_RANGE_UNSHARE) >= 0) { /* Linux 5.9 */
		a->function(a->arg);
		a->done = true;
	}
	return 0;
}

bool ckpt_apart(void (*function)(void *arg), void *arg)
{
	struct ckpt_session *s = ckpt_session;
	struct apart a = { function, arg, false, 1 };
	const uint64_t all = ~0ull;
	uint64_t mask;
	int i = -1, saved = errno;

	if (!s || ckpt_n_threads() == 1)
		return false;
	/* A filter may end the program for a clone(2) that it does not expect. */
	if (ckpt_sys(SYS_prctl, PR_GET_SECCOMP) == 0)
		i = ckpt_stack_take(s);
	if (i < 0)
		return false;
	ckpt_sys(SYS_rt_sigprocmask, SIG_SETMASK, &all, &mask, 8);
	if (clone(apart_main, ckpt_stack_top(i), FLAGS, &a, NULL, NULL, &a.runs) >= 0) {
		while (__atomic_load_n(&a.runs, __ATOMIC_ACQUIRE))
			ckpt_sys(SYS_futex, &a.runs, FUTEX_WAIT, 1, NULL);
	}
	ckpt_sys(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, 8);
	ckpt_stack_give_back(s, i);
	errno = saved;
	return a.done;
}
