/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls that our signal has interrupted. With SA_RESTART the kernel makes most of them again
 * by itself; the others return EINTR to whoever has a handler. Here the frame that the handler
 * returns into is changed, so that the program makes the call once more. Nothing of it costs
 * anything as long as there is no checkpoint.
 *
 * A signal of the program's own that comes after the last look and before the call waits again does
 * not end it: as if it had come right before the call.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include "engine/base/interrupted.h"
#include "libinproc/inproc.h"
#include "libinproc/sys.h"
#include "libinproc/wrap.h"

_Static_assert(offsetof(siginfo_t, si_value) + sizeof(union sigval) == CKPT_WIRE_SLEEP_AT,
	       "layout");

#define CALLS_END 600 /* no number is as high */
#define CODE 32       /* bytes in front of a `syscall` that are searched for its number */

bool ckpt_own_read(uint64_t from, void *to, size_t len)
{
	struct iovec local = { to, len }, remote = { (void *)from, len };

	return ckpt_sys(SYS_process_vm_readv, ckpt_session->pid, &local, 1, &remote, 1, 0) ==
	       (int64_t)len;
}

bool ckpt_own_write(uint64_t to, const void *from, size_t len)
{
	struct iovec local = { (void *)from, len }, remote = { (void *)to, len };

	return ckpt_sys(SYS_process_vm_writev, ckpt_session->pid, &local, 1, &remote, 1, 0) ==
	       (int64_t)len;
}

/* Calls that end with EINTR for any handler, having done nothing. */
static bool ends(long nr)
{
	static const short calls[] = {
		SYS_nanosleep,    SYS_clock_nanosleep, SYS_poll,          SYS_ppoll,
		SYS_select,       SYS_pselect6,        SYS_epoll_wait,    SYS_epoll_pwait,
		SYS_epoll_pwait2, SYS_pause,           SYS_rt_sigsuspend, SYS_rt_sigtimedwait,
		SYS_futex,        SYS_semop,           SYS_semtimedop,    SYS_msgrcv,
		SYS_msgsnd,       SYS_io_getevents,    SYS_io_pgetevents, SYS_io_uring_enter,
		SYS_read,         SYS_readv,           SYS_recvfrom,      SYS_recvmsg,
		SYS_recvmmsg,     SYS_accept,          SYS_accept4,       SYS_connect,
		SYS_write,        SYS_writev,          SYS_sendto,        SYS_sendmsg,
		SYS_sendmmsg,     SYS_sendfile,        SYS_getrandom,
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (calls[i] == nr)
			return true;
	}
	return false;
}

/* `mov $NR,%eax` in front of the `syscall`, the nearest one; or our own syscall(2) and that of
 * again.c, which leave the number on the stack. */
static long number_of(const ucontext_t *uc)
{
	uint64_t rip = uc->uc_mcontext.gregs[REG_RIP];
	uint8_t code[CODE];
	size_t n = CODE;
	long nr;

	if (rip == (uintptr_t)ckpt_syscall_insn_after || rip == (uintptr_t)ckpt_again_after)
		return ckpt_own_read(uc->uc_mcontext.gregs[REG_RSP], &nr, sizeof(nr)) ? nr : -1;
	if (!ckpt_own_read(rip - CODE, code, CODE))
		return -1;
	if (code[n - 2] != 0x0f || code[n - 1] != 0x05)
		return -1;
	if (code[n - 4] == 0x31 && code[n - 3] == 0xc0) /* xor %eax,%eax */
		return SYS_read;
	for (size_t i = n - 2; i >= 5; i--) {
		uint32_t value;

		memcpy(&value, code + i - 4, 4);
		if (code[i - 5] != 0xb8 || value >= CALLS_END)
			continue;
		/* Right in front of it, it is the number for certain. */
		if (i == n - 2 || ends(value))
			return ends(value) ? (long)value : -1;
	}
	return -1;
}

/* The arguments are still in their registers. */
static void registers(const ucontext_t *uc, struct user_regs_struct *r)
{
	const greg_t *g = uc->uc_mcontext.gregs;

	*r = (struct user_regs_struct){ .rdi = g[REG_RDI],
					.rsi = g[REG_RSI],
					.rdx = g[REG_RDX],
					.r10 = g[REG_R10],
					.r8 = g[REG_R8],
					.r9 = g[REG_R9],
					.rsp = g[REG_RSP],
					.rip = g[REG_RIP] };
}

static greg_t *argument(ucontext_t *uc, int i)
{
	static const int at[6] = { REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9 };

	return &uc->uc_mcontext.gregs[at[i]];
}

