/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupted calls that are gone on with from inside the handler, on the stack that the signal
 * met. A call that the program makes again after the handler could miss a signal that comes right
 * in between, and pause(2) would never end; here it waits with the program's mask put in place by
 * the kernel, and not a moment is left. The next checkpoint interrupts it here again, and finds it
 * by the address of its instruction.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include "libinproc/inproc.h"
#include "libinproc/sys.h"

/* Our signal, and nothing before it, has interrupted the call below. */
__thread volatile bool ckpt_again_met;

__asm__(".text\n"
	".globl ckpt_again_call\n"
	".hidden ckpt_again_call\n"
	".type ckpt_again_call, @function\n"
	"ckpt_again_call:\n"
	"	.cfi_startproc\n"
	"	mov %rdi, %rax\n"
	"	mov %rsi, %r11\n"
	"	mov 0(%r11), %rdi\n"
	"	mov 8(%r11), %rsi\n"
	"	mov 16(%r11), %rdx\n"
	"	mov 24(%r11), %r10\n"
	"	mov 32(%r11), %r8\n"
	"	mov 40(%r11), %r9\n"
	"	pushq %rax\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	syscall\n"
	".globl ckpt_again_after\n"
	".hidden ckpt_again_after\n"
	"ckpt_again_after:\n"
	"	leaq 8(%rsp), %rsp\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	ret\n"
	"	.cfi_endproc\n"
	".size ckpt_again_call, . - ckpt_again_call\n");

bool ckpt_again_is_here(const ucontext_t *uc)
{
	if (uc->uc_mcontext.gregs[REG_RIP] != (greg_t)(uintptr_t)ckpt_again_after)
		return false;
	ckpt_again_met = true;
	return true;
}

/* ---- what to do ---- */

/* The limit is in memory of the program. False: it cannot be read, which the call is to say. */
static bool limit_at(struct ckpt_again *a, uint64_t at, bool is_timeval)
{
	a->limited = at != 0;
	if (!at || !ckpt_own_read(at, &a->left, sizeof(a->left)))
		return !at;
	if (is_timeval)
		a->left.tv_nsec *= 1000;
	return true;
}

static void limit_ms(struct ckpt_again *a, int32_t ms)
{
	a->limited = ms >= 0;
	a->left = (struct timespec){ ms / 1000, ms % 1000 * 1000000l };
}

static void subtract(struct timespec *t, uint64_t ns)
{
	uint64_t all = t->tv_sec * 1000000000ull + t->tv_nsec;

	all = all > ns ? all - ns : 0;
	*t = (struct timespec){ all / 1000000000, all % 1000000000 };
}

static void to_ppoll(struct ckpt_again *a, uint64_t fds, uint64_t n)
{
	a->nr = SYS_ppoll;
	a->arg[0] = fds;
	a->arg[1] = n;
}

static bool sleeps_plainly(const uint64_t arg[6])
{
	return !arg[1] &&
	       (arg[0] == CLOCK_REALTIME || arg[0] == CLOCK_MONOTONIC || arg[0] == CLOCK_BOOTTIME);
}

static bool plan_wait(struct ckpt_again *a, long nr, const uint64_t arg[6])
{
	memcpy(a->arg, arg, sizeof(a->arg));
	a->nr = nr;
	a->rest_at = 0;
	switch (nr) {
	case SYS_pause:
		a->nr = SYS_rt_sigsuspend;
		return true;
	case SYS_rt_sigsuspend:
		return true;
	case SYS_poll:
		to_ppoll(a, arg[0], arg[1]);
		limit_ms(a, arg[2]);
		return true;
	case SYS_ppoll:
		return limit_at(a, arg[2], false);
	case SYS_select:
		a->nr = SYS_pselect6;
		a->rest_at = arg[4];
		a->rest_is_timeval = true;
		return limit_at(a, arg[4], true);
	case SYS_pselect6:
		return limit_at(a, arg[4], false);
	case SYS_epoll_wait:
	case SYS_epoll_pwait:
		a->nr = SYS_epoll_pwait;
		limit_ms(a, arg[3]);
		return true;
	case SYS_nanosleep:
		to_ppoll(a, 0, 0);
		a->rest_at = arg[1];
		return limit_at(a, arg[0], false);
	case SYS_clock_nanosleep:
		to_ppoll(a, 0, 0);
		a->rest_at = arg[3];
		return sleeps_plainly(arg) && limit_at(a, arg[2], false);
	default:
		return false;
	}
}

