/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Children of the library's own count as the program's once they are reaped. What they used is
 * taken out of what the program is told of its children.
 */
#include <string.h>
#include <sys/times.h>
#include <unistd.h>
#include "libinproc/wrap.h"

#define US 1000000ll
#define READS 1000 /* as often who writes may not run */

/* Written by one thread at a time, the one that leads a checkpoint. */
static struct {
	uint32_t turn; /* odd: it is being written */
	pid_t pid;     /* whose children; a fork starts anew */
	int64_t user_us, system_us;
	struct rusage counts;             /* all but the times and maxrss */
	long maxrss_before, maxrss_after; /* AFTER is a child of ours, the program's had BEFORE */
} hidden;

static int64_t us(struct timeval t)
{
	return t.tv_sec * US + t.tv_usec;
}

static void add(struct rusage *sum, const struct rusage *before, const struct rusage *after)
{
	sum->ru_minflt += after->ru_minflt - before->ru_minflt;
	sum->ru_majflt += after->ru_majflt - before->ru_majflt;
	sum->ru_inblock += after->ru_inblock - before->ru_inblock;
	sum->ru_oublock += after->ru_oublock - before->ru_oublock;
	sum->ru_nvcsw += after->ru_nvcsw - before->ru_nvcsw;
	sum->ru_nivcsw += after->ru_nivcsw - before->ru_nivcsw;
}

static void begin(void)
{
	__atomic_add_fetch(&hidden.turn, 1, __ATOMIC_SEQ_CST);
}

static void end(void)
{
	__atomic_add_fetch(&hidden.turn, 1, __ATOMIC_SEQ_CST);
}

static void forget(pid_t pid)
{
	uint32_t turn = hidden.turn;

	memset(&hidden, 0, sizeof(hidden));
	hidden.turn = turn;
	hidden.pid = pid;
}

void ckpt_usage_hide(const struct rusage *before, const struct rusage *after)
{
	pid_t pid = ckpt_sys(SYS_getpid);

	begin();
	if (hidden.pid != pid)
		forget(pid);
	hidden.user_us += us(after->ru_utime) - us(before->ru_utime);
	hidden.system_us += us(after->ru_stime) - us(before->ru_stime);
	add(&hidden.counts, before, after);
	if (after->ru_maxrss != before->ru_maxrss) {
		if (before->ru_maxrss != hidden.maxrss_after)
			hidden.maxrss_before = before->ru_maxrss;
		hidden.maxrss_after = after->ru_maxrss;
	}
	end();
}

void ckpt_usage_restored(void)
{
	begin();
	forget(ckpt_sys(SYS_getpid));
	end();
}

/* Has nothing been hidden since then? Otherwise what the kernel said meanwhile may be of before. */
static bool is_current(uint32_t turn)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return turn == __atomic_load_n(&hidden.turn, __ATOMIC_SEQ_CST);
}

/* A copy to go with what the kernel says next. */
static uint32_t get(__typeof__(hidden) *copy)
{
	uint32_t turn = __atomic_load_n(&hidden.turn, __ATOMIC_SEQ_CST);

	for (int i = 0; i < READS && turn & 1; i++) {
		ckpt_sys(SYS_sched_yield);
		turn = __atomic_load_n(&hidden.turn, __ATOMIC_SEQ_CST);
	}
	memcpy(copy, &hidden, sizeof(*copy));
	if (copy->pid && copy->pid != ckpt_sys(SYS_getpid))
		memset(copy, 0, sizeof(*copy));
	return turn;
}

static void subtract_us(struct timeval *t, int64_t hide)
{
	int64_t left = us(*t) - hide;

	if (left < 0)
		left = 0;
	t->tv_sec = left / US;
	t->tv_usec = left % US;
}

static void subtract(long *count, long hide)
{
	*count = *count > hide ? *count - hide : 0;
}

CKPT_EXPORT int getrusage(__rusage_who_t who, struct rusage *r)
{
	__typeof__(hidden) h;
	uint32_t turn;
	int ret;

	if (who != RUSAGE_CHILDREN)
		return REAL(getrusage)(who, r);
	do {
		turn = get(&h);
		ret = REAL(getrusage)(who, r);
	} while (!is_current(turn));
	if (ret || !h.pid)
		return ret;
	subtract_us(&r->ru_utime, h.user_us);
	subtract_us(&r->ru_stime, h.system_us);
	subtract(&r->ru_minflt, h.counts.ru_minflt);
	subtract(&r->ru_majflt, h.counts.ru_majflt);
	subtract(&r->ru_inblock, h.counts.ru_inblock);
	subtract(&r->ru_oublock, h.counts.ru_oublock);
	subtract(&r->ru_nvcsw, h.counts.ru_nvcsw);
	subtract(&r->ru_nivcsw, h.counts.ru_nivcsw);
	if (r->ru_maxrss == h.maxrss_after)
		r->ru_maxrss = h.maxrss_before;
	return ret;
}

CKPT_EXPORT clock_t times(struct tms *t)
{
	__typeof__(hidden) h;
	uint32_t turn;
	clock_t ret;
	int64_t tick;

	do {
		turn = get(&h);
		ret = REAL(times)(t);
	} while (!is_current(turn));
	if (ret == (clock_t)-1 || !t || !h.pid)
		return ret;
	tick = US / sysconf(_SC_CLK_TCK);
	subtract(&t->tms_cutime, h.user_us / tick);
	subtract(&t->tms_cstime, h.system_us / tick);
	return ret;
}