/* The kernel has written what is left where the program wanted it. */
static void use_rest(struct ckpt_parked *p)
{
	struct user_regs_struct r;
	struct ckpt_time_arg time;
	uint64_t arg[6];

	registers(p->uc, &r);
	ckpt_interrupted_args(&r, arg);
	time = ckpt_interrupted_time(p->interrupted, arg);
	if (time.form != CKPT_TIME_NONE && time.rest >= 0)
		*argument(p->uc, time.arg) = arg[time.rest];
}

static void set_back(struct ckpt_parked *p, long nr)
{
	greg_t *g = p->uc->uc_mcontext.gregs;

	p->interrupted = nr;
	g[REG_RIP] -= 2; /* the length of `syscall` */
	g[REG_RAX] = nr;
	use_rest(p);
}

static bool is_interrupted(const struct ckpt_parked *p)
{
	return p->interrupted < 0 && p->uc->uc_mcontext.gregs[REG_RAX] == -EINTR;
}

static void take_error_out(const struct ckpt_parked *p, long nr)
{
	struct user_regs_struct r;
	uint64_t arg[6];
	int error;
	uint32_t len = sizeof(error);

	registers(p->uc, &r);
	ckpt_interrupted_args(&r, arg);
	if (ckpt_interrupted_leaves_error(nr, arg, p->uc->uc_mcontext.gregs[REG_RAX]))
		ckpt_sys(SYS_getsockopt, arg[0], SOL_SOCKET, SO_ERROR, &error, &len);
}

static bool is_syscall(uint64_t at)
{
	uint8_t code[2];

	return ckpt_own_read(at, code, 2) && code[0] == 0x0f && code[1] == 0x05;
}

/* The kernel was about to go on with a wait that something had interrupted for which there was no
 * handler. Behind ours it could not: rt_sigreturn(2) makes it forget how. So it is as if our signal
 * had interrupted it. */
static void take_restart_back(ucontext_t *uc)
{
	greg_t *g = uc->uc_mcontext.gregs;

	if (g[REG_RAX] != SYS_restart_syscall || !is_syscall(g[REG_RIP]))
		return;
	g[REG_RIP] += 2;
	g[REG_RAX] = -EINTR;
}

void ckpt_wind_back(struct ckpt_parked *p)
{
	greg_t ret;
	long nr;

	take_restart_back(p->uc);
	ret = p->uc->uc_mcontext.gregs[REG_RAX];
	p->as_is = ckpt_again_is_here(p->uc) || ckpt_has_returned(p->uc);
	if (ret <= 0 && (p->as_is || ret != -EINTR))
		return;
	/* Any positive number may stand there; looking for a call in front costs little. */
	nr = number_of(p->uc);
	take_error_out(p, nr);
	if (p->as_is)
		return;
	if (nr >= 0 && ends(nr) && ret == -EINTR)
		set_back(p, nr);
	else if (ret > 0)
		p->cut = nr;
}

/* Is it the very call that was seen? */
static bool is_same(const struct ckpt_parked *p, const struct user_regs_struct *r,
		    const struct ckpt_wire_look *look)
{
	uint64_t arg[6];

	ckpt_interrupted_args(r, arg);
	return look->sp == r->rsp && !memcmp(look->arg, arg, sizeof(arg)) &&
	       (p->interrupted < 0 || look->nr == p->interrupted ||
		look->nr == SYS_restart_syscall);
}

/* Has the kernel put what is left in place of the time limit? It does in these two, but where the
 * program cannot write either. */
static bool kernel_shortened(long nr, uint64_t at)
{
	struct timespec spec;

	if (nr != SYS_ppoll && nr != SYS_pselect6)
		return false;
	return !ckpt_own_read(at, &spec, sizeof(spec)) || ckpt_own_write(at, &spec, sizeof(spec));
}

static void shorten(struct ckpt_parked *p, const uint64_t arg[6], uint64_t elapsed)
{
	struct ckpt_time_arg time = ckpt_interrupted_time(p->interrupted, arg);
	struct timespec spec;

	if (time.form == CKPT_TIME_NONE || time.rest >= 0)
		return;
	if (time.form == CKPT_TIME_MS) {
		int32_t left = ckpt_ms_left(arg[time.arg], elapsed);

		if (left)
			*argument(p->uc, time.arg) = (uint32_t)left;
		return;
	}
	/* Had its time run out it would have returned: it did, and this is the next one. */
	if (kernel_shortened(p->interrupted, arg[time.arg]) ||
	    !ckpt_own_read(arg[time.arg], &spec, sizeof(spec)))
		return;
	spec = ckpt_timespec_left(spec, elapsed);
	if (!spec.tv_sec && !spec.tv_nsec)
		return;
	p->rest->left = spec;
	*argument(p->uc, time.arg) = (uintptr_t)&p->rest->left;
}

/* Since when it waits, if we made it wait with what was left; else 0. */
static uint64_t gone_on_since(const struct ckpt_parked *p, const uint64_t arg[6])
{
	struct ckpt_time_arg time = ckpt_interrupted_time(p->interrupted, arg);

	return time.form == CKPT_TIME_SPEC && arg[time.arg] == (uintptr_t)&p->rest->left ?
		       p->rest->since :
		       0;
}