/* What is left of the socket's limit; false: there is none, or nobody knows. */
static bool limit_of_socket(struct ckpt_again *a, const struct ckpt_parked *p, int fd, int option)
{
	int64_t ns = ckpt_socket_limit(fd, option);

	a->limited = ns && p->waited;
	a->left = (struct timespec){ ns / 1000000000, ns % 1000000000 };
	subtract(&a->left, p->waited);
	return a->limited;
}

static int domain_of(int fd)
{
	int domain = AF_UNSPEC;
	uint32_t len = sizeof(domain);

	ckpt_sys(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &domain, &len);
	return domain;
}

/* As TCP connects: there, to connect again is to wait on. */
static bool is_internet(int fd)
{
	int domain = domain_of(fd);

	return domain == AF_INET || domain == AF_INET6;
}

/* What is left of the limit is waited here, then the call is made again, and finds what it waits
 * for. */
static bool plan_socket(struct ckpt_again *a, const struct ckpt_parked *p, const uint64_t arg[6])
{
	uint64_t flags = p->interrupted == SYS_recvfrom || p->interrupted == SYS_recvmmsg ? arg[3] :
			 p->interrupted == SYS_recvmsg                                    ? arg[2] :
											    0;

	bool sends = false;

	a->over = -EAGAIN;
	switch (p->interrupted) {
	case SYS_read:
	case SYS_readv:
	case SYS_recvfrom:
	case SYS_recvmsg:
	case SYS_recvmmsg:
	case SYS_accept:
	case SYS_accept4:
		break;
	case SYS_connect:
		a->over = -EINPROGRESS;
		sends = is_internet(arg[0]);
		if (!sends)
			return false;
		break;
	case SYS_sendfile:
		sends = true;
		break;
	default:
		return false;
	}
	if ((flags & MSG_OOB) || !limit_of_socket(a, p, arg[0], sends ? SO_SNDTIMEO : SO_RCVTIMEO))
		return false;
	a->socket = (struct pollfd){ arg[0], sends ? POLLOUT : POLLIN, 0 };
	a->rest_at = 0;
	to_ppoll(a, (uintptr_t)&a->socket, 1);
	return true;
}

static bool plan_send(struct ckpt_again *a, const struct ckpt_parked *p, const uint64_t arg[6])
{
	switch (p->interrupted) {
	case SYS_connect:
		if (domain_of(arg[0]) != AF_UNIX)
			return false;
		/* fall through */
	case SYS_write:
	case SYS_writev:
	case SYS_sendto:
	case SYS_sendmsg:
	case SYS_sendmmsg:
		memcpy(a->arg, arg, sizeof(a->arg));
		a->nr = p->interrupted;
		return limit_of_socket(a, p, arg[0], SO_SNDTIMEO);
	default:
		return false;
	}
}

void ckpt_again_plan(struct ckpt_again *a, const struct ckpt_parked *p, uint64_t mask)
{
	const greg_t *g = p->uc->uc_mcontext.gregs;
	const uint64_t arg[6] = { g[REG_RDI], g[REG_RSI], g[REG_RDX],
				  g[REG_R10], g[REG_R8],  g[REG_R9] };

	a->sort = CKPT_AGAIN_NOT;
	a->mask = mask;
	if (p->interrupted >= 0) {
		if (plan_wait(a, p->interrupted, arg))
			a->sort = CKPT_AGAIN_WAIT;
		else if (plan_socket(a, p, arg))
			a->sort = CKPT_AGAIN_SOCKET;
		else if (plan_send(a, p, arg))
			a->sort = CKPT_AGAIN_SEND;
	} else if (ckpt_transfer_is_cut(p->cut, arg, g[REG_RAX])) {
		memcpy(a->arg, arg, sizeof(a->arg));
		a->nr = p->cut;
		a->sort = CKPT_AGAIN_TRANSFER;
	}
}

