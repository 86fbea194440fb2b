/* SPDX-License-Identifier: Apache-2.0 */
/* Since when a thread has been waiting in a system call with a time limit. */
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/text.h"
#include "injector/asleep.h"
#include "injector/interrupted.h"
#include "injector/ptrace.h"

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

void ckpt_cpu_clocks_begin(struct ckpt_cpu_clocks *clocks)
{
	memset(clocks, 0, sizeof(*clocks));
	CPU_ZERO(&clocks->before);
	sched_getaffinity(0, sizeof(clocks->before), &clocks->before);
}

void ckpt_cpu_clocks_end(struct ckpt_cpu_clocks *clocks)
{
	if (CPU_COUNT(&clocks->before))
		sched_setaffinity(0, sizeof(clocks->before), &clocks->before);
}

/* Our own exec_start is that of the last switch or tick: yielding on that processor makes it now.
 */
static bool measure(struct ckpt_cpu_clocks *clocks, int cpu)
{
	struct sched s;
	cpu_set_t one;
	uint64_t now;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		return false;
	sched_yield();
	now = ckpt_now_ns();
	if (!read_sched(syscall(SYS_gettid), &s))
		return false;
	clocks->behind[cpu] = now - s.exec_start;
	clocks->known[cpu] = true;
	return true;
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

struct ckpt_asleep *ckpt_asleep_read(struct ckpt_arena *arena, struct ckpt_cpu_clocks *clocks,
				     pid_t tid)
{
	struct ckpt_asleep a = { .tid = tid }, *kept;
	struct ckpt_proc_stat st;
	struct sched s;
	char text[256];

	if (ckpt_proc_read(tid, "syscall", text, sizeof(text)) <= 0 || !parse_call(text, &a))
		return NULL;
	if (a.nr != SYS_restart_syscall &&
	    ckpt_interrupted_time(a.nr, a.arg).form == CKPT_TIME_NONE)
		return NULL;
	if (ckpt_proc_read(tid, "wchan", a.wchan, sizeof(a.wchan)) < 0)
		a.wchan[0] = '\0';
	if (read_sched(tid, &s) && !ckpt_proc_stat(tid, &st) && st.cpu >= 0 &&
	    st.cpu < CPU_SETSIZE && (clocks->known[st.cpu] || measure(clocks, st.cpu))) {
		a.since = s.exec_start + clocks->behind[st.cpu];
		a.switches = s.switches;
	}
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
