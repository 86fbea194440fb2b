/* SPDX-License-Identifier: Apache-2.0 */
/* Since when a thread has been waiting in a system call with a time limit. */
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/text.h"
#include "injector/asleep.h"
#include "engine/base/interrupted.h"
#include "injector/ptrace.h"

/* "230 0x0 0x0 0x7ffd 0x0 0x0 0x0 0x7ffd88 0x7f12": call, six arguments, stack pointer; else
 * "running" or "-1 ...". */
static bool parse_call(const char *text, struct ckpt_asleep *a)
{
	uint64_t nr;

	if (!ckpt_parse_u64(&text, 10, &nr))
		return false;
	a->nr = nr;
	for (int i = 0; i < 6; i++) {
		if (!ckpt_parse_u64(&text, 16, &a->arg[i]))
			return false;
	}
	return ckpt_parse_u64(&text, 16, &a->sp);
}

static bool read_call(pid_t tid, struct ckpt_asleep *a)
{
	char text[256];

	return ckpt_proc_read(tid, "syscall", text, sizeof(text)) > 0 && parse_call(text, a);
}

/* Not all that the kernel may end so: who waits for a socket mostly has no time limit there, and
 * such calls are made again by the kernel. */
static bool any_stop_ends(long nr)
{
	static const short calls[] = {
		SYS_epoll_wait,    SYS_epoll_pwait,    SYS_epoll_pwait2,
		SYS_semop,         SYS_semtimedop,     SYS_io_getevents,
		SYS_io_pgetevents, SYS_io_uring_enter, SYS_rt_sigtimedwait,
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (calls[i] == nr)
			return true;
	}
	return false;
}

bool ckpt_asleep_exposed(pid_t tid)
{
	struct ckpt_asleep a;

	return read_call(tid, &a) && any_stop_ends(a.nr);
}

static void read_since(struct ckpt_cpu_clocks *clocks, pid_t tid, struct ckpt_asleep *a)
{
	struct ckpt_proc_stat st;
	struct ckpt_sched s;

	if (!ckpt_sched_read(tid, &s) || ckpt_proc_stat(tid, &st) < 0 ||
	    !ckpt_cpu_clock_known(clocks, st.cpu))
		return;
	a->since = s.exec_start + clocks->behind[st.cpu];
	a->switches = s.switches;
}

/* It may have a limit. */
static bool is_of_socket(const struct ckpt_asleep *a)
{
	static const short calls[] = { SYS_read,     SYS_readv,  SYS_recvfrom, SYS_recvmsg,
				       SYS_recvmmsg, SYS_accept, SYS_accept4,  SYS_write,
				       SYS_writev,   SYS_sendto, SYS_sendmsg,  SYS_sendmmsg,
				       SYS_sendfile, SYS_connect };
	char path[64], link[16];
	size_t i = 0;

	while (i < sizeof(calls) / sizeof(calls[0]) && calls[i] != a->nr)
		i++;
	if (i == sizeof(calls) / sizeof(calls[0]))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", a->tid, (int)a->arg[0]);
	return readlink(path, link, sizeof(link)) > 7 && !memcmp(link, "socket:", 7);
}

struct ckpt_asleep *ckpt_asleep_read(struct ckpt_arena *arena, struct ckpt_cpu_clocks *clocks,
				     pid_t tid, bool sockets)
{
	struct ckpt_asleep a = { .tid = tid }, *kept;
	bool timed;

	if (!read_call(tid, &a))
		return NULL;
	a.exposed = any_stop_ends(a.nr);
	timed = a.nr == SYS_restart_syscall ||
		ckpt_interrupted_time(a.nr, a.arg).form != CKPT_TIME_NONE ||
		(sockets && is_of_socket(&a));
	if (!timed && !a.exposed)
		return NULL;
	if (timed && ckpt_proc_read(tid, "wchan", a.wchan, sizeof(a.wchan)) < 0)
		a.wchan[0] = '\0';
	if (timed)
		read_since(clocks, tid, &a);
	kept = ckpt_new(arena, struct ckpt_asleep);
	*kept = a;
	return kept;
}

uint64_t ckpt_asleep_for(const struct ckpt_asleep *a, const struct user_regs_struct *regs,
			 uint64_t stopped_at)
{
	uint64_t arg[6];
	struct ckpt_sched s;

	ckpt_interrupted_args(regs, arg);
	if (!a || !a->since || a->nr != (long)regs->orig_rax || a->sp != regs->rsp ||
	    memcmp(a->arg, arg, sizeof(arg)))
		return 0;
	/* Falling asleep in the stop is one more. Another one still: it has woken up and made the
	 * same call again. */
	if (!ckpt_sched_read(a->tid, &s) || s.switches != a->switches + 1 || stopped_at < a->since)
		return 0;
	return stopped_at - a->since;
}
