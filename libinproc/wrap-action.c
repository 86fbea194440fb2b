/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reserved signal cannot be taken: what the program wants to do with it is remembered, given
 * back when it asks, and never done. No action of another signal blocks it.
 */
#include <errno.h>
#include <string.h>
#include "libinproc/wrap.h"

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#define SPINS 1000 /* as often who holds the lock may not run; a fork may have copied it taken */

static struct sigaction pretended;
static uint32_t taken;

/* No handler runs between these in this thread, so none finds the lock taken by who it interrupts.
 */
static uint64_t lock(void)
{
	const uint64_t all = ~0ull;
	uint64_t old = 0;

	ckpt_sys(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, 8);
	for (int i = 0; i < SPINS && __atomic_exchange_n(&taken, 1, __ATOMIC_ACQUIRE); i++)
		ckpt_sys(SYS_sched_yield);
	return old;
}

static void unlock(uint64_t old)
{
	__atomic_store_n(&taken, 0, __ATOMIC_RELEASE);
	ckpt_sys(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, 8);
}

static int pretend(const struct sigaction *act, struct sigaction *old)
{
	struct sigaction new, was;
	uint64_t mask;

	if (act)
		new = *act;
	mask = lock();
	was = pretended;
	if (act && ckpt_is_own_memory())
		pretended = new;
	unlock(mask);
	if (old)
		*old = was;
	return 0;
}

static __sighandler_t pretend_handler(__sighandler_t handler, int flags)
{
	struct sigaction act = { .sa_handler = handler, .sa_flags = flags }, old;

	if (handler == SIG_ERR) {
		errno = EINVAL;
		return SIG_ERR;
	}
	pretend(&act, &old);
	return old.sa_handler;
}

static int set_action(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct sigaction own;
	int ret;

	if (ckpt_is_reserved(sig))
		return pretend(act, old);
	if (act && ckpt_config.on) {
		own = *act;
		ckpt_strip(&own.sa_mask);
		act = &own;
	}
	ret = REAL(sigaction)(sig, act, old);
	if (!ret && old && ckpt_config.on)
		ckpt_strip(&old->sa_mask);
	return ret;
}

CKPT_EXPORT int sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	return set_action(sig, act, old);
}

CKPT_EXPORT int __sigaction(int sig, const struct sigaction *act, struct sigaction *old);
CKPT_EXPORT int __sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	return set_action(sig, act, old);
}

static __sighandler_t set_handler(int sig, __sighandler_t handler)
{
	return ckpt_is_reserved(sig) ? pretend_handler(handler, SA_RESTART) :
				       REAL(signal)(sig, handler);
}

CKPT_EXPORT __sighandler_t signal(int sig, __sighandler_t handler)
{
	return set_handler(sig, handler);
}

CKPT_EXPORT __sighandler_t bsd_signal(int sig, __sighandler_t handler);
CKPT_EXPORT __sighandler_t bsd_signal(int sig, __sighandler_t handler)
{
	return set_handler(sig, handler);
}

CKPT_EXPORT __sighandler_t ssignal(int sig, __sighandler_t handler)
{
	return set_handler(sig, handler);
}

#define SYSV_FLAGS ((int)(SA_RESETHAND | SA_NODEFER))

CKPT_EXPORT __sighandler_t sysv_signal(int sig, __sighandler_t handler)
{
	return ckpt_is_reserved(sig) ? pretend_handler(handler, SYSV_FLAGS) :
				       REAL(sysv_signal)(sig, handler);
}

CKPT_EXPORT __sighandler_t __sysv_signal(int sig, __sighandler_t handler)
{
	return ckpt_is_reserved(sig) ? pretend_handler(handler, SYSV_FLAGS) :
				       REAL(__sysv_signal)(sig, handler);
}

CKPT_EXPORT __sighandler_t sigset(int sig, __sighandler_t disposition)
{
	struct sigaction now;

	if (!ckpt_is_reserved(sig))
		return REAL(sigset)(sig, disposition);
	if (disposition != SIG_HOLD)
		return pretend_handler(disposition, 0);
	pretend(NULL, &now); /* it is never held */
	return now.sa_handler;
}

CKPT_EXPORT int sigignore(int sig)
{
	if (!ckpt_is_reserved(sig))
		return REAL(sigignore)(sig);
	pretend_handler(SIG_IGN, 0);
	return 0;
}

CKPT_EXPORT int siginterrupt(int sig, int interrupts)
{
	struct sigaction act;

	if (!ckpt_is_reserved(sig))
		return REAL(siginterrupt)(sig, interrupts);
	pretend(NULL, &act);
	act.sa_flags = interrupts ? act.sa_flags & ~SA_RESTART : act.sa_flags | SA_RESTART;
	return pretend(&act, NULL);
}