/* ---- doing it ---- */

/* Even a signal that the program ignores ends epoll_wait(2) with EINTR, if it comes while we block
 * it, as we do: the kernel makes poll(2) again. Others may be faster than we. */
static int64_t wait_for_events(struct ckpt_again *a)
{
	struct pollfd p = { a->arg[0], POLLIN, 0 };
	int64_t ret = 1, n = 0;

	while (ret > 0 && n == 0) {
		const uint64_t wait[6] = { (uintptr_t)&p, 1, a->limited ? (uintptr_t)&a->left : 0,
					   (uintptr_t)&a->mask, 8 };

		ret = ckpt_again_call(SYS_ppoll, wait);
		n = ckpt_sys(SYS_epoll_wait, a->arg[0], a->arg[1], a->arg[2], 0);
	}
	return n ? n : ret;
}

static int64_t wait_once(struct ckpt_again *a)
{
	struct {
		const uint64_t *mask;
		uint64_t len;
	} both = { &a->mask, 8 };
	uint64_t limit = a->limited ? (uintptr_t)&a->left : 0;

	switch (a->nr) {
	case SYS_rt_sigsuspend:
		a->arg[0] = (uintptr_t)&a->mask;
		a->arg[1] = 8;
		break;
	case SYS_ppoll: /* the kernel writes back what is left */
		a->arg[2] = limit;
		a->arg[3] = (uintptr_t)&a->mask;
		a->arg[4] = 8;
		break;
	case SYS_pselect6:
		a->arg[4] = limit;
		a->arg[5] = (uintptr_t)&both;
		break;
	case SYS_epoll_pwait:
		return wait_for_events(a);
	}
	return ckpt_again_call(a->nr, a->arg);
}

static void put_rest(const struct ckpt_again *a, int64_t ret)
{
	struct timeval tv = { a->left.tv_sec, a->left.tv_nsec / 1000 };

	if (a->rest_is_timeval)
		ckpt_own_write(a->rest_at, &tv, sizeof(tv));
	else if (ret == -EINTR)
		ckpt_own_write(a->rest_at, &a->left, sizeof(a->left));
}

/* All signals are blocked here: one of the program's that has come or comes ends the call, and its
 * handler runs, as the call's mask says. */
static int64_t wait_on(struct ckpt_again *a)
{
	int64_t ret;

	do {
		ckpt_again_met = false;
		ret = wait_once(a);
	} while (ret == -EINTR && ckpt_again_met);
	if (a->limited && a->rest_at)
		put_rest(a, ret);
	return ret;
}

void ckpt_again_run(struct ckpt_again *a, ucontext_t *uc)
{
	greg_t *g = uc->uc_mcontext.gregs;
	bool before = ckpt_again_met; /* a handler may be in the middle of another one */

	if (a->sort == CKPT_AGAIN_WAIT) {
		g[REG_RIP] += 2; /* it had been wound back */
		g[REG_RAX] = wait_on(a);
	} else if (a->sort == CKPT_AGAIN_SOCKET) {
		int64_t ready = wait_on(a);

		if (ready <= 0) {
			g[REG_RIP] += 2;
			g[REG_RAX] = ready ? ready : a->over;
		}
	} else if (a->sort == CKPT_AGAIN_SEND) {
		g[REG_RIP] += 2;
		g[REG_RAX] = ckpt_try_until(
			a->nr, a->arg, a->left.tv_sec * 1000000000 + a->left.tv_nsec, &a->mask);
		if (ckpt_transfer_is_cut(a->nr, a->arg, g[REG_RAX]))
			a->sort = CKPT_AGAIN_TRANSFER;
	}
	if (a->sort == CKPT_AGAIN_TRANSFER) {
		ckpt_sys(SYS_rt_sigprocmask, SIG_SETMASK, &a->mask, NULL, 8);
		g[REG_RAX] = ckpt_transfer_finish(a->nr, a->arg, g[REG_RAX]);
	}
	ckpt_again_met = before;
}
