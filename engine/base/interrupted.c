/* SPDX-License-Identifier: Apache-2.0 */
/* System calls that a stop has interrupted, as their registers show it. */
#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include "engine/base/arch/x86-64.h"
#include "engine/base/interrupted.h"

/* Of the kernel's own include/linux/errno.h: never seen by a program. */
#define ERESTARTSYS 512
#define ERESTARTNOINTR 513
#define ERESTARTNOHAND 514
#define ERESTART_RESTARTBLOCK 516

#define TIMER_ABS 1 /* TIMER_ABSTIME */
#define LOWEST_POINTER 0x10000

/* Calls that return EINTR as soon as the thread is stopped, whatever stopped it, having done
 * nothing. Those on files do so where there is a time limit on a socket; close(2) is not one of
 * them: it has closed. */
static bool any_stop_ends(long nr)
{
	static const short calls[] = {
		SYS_epoll_wait,   SYS_epoll_pwait,   SYS_epoll_pwait2,
		SYS_semop,        SYS_semtimedop,    SYS_rt_sigtimedwait,
		SYS_io_getevents, SYS_io_pgetevents, SYS_io_uring_enter,
		SYS_select,       SYS_pselect6,      SYS_poll,
		SYS_ppoll,        SYS_read,          SYS_readv,
		SYS_recvfrom,     SYS_recvmsg,       SYS_recvmmsg,
		SYS_accept,       SYS_accept4,       SYS_connect,
		SYS_write,        SYS_writev,        SYS_sendto,
		SYS_sendmsg,      SYS_sendmmsg,
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (calls[i] == nr)
			return true;
	}
	return false;
}

enum ckpt_interrupted ckpt_interrupted_by(const struct user_regs_struct *regs)
{
	if ((long)regs->orig_rax < 0)
		return CKPT_NOT_INTERRUPTED;
	switch ((long)regs->rax) {
	case -ERESTARTNOINTR:
		return CKPT_INTERRUPTED_ALWAYS;
	case -ERESTARTSYS:
		return CKPT_INTERRUPTED_SYS;
	case -ERESTARTNOHAND:
		return CKPT_INTERRUPTED_NOHAND;
	case -ERESTART_RESTARTBLOCK:
		return CKPT_INTERRUPTED_BLOCK;
	case -EINTR:
		return any_stop_ends(regs->orig_rax) ? CKPT_INTERRUPTED_EINTR :
						       CKPT_NOT_INTERRUPTED;
	default:
		return CKPT_NOT_INTERRUPTED;
	}
}

void ckpt_interrupted_once_more(struct user_regs_struct *regs)
{
	regs->rip += 2; /* the length of `syscall` */
	regs->rax = -ERESTART_RESTARTBLOCK;
	/* The thread may have been interrupted again since. */
	if ((long)regs->orig_rax < 0)
		regs->orig_rax = SYS_restart_syscall;
}

void ckpt_interrupted_wind_back(struct user_regs_struct *regs, long nr)
{
	regs->rax = nr;
	regs->rip -= 2;      /* the length of `syscall` */
	regs->orig_rax = -1; /* the kernel must not do it a second time */
}

void ckpt_interrupted_give_up(struct user_regs_struct *regs)
{
	regs->rax = -EINTR;
	regs->orig_rax = -1;
}

bool ckpt_interrupted_swaps_mask(long nr)
{
	return nr == SYS_rt_sigsuspend || nr == SYS_ppoll || nr == SYS_pselect6 ||
	       nr == SYS_epoll_pwait || nr == SYS_epoll_pwait2 || nr == SYS_io_pgetevents;
}

/* recvmmsg(2) keeps for the next call what has ended it behind its first message, without a look at
 * what that is (Linux 2.6.33 and up). */
bool ckpt_interrupted_leaves_error(long nr, const uint64_t arg[6], int64_t ret)
{
	return nr == SYS_recvmmsg && ret > 0 && ret < (uint32_t)arg[2];
}

static struct ckpt_time_arg spec(int i, const uint64_t arg[6])
{
	return (struct ckpt_time_arg){ arg[i] ? CKPT_TIME_SPEC : CKPT_TIME_NONE, i, -1 };
}

static struct ckpt_time_arg ms(int i, const uint64_t arg[6])
{
	return (struct ckpt_time_arg){ (int32_t)arg[i] > 0 ? CKPT_TIME_MS : CKPT_TIME_NONE, i, -1 };
}

