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

CKPT_EARLY static struct sigaction pretended;
CKPT_EARLY static uint32_t taken;

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
	if (act && ckpt_is_own_memory()) {
		pretended = new;
		if (new.sa_flags & SA_ONSTACK && !ckpt_config.on_stack) {
			ckpt_config.on_stack = true;
			ckpt_take_signal(ckpt_config.signal, ckpt_is_caught(SIGCHLD));
		}
	}
	unlock(mask);
	if (old)
		*old = was;
	return 0;
}

int __sigaction(int sig, const struct sigaction *act, struct sigaction *old);

/* Another library that stands behind ours, a sanitizer's or one that chains handlers, has to see
 * everything. libc has both names for one function. */
static bool is_libc(void)
{
	return REAL(sigaction) == REAL(__sigaction);
}

/* What libc does, but with our way back out of the handlers. */
static int set_kernel_action(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct ckpt_action new, was;
	int64_t ret;

	if (act) {
		new = (struct ckpt_action){ act->sa_handler,
					    (unsigned int)act->sa_flags | CKPT_RESTORER,
					    ckpt_restorer };
		memcpy(&new.mask, &act->sa_mask, sizeof(new.mask));
		new.mask &= ~ckpt_reserved_bit();
	}
	ret = ckpt_sys(SYS_rt_sigaction, sig, act ? &new : NULL, old ? &was : NULL, 8);
	if (ret < 0) {
		errno = -ret;
		return -1;
	}
	if (old) {
		was.mask &= ~ckpt_reserved_bit();
		old->sa_handler = was.handler;
		old->sa_flags = was.flags;
		old->sa_restorer = (void (*)(void))was.restorer;
		memcpy(&old->sa_mask, &was.mask, sizeof(was.mask));
	}
	return 0;
}

/* What is not the program's (abort(3), the first real-time signals) libc knows best. */
static bool is_ours_to_set(int sig)
{
	return is_libc() && sig != SIGABRT && (sig < __SIGRTMIN || sig >= SIGRTMIN);
}

static int set_by_libc(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct sigaction own;
	int ret;

	if (act) {
		own = *act;
		ckpt_strip(&own.sa_mask);
		act = &own;
	}
	ret = REAL(sigaction)(sig, act, old);
	if (!ret && old)
		ckpt_strip(&old->sa_mask);
	return ret;
}

static int set_action(int sig, const struct sigaction *act, struct sigaction *old)
{
	bool catches = act && (uintptr_t)act->sa_handler > (uintptr_t)SIG_IGN;
	int ret;

	if (ckpt_is_reserved(sig))
		return pretend(act, old);
	ckpt_child_begin(sig, catches);
	ret = is_ours_to_set(sig) ? set_kernel_action(sig, act, old) : set_by_libc(sig, act, old);
	ckpt_child_end(sig);
	return ret;
}

CKPT_EXPORT int sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	return set_action(sig, act, old);
}

CKPT_EXPORT int __sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	return set_action(sig, act, old);
}

/* ---- the older ways, each an action with certain flags ---- */

typedef __sighandler_t set_function(int sig, __sighandler_t handler);

static uint64_t interrupting; /* the signals that siginterrupt(3) was told of */

static __sighandler_t set_really(int sig, __sighandler_t handler, set_function *real)
{
	__sighandler_t old;

	ckpt_child_begin(sig, (uintptr_t)handler > (uintptr_t)SIG_IGN);
	old = real(sig, handler);
	ckpt_child_end(sig);
	return old;
}

static __sighandler_t set_handler(int sig, const struct sigaction *act, set_function *real)
{
	struct sigaction old;

	if (!ckpt_is_reserved(sig) && !is_libc())
		return set_really(sig, act->sa_handler, real);
	if (act->sa_handler == SIG_ERR || sig < 1 || sig >= _NSIG) {
		errno = EINVAL;
		return SIG_ERR;
	}
	return set_action(sig, act, &old) < 0 ? SIG_ERR : old.sa_handler;
}

static __sighandler_t set_bsd(int sig, __sighandler_t handler)
{
	struct sigaction act = { .sa_handler = handler, .sa_flags = SA_RESTART };

	if (sig >= 1 && sig < _NSIG) {
		sigaddset(&act.sa_mask, sig);
		if (__atomic_load_n(&interrupting, __ATOMIC_RELAXED) >> (sig - 1) & 1)
			act.sa_flags = 0;
	}
	return set_handler(sig, &act, REAL(signal));
}

CKPT_EXPORT __sighandler_t signal(int sig, __sighandler_t handler)
{
	return set_bsd(sig, handler);
}

CKPT_EXPORT __sighandler_t bsd_signal(int sig, __sighandler_t handler);
CKPT_EXPORT __sighandler_t bsd_signal(int sig, __sighandler_t handler)
{
	return set_bsd(sig, handler);
}

CKPT_EXPORT __sighandler_t ssignal(int sig, __sighandler_t handler)
{
	return set_bsd(sig, handler);
}

static __sighandler_t set_sysv(int sig, __sighandler_t handler)
{
	const struct sigaction act = { .sa_handler = handler,
				       .sa_flags = SA_RESETHAND | SA_NODEFER | SA_INTERRUPT };

	return set_handler(sig, &act, REAL(sysv_signal));
}

CKPT_EXPORT __sighandler_t sysv_signal(int sig, __sighandler_t handler)
{
	return set_sysv(sig, handler);
}

CKPT_EXPORT __sighandler_t __sysv_signal(int sig, __sighandler_t handler)
{
	return set_sysv(sig, handler);
}

CKPT_EXPORT __sighandler_t sigset(int sig, __sighandler_t disposition)
{
	const struct sigaction act = { .sa_handler = disposition };
	struct sigaction now;

	if (!ckpt_is_reserved(sig))
		return set_really(sig, disposition, REAL(sigset));
	if (disposition != SIG_HOLD)
		return set_handler(sig, &act, REAL(sigset));
	pretend(NULL, &now); /* it is never held */
	return now.sa_handler;
}

CKPT_EXPORT int sigignore(int sig)
{
	const struct sigaction act = { .sa_handler = SIG_IGN };

	return set_action(sig, &act, NULL);
}

CKPT_EXPORT int siginterrupt(int sig, int interrupts)
{
	struct sigaction act;

	if (!ckpt_is_reserved(sig) && !is_libc())
		return REAL(siginterrupt)(sig, interrupts);
	if (set_action(sig, NULL, &act) < 0)
		return -1;
	if (interrupts) {
		__atomic_or_fetch(&interrupting, 1ull << (sig - 1), __ATOMIC_RELAXED);
		act.sa_flags &= ~SA_RESTART;
	} else {
		__atomic_and_fetch(&interrupting, ~(1ull << (sig - 1)), __ATOMIC_RELAXED);
		act.sa_flags |= SA_RESTART;
	}
	return set_action(sig, &act, NULL);
}
