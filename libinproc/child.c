/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGCHLD, which most programs leave alone. The kernel ignores it then, but where the thread that
 * has the child blocks it: there it is kept, and wakes another thread, out of epoll_wait(2) with
 * EINTR, say. So our handler blocks it only in programs that catch it.
 */
#include "libinproc/inproc.h"
#include "libinproc/sys.h"

#define BIT (1ull << (SIGCHLD - 1))
#define SPINS 1000 /* as often who is in the handler may not run */

bool ckpt_is_caught(int sig)
{
	struct ckpt_action act = { 0 };

	return ckpt_sys(SYS_rt_sigaction, sig, NULL, &act, 8) >= 0 && (uintptr_t)act.handler > 1;
}

static bool anybody_is_inside(void)
{
	for (int i = 0; i < CKPT_N_STACKS; i++)
		if (__atomic_load_n(&ckpt_session->stack_used[i], __ATOMIC_ACQUIRE))
			return true;
	return false;
}

bool ckpt_take_signal(int sig, bool child_is_caught)
{
	const unsigned long flags = SA_SIGINFO | SA_RESTART | CKPT_RESTORER;
	const struct ckpt_action act = { ckpt_on_signal,
					 ckpt_config.on_stack ? flags | SA_ONSTACK : flags,
					 ckpt_restorer, child_is_caught ? ~0ull : ~BIT };

	return ckpt_sys(SYS_rt_sigaction, sig, &act, NULL, 8) >= 0;
}

void ckpt_child_begin(int sig, bool catches)
{
	if (sig != SIGCHLD || !catches || !ckpt_config.on)
		return;
	ckpt_take_signal(ckpt_config.signal, true);
	for (int i = 0; i < SPINS && anybody_is_inside(); i++)
		ckpt_sys(SYS_sched_yield);
}

void ckpt_child_end(int sig)
{
	if (sig == SIGCHLD && ckpt_config.on && !ckpt_is_caught(SIGCHLD))
		ckpt_take_signal(ckpt_config.signal, false);
}

void ckpt_child_look(void)
{
	const uint64_t bit = BIT;

	if (ckpt_is_caught(SIGCHLD))
		ckpt_sys(SYS_rt_sigprocmask, SIG_BLOCK, &bit, NULL, 8);
}
