/* SPDX-License-Identifier: Apache-2.0 */
/* Since when a thread has been waiting in a system call with a time limit. */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "engine/base/text.h"
#include "injector/asleep.h"
#include "engine/base/interrupted.h"
#include "injector/ptrace.h"

#define LOOK_NS 100000000
#define SCHED_TEXT 1024 /* what is looked for stands at its start */

struct sched {
	uint64_t exec_start, switches;
};

/* "se.exec_start      :     1565981.420489": milliseconds and six digits. */
static bool parse_start(const char *text, uint64_t *nsp)
{
	const char *p = strstr(text, "\nse.exec_start"), *digits;
	uint64_t ms, rest;

	p = p ? strchr(p, ':') : NULL;
	if (!p)
		return false;
	p++;
	if (!ckpt_parse_u64(&p, 10, &ms) || *p != '.')
		return false;
	digits = ++p;
	if (!ckpt_parse_u64(&p, 10, &rest) || p - digits != 6)
		return false;
	*nsp = ms * 1000000 + rest;
	return true;
}

static bool parse_switches(const char *text, uint64_t *np)
{
	const char *p = strstr(text, "\nnr_voluntary_switches");

	p = p ? strchr(p, ':') : NULL;
	if (!p)
		return false;
	p++;
	return ckpt_parse_u64(&p, 10, np);
}

static bool read_sched(pid_t tid, struct sched *s)
{
	char text[SCHED_TEXT];

	return ckpt_proc_read(tid, "sched", text, sizeof(text)) > 0 &&
	       parse_start(text, &s->exec_start) && parse_switches(text, &s->switches);
}

/*
 * A look at the clock of a processor, by a thread that runs there. Whoever lets go last frees it. A
 * busy processor may let an ordinary thread wait for seconds (Linux 6.18), and as long our own end,
 * killed or not. So it is one of real time, where that is permitted, and else it is let run
 * elsewhere as soon as it is late.
 */
struct look {
	int cpu, holders;
	pid_t tid; /* 0 as long as it has not begun */
	int64_t behind;
	bool known, late;
	sem_t done;
};

static void let_go(struct look *look)
{
	if (__atomic_sub_fetch(&look->holders, 1, __ATOMIC_SEQ_CST))
		return;
	sem_destroy(&look->done);
	free(look);
}

/* Our own exec_start is that of the last switch or tick: coming back from a sleep makes it now. */
static void *look_there(void *arg)
{
	struct look *look = arg;
	struct sched s;
	cpu_set_t one;
	uint64_t now;

	__atomic_store_n(&look->tid, syscall(SYS_gettid), __ATOMIC_SEQ_CST);
	CPU_ZERO(&one);
	CPU_SET(look->cpu, &one);
	if (!__atomic_load_n(&look->late, __ATOMIC_SEQ_CST) &&
	    !sched_setaffinity(0, sizeof(one), &one)) {
		nanosleep(&(struct timespec){ .tv_nsec = 1 }, NULL);
		now = ckpt_now_ns();
		look->known = read_sched(syscall(SYS_gettid), &s);
		look->behind = now - s.exec_start;
	}
	sem_post(&look->done);
	let_go(look);
	return NULL;
}

static int start_thread(struct look *look, bool real_time)
{
	const struct sched_param lowest = { .sched_priority = 1 };
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (real_time) {
		pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
		pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
		pthread_attr_setschedparam(&attr, &lowest);
	}
	r = pthread_create(&thread, &attr, look_there, look);
	pthread_attr_destroy(&attr);
	return r;
}

static struct look *start_look(int cpu)
{
	struct look *look = calloc(1, sizeof(*look));

	if (!look)
		return NULL;
	look->cpu = cpu;
	look->holders = 2;
	sem_init(&look->done, 0, 0);
	if (!start_thread(look, true) || !start_thread(look, false))
		return look;
	sem_destroy(&look->done);
	free(look);
	return NULL;
}

/* It may be about to tie itself to its processor: then it is still held up, by a moment. */
static void untie(struct look *look)
{
	cpu_set_t all;
	pid_t tid;

	memset(&all, 0xff, sizeof(all));
	__atomic_store_n(&look->late, true, __ATOMIC_SEQ_CST);
	tid = __atomic_load_n(&look->tid, __ATOMIC_SEQ_CST);
	if (tid)
		sched_setaffinity(tid, sizeof(all), &all);
}

/* We do not wait with the thread: a time that is not known is taken whole. */
static bool measure(struct ckpt_cpu_clocks *clocks, int cpu)
{
	struct look *look = clocks->asked[cpu] ? NULL : start_look(cpu);
	struct timespec until;

	clocks->asked[cpu] = true;
	if (!look)
		return false;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += LOOK_NS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	if (sem_timedwait(&look->done, &until) < 0)
		untie(look);
	else if (look->known) {
		clocks->behind[cpu] = look->behind;
		clocks->known[cpu] = true;
	}
	let_go(look);
	return clocks->known[cpu];
}

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
	struct sched s;

	if (!read_sched(tid, &s) || ckpt_proc_stat(tid, &st) < 0 || st.cpu < 0 ||
	    st.cpu >= CPU_SETSIZE || (!clocks->known[st.cpu] && !measure(clocks, st.cpu)))
		return;
	a->since = s.exec_start + clocks->behind[st.cpu];
	a->switches = s.switches;
}

/* It may have a limit. */
static bool is_of_socket(const struct ckpt_asleep *a)
{
	static const short calls[] = { SYS_read,     SYS_readv,  SYS_recvfrom, SYS_recvmsg,
				       SYS_recvmmsg, SYS_accept, SYS_accept4,  SYS_write,
				       SYS_writev,   SYS_sendto, SYS_sendmsg };
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
	struct sched s;

	ckpt_interrupted_args(regs, arg);
	if (!a || !a->since || a->nr != (long)regs->orig_rax || a->sp != regs->rsp ||
	    memcmp(a->arg, arg, sizeof(arg)))
		return 0;
	/* Falling asleep in the stop is one more. Another one still: it has woken up and made the
	 * same call again. */
	if (!read_sched(a->tid, &s) || s.switches != a->switches + 1 || stopped_at < a->since)
		return 0;
	return stopped_at - a->since;
}
