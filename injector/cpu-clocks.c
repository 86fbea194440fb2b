/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far the clocks of processors lag behind, which nobody shows: a thread that runs there looks.
 */
#include <ctype.h>
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "engine/base/text.h"
#include "injector/cpu-clocks.h"
#include "injector/ptrace.h"

#define LOOK_NS 100000000
#define SCHED_TEXT 1024 /* what is looked for stands at its start */

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

bool ckpt_sched_read(pid_t tid, struct ckpt_sched *s)
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
	struct ckpt_sched s;
	cpu_set_t one;
	uint64_t now;

	__atomic_store_n(&look->tid, syscall(SYS_gettid), __ATOMIC_SEQ_CST);
	CPU_ZERO(&one);
	CPU_SET(look->cpu, &one);
	if (!__atomic_load_n(&look->late, __ATOMIC_SEQ_CST) &&
	    !sched_setaffinity(0, sizeof(one), &one)) {
		nanosleep(&(struct timespec){ .tv_nsec = 1 }, NULL);
		now = ckpt_now_ns();
		look->known = ckpt_sched_read(syscall(SYS_gettid), &s);
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

static void learn(struct ckpt_cpu_clocks *clocks, int cpu, int64_t behind)
{
	clocks->behind[cpu] = behind;
	clocks->known[cpu] = true;
}

/* When a process last ran on CPU, on the clock of that; 0: elsewhere. */
static uint64_t last_ran(pid_t pid, int cpu)
{
	struct ckpt_proc_stat before, after;
	struct ckpt_sched s;

	if (ckpt_proc_stat(pid, &before) < 0 || before.cpu != cpu || !ckpt_sched_read(pid, &s) ||
	    ckpt_proc_stat(pid, &after) < 0 || after.cpu != cpu)
		return 0;
	return s.exec_start;
}

/* Where our own thread does not get its turn, others have theirs: whoever ran last did so a few
 * milliseconds ago. So the clock may lag behind less than it seems, and nobody's wait becomes too
 * short by that. */
static void look_at_others(struct ckpt_cpu_clocks *clocks, int cpu)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;
	uint64_t last = 0;

	while (proc && (e = readdir(proc))) {
		uint64_t at = isdigit(e->d_name[0]) ? last_ran(atoi(e->d_name), cpu) : 0;

		if (at > last) {
			last = at;
			learn(clocks, cpu, ckpt_now_ns() - at);
		}
	}
	if (proc)
		closedir(proc);
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
	else if (look->known)
		learn(clocks, cpu, look->behind);
	let_go(look);
	if (!clocks->known[cpu])
		look_at_others(clocks, cpu);
	return clocks->known[cpu];
}

bool ckpt_cpu_clock_known(struct ckpt_cpu_clocks *clocks, int cpu)
{
	return cpu >= 0 && cpu < CPU_SETSIZE && (clocks->known[cpu] || measure(clocks, cpu));
}