void ckpt_wind_back_sleep(struct ckpt_parked *p, const siginfo_t *info)
{
	struct ckpt_wire_sleep sleep;
	struct user_regs_struct r;
	uint64_t arg[6], since;

	if (p->as_is || p->interrupted < 0)
		return;
	registers(p->uc, &r);
	ckpt_interrupted_args(&r, arg);
	memcpy(&sleep, (const char *)info + CKPT_WIRE_SLEEP_AT, sizeof(sleep));
	since = gone_on_since(p, arg);
	if (!since && sleep.seal == ((uintptr_t)info->si_value.sival_ptr ^ p->switches))
		since = sleep.since;
	if (!since || since >= p->came)
		return;
	p->waited = p->came - since;
	shorten(p, arg, p->waited);
}

void ckpt_wind_back_rest(struct ckpt_parked *p, const struct ckpt_wire_look *look)
{
	struct user_regs_struct r;

	registers(p->uc, &r);
	if (p->as_is || !is_same(p, &r, look))
		return;
	/* What no code in front of it told. */
	if (is_interrupted(p) && look->nr != SYS_restart_syscall && ends(look->nr) &&
	    is_syscall(r.rip - 2))
		set_back(p, look->nr);
	if (p->interrupted >= 0 && !p->waited && look->since && look->since < p->came &&
	    look->switches == p->switches) {
		p->waited = p->came - look->since;
		shorten(p, look->arg, p->waited);
	}
}

/* ---- signals of the program's own ---- */

/* The mask that a call puts in place as long as it waits. */
static uint64_t mask_of(const struct ckpt_parked *p)
{
	uint64_t mask, at = 0;
	struct user_regs_struct r;

	memcpy(&mask, &p->uc->uc_sigmask, sizeof(mask));
	registers(p->uc, &r);
	switch (p->interrupted) {
	case SYS_rt_sigsuspend:
		at = r.rdi;
		break;
	case SYS_ppoll:
		at = r.r10;
		break;
	case SYS_epoll_pwait:
	case SYS_epoll_pwait2:
		at = r.r8;
		break;
	case SYS_pselect6:
		if (!r.r9 || !ckpt_own_read(r.r9, &at, sizeof(at)))
			at = 0;
		break;
	}
	if (at && !ckpt_own_read(at, &mask, sizeof(mask)))
		memcpy(&mask, &p->uc->uc_sigmask, sizeof(mask));
	return mask;
}

static uint64_t handled(uint64_t signals)
{
	uint64_t yes = 0;

	for (signals &= ~ckpt_reserved_bit(); signals; signals &= signals - 1) {
		int sig = __builtin_ctzll(signals) + 1;

		if (ckpt_is_caught(sig))
			yes |= 1ull << (sig - 1);
	}
	return yes;
}

static void take(struct ckpt_parked *p, uint64_t shared, uint64_t *leftp)
{
	uint64_t mine = *leftp & ~mask_of(p);

	p->others = shared & ~mine;
	*leftp &= ~mine;
}

/* One sent to the process goes to its main thread, or else to the first that lets it in. */
void ckpt_wind_back_share(struct ckpt_session *s)
{
	struct ckpt_parked *first = s->leader;
	uint64_t shared = 0, left;

	/* Mostly nothing is pending, for which one call is enough. */
	ckpt_sys(SYS_rt_sigpending, &shared, 8);
	if (!handled(shared))
		return;
	shared = left = ckpt_status_set(s->leader->tid, "\nShdPnd:\t");
	for (struct ckpt_parked *p = s->parked; p; p = p->next)
		if (p->tid == s->pid)
			first = p;
	take(first, shared, &left);
	if (first != s->leader)
		take(s->leader, shared, &left);
	for (struct ckpt_parked *p = s->parked; p; p = p->next)
		if (p != first)
			take(p, shared, &left);
}

void ckpt_wind_back_end(struct ckpt_parked *p, struct ckpt_again *again)
{
	greg_t *g = p->uc->uc_mcontext.gregs;
	uint64_t pending = 0;

	if (p->interrupted >= 0)
		p->rest->since = ckpt_now_ns();
	if (!p->as_is && (p->interrupted >= 0 || p->cut >= 0))
		ckpt_again_plan(again, p, mask_of(p));
	if (again->sort != CKPT_AGAIN_NOT || p->interrupted < 0 || g[REG_RAX] != p->interrupted)
		return;
	ckpt_sys(SYS_rt_sigpending, &pending, 8);
	if (!handled(pending & ~mask_of(p) & ~p->others))
		return;
	g[REG_RIP] += 2;
	g[REG_RAX] = -EINTR;
}
