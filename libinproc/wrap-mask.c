/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reserved signal cannot be blocked nor waited for: it is taken out of every mask that the
 * program gives. Calls that wait stay libc's, and with them what pthread_cancel(3) does to them.
 */
#undef _FORTIFY_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include "libinproc/wrap.h"

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

/* What the program sees of its own mask. */
static int seen(int ret, sigset_t *old)
{
	if (!ret && old && ckpt_config.on)
		ckpt_strip(old);
	return ret;
}

CKPT_EXPORT int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	sigset_t own;

	return seen(REAL(sigprocmask)(how, ckpt_stripped(set, &own), old), old);
}

CKPT_EXPORT int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	sigset_t own;

	return seen(REAL(pthread_sigmask)(how, ckpt_stripped(set, &own), old), old);
}

CKPT_EXPORT int sigpending(sigset_t *set)
{
	return seen(REAL(sigpending)(set), set);
}

CKPT_EXPORT int pthread_attr_setsigmask_np(pthread_attr_t *attr, const sigset_t *set)
{
	sigset_t own;

	return REAL(pthread_attr_setsigmask_np)(attr, ckpt_stripped(set, &own));
}

/* ---- one signal at a time, or the first 32 ---- */

CKPT_EXPORT int sighold(int sig)
{
	return ckpt_is_reserved(sig) ? 0 : REAL(sighold)(sig);
}

CKPT_EXPORT int sigrelse(int sig)
{
	return ckpt_is_reserved(sig) ? 0 : REAL(sigrelse)(sig);
}

CKPT_EXPORT int sigblock(int mask)
{
	return REAL(sigblock)(mask & ~(uint32_t)ckpt_reserved_bit());
}

CKPT_EXPORT int sigsetmask(int mask)
{
	return REAL(sigsetmask)(mask & ~(uint32_t)ckpt_reserved_bit());
}

/* <signal.h> gives the name sigpause to the one of X/Open, which takes a signal out of the mask and
 * needs nothing. These take a mask. */
int ckpt_bsd_sigpause(int mask) __asm__("sigpause");
int __sigpause(int sig_or_mask, int is_sig);
int __sigsuspend(const sigset_t *set);

CKPT_EXPORT int ckpt_bsd_sigpause(int mask)
{
	return REAL_AS(ckpt_bsd_sigpause, sigpause)(mask & ~(uint32_t)ckpt_reserved_bit());
}

CKPT_EXPORT int __sigpause(int sig_or_mask, int is_sig)
{
	if (!is_sig)
		sig_or_mask &= ~(uint32_t)ckpt_reserved_bit();
	return REAL(__sigpause)(sig_or_mask, is_sig);
}

/* ---- waiting for signals ---- */

CKPT_EXPORT int sigsuspend(const sigset_t *set)
{
	sigset_t own;

	return REAL(sigsuspend)(ckpt_stripped(set, &own));
}

CKPT_EXPORT int __sigsuspend(const sigset_t *set)
{
	sigset_t own;

	return REAL(sigsuspend)(ckpt_stripped(set, &own));
}

CKPT_EXPORT int sigwait(const sigset_t *set, int *sig)
{
	sigset_t own;

	return REAL(sigwait)(ckpt_stripped(set, &own), sig);
}

CKPT_EXPORT int sigwaitinfo(const sigset_t *set, siginfo_t *info)
{
	sigset_t own;

	return REAL(sigwaitinfo)(ckpt_stripped(set, &own), info);
}

CKPT_EXPORT int sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *limit)
{
	sigset_t own;

	return REAL(sigtimedwait)(ckpt_stripped(set, &own), info, limit);
}

CKPT_EXPORT int signalfd(int fd, const sigset_t *set, int flags)
{
	sigset_t own;

	return REAL(signalfd)(fd, ckpt_stripped(set, &own), flags);
}

/* ---- waiting with another mask ---- */

CKPT_EXPORT int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *limit,
		      const sigset_t *set)
{
	sigset_t own;

	return REAL(ppoll)(fds, n, limit, ckpt_stripped(set, &own));
}

/* Programs built with _FORTIFY_SOURCE. */
int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *limit, const sigset_t *set,
		size_t len);
CKPT_EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *limit,
			    const sigset_t *set, size_t len)
{
	sigset_t own;

	return REAL(__ppoll_chk)(fds, n, limit, ckpt_stripped(set, &own), len);
}

CKPT_EXPORT int pselect(int n, fd_set *r, fd_set *w, fd_set *x, const struct timespec *limit,
			const sigset_t *set)
{
	sigset_t own;

	return REAL(pselect)(n, r, w, x, limit, ckpt_stripped(set, &own));
}

CKPT_EXPORT int epoll_pwait(int fd, struct epoll_event *events, int n, int ms, const sigset_t *set)
{
	sigset_t own;

	return REAL(epoll_pwait)(fd, events, n, ms, ckpt_stripped(set, &own));
}

int epoll_pwait2(int fd, struct epoll_event *events, int n, const struct timespec *limit,
		 const sigset_t *set);
CKPT_EXPORT int epoll_pwait2(int fd, struct epoll_event *events, int n,
			     const struct timespec *limit, const sigset_t *set)
{
	sigset_t own;

	return REAL(epoll_pwait2)(fd, events, n, limit, ckpt_stripped(set, &own));
}

/* ---- which signals there are ---- */

int __libc_allocate_rtsig(int high);

CKPT_EXPORT int __libc_current_sigrtmin(void)
{
	int first = REAL(__libc_current_sigrtmin)();

	return ckpt_is_reserved(first) ? first + 1 : first;
}

CKPT_EXPORT int __libc_current_sigrtmax(void)
{
	int last = REAL(__libc_current_sigrtmax)();

	return ckpt_is_reserved(last) ? last - 1 : last;
}

CKPT_EXPORT int __libc_allocate_rtsig(int high)
{
	int sig = REAL(__libc_allocate_rtsig)(high);

	return ckpt_is_reserved(sig) ? REAL(__libc_allocate_rtsig)(high) : sig;
}