static struct ckpt_time_arg sleep_of(int i, const uint64_t arg[6])
{
	struct ckpt_time_arg t = spec(i, arg);

	t.rest = arg[i + 1] ? i + 1 : -1;
	return t;
}

struct ckpt_time_arg ckpt_interrupted_time(long nr, const uint64_t arg[6])
{
	static const struct ckpt_time_arg none = { CKPT_TIME_NONE, -1, -1 };

	switch (nr) {
	case SYS_nanosleep:
		return sleep_of(0, arg);
	case SYS_clock_nanosleep:
		return arg[1] & TIMER_ABS ? none : sleep_of(2, arg);
	case SYS_futex: /* the other commands take an absolute time */
		return (arg[1] & FUTEX_CMD_MASK) == FUTEX_WAIT ? spec(3, arg) : none;
	case SYS_poll:
		return ms(2, arg);
	case SYS_epoll_wait:
	case SYS_epoll_pwait:
		return ms(3, arg);
	case SYS_epoll_pwait2:
	case SYS_semtimedop:
		return spec(3, arg);
	case SYS_rt_sigtimedwait:
	case SYS_ppoll: /* only seen where the kernel could not write back what is left */
		return spec(2, arg);
	case SYS_io_getevents:
	case SYS_io_pgetevents:
	case SYS_pselect6:
		return spec(4, arg);
	default:
		return none;
	}
}

void ckpt_interrupted_args(const struct user_regs_struct *regs, uint64_t arg[6])
{
	for (int i = 0; i < 6; i++)
		arg[i] = *ckpt_interrupted_arg((struct user_regs_struct *)regs, i);
}

unsigned long long *ckpt_interrupted_arg(struct user_regs_struct *regs, int i)
{
	unsigned long long *const at[6] = { &regs->rdi, &regs->rsi, &regs->rdx,
					    &regs->r10, &regs->r8,  &regs->r9 };

	return at[i];
}

int32_t ckpt_ms_left(int32_t limit, uint64_t elapsed)
{
	uint64_t gone = elapsed / 1000000;

	return limit <= 0 ? limit : gone >= (uint64_t)limit ? 0 : limit - (int32_t)gone;
}

struct timespec ckpt_timespec_left(struct timespec t, uint64_t elapsed)
{
	t.tv_sec -= elapsed / 1000000000;
	t.tv_nsec -= elapsed % 1000000000;
	if (t.tv_nsec < 0) {
		t.tv_nsec += 1000000000;
		t.tv_sec--;
	}
	return t.tv_sec < 0 ? (struct timespec){ 0, 0 } : t;
}

static bool restarts(long nr)
{
	return nr == SYS_nanosleep || nr == SYS_clock_nanosleep || nr == SYS_poll ||
	       nr == SYS_futex;
}

/* `mov $NR,%eax` near in front of the `syscall`, the nearest one. */
static long number_in(const uint8_t *code, size_t n)
{
	for (size_t i = n; i >= 5; i--) {
		uint32_t nr;

		memcpy(&nr, code + i - 4, 4);
		if (code[i - 5] == 0xb8 && restarts(nr))
			return nr;
	}
	return -1;
}

static bool is_pointer(uint64_t arg)
{
	return arg >= LOWEST_POINTER && arg < CKPT_TASK_SIZE;
}

/* nanosleep(time, rest), clock_nanosleep(clock, flags, time, rest), poll(fds, n, ms), futex(word,
 * command, ...) */
static long number_by_args(const struct user_regs_struct *regs)
{
	uint64_t command = regs->rsi & ~(uint64_t)(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);

	if (!is_pointer(regs->rdi))
		return is_pointer(regs->rdx) ? SYS_clock_nanosleep : SYS_poll;
	if (!regs->rsi || is_pointer(regs->rsi))
		return SYS_nanosleep;
	return command == FUTEX_WAIT || command == FUTEX_WAIT_BITSET ? SYS_futex : SYS_poll;
}

long ckpt_interrupted_behind_restart(const struct user_regs_struct *regs, const uint8_t *code,
				     size_t n, const char *wchan)
{
	long nr = number_in(code, n);

	if (nr >= 0)
		return nr;
	if (strstr(wchan, "futex"))
		return SYS_futex;
	if (strstr(wchan, "poll"))
		return SYS_poll;
	/* What the sleeping calls wait in is part of the scheduler, and not shown. */
	return number_by_args(regs);
}
