/* SPDX-License-Identifier: Apache-2.0 */
/* Limits, priorities, scheduling, affinity: of the process and of each thread. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "tests/lib/case.h"

static struct rlimit limits[RLIM_NLIMITS];

static void setup(void)
{
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		CHECK_CALL(getrlimit(i, &limits[i]));
		if (limits[i].rlim_max > 4000)
			limits[i].rlim_max = limits[i].rlim_max == RLIM_INFINITY ?
						     1ul << 40 :
						     limits[i].rlim_max - i;
		if (limits[i].rlim_cur > limits[i].rlim_max)
			limits[i].rlim_cur = limits[i].rlim_max - 1000;
		CHECK_CALL(setrlimit(i, &limits[i]));
	}
}

static void check(void)
{
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		struct rlimit now;

		CHECK_CALL(getrlimit(i, &now));
		if (now.rlim_cur != limits[i].rlim_cur || now.rlim_max != limits[i].rlim_max)
			case_fail("limit %d is %lu:%lu, not %lu:%lu", i, now.rlim_cur, now.rlim_max,
				  limits[i].rlim_cur, limits[i].rlim_max);
	}
}

/* Limits that the process itself is already above of. */
static int high, n;

static void setup_tight(void)
{
	high = CHECK_CALL(fcntl(2, F_DUPFD, 500));
	CHECK_CALL(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 10, 10 }));
	CHECK_CALL(setrlimit(RLIMIT_AS, &(struct rlimit){ 1 << 20, 1 << 20 }));
	CHECK_CALL(setrlimit(RLIMIT_STACK, &(struct rlimit){ 1 << 16, 1 << 16 }));
	CHECK_CALL(setrlimit(RLIMIT_DATA, &(struct rlimit){ 0, 0 }));
	CHECK_CALL(setrlimit(RLIMIT_NPROC, &(struct rlimit){ 0, 0 }));
	CHECK_CALL(setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 }));
}

static void check_tight(void)
{
	struct rlimit now;

	CHECK_INT(fcntl(high, F_GETFD), 0);
	CHECK_CALL(getrlimit(RLIMIT_NOFILE, &now));
	CHECK_INT(now.rlim_max, 10);
	CHECK(dup2(2, 11) < 0 && errno == EBADF);
	CHECK_CALL(getrlimit(RLIMIT_AS, &now));
	CHECK_INT(now.rlim_cur, 1 << 20);
}

struct sched {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static pthread_t threads[5];
static volatile int stop;
static volatile int ready;
static long slack[5];

static void get(struct sched *s)
{
	memset(s, 0, sizeof(*s));
	CHECK_CALL(syscall(SYS_sched_getattr, 0, s, sizeof(*s), 0));
}

static void set_up_thread(int i)
{
	struct sched s = { .size = sizeof(s) };
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	s.policy = (int[]){ SCHED_OTHER, SCHED_BATCH, SCHED_IDLE, SCHED_FIFO, SCHED_RR }[i];
	s.nice = i < 2 ? 3 + i : 0;
	s.priority = i >= 3 ? 5 + i : 0;
	s.flags = i == 1 ? 1 : 0; /* reset on fork */
	CHECK_CALL(syscall(SYS_sched_setattr, 0, &s, 0));
	if (i == 2) /* sched_setattr(2) of SCHED_IDLE does not keep the nice value */
		CHECK_CALL(setpriority(PRIO_PROCESS, 0, 5));
	if (i % 2)
		CHECK_CALL(sched_setaffinity(0, sizeof(one), &one));
	CHECK_CALL(prctl(PR_SET_TIMERSLACK, 70000 + i));
	CHECK_CALL(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | i));
	slack[i] = prctl(PR_GET_TIMERSLACK);
}

static void *run(void *arg)
{
	int i = (long)arg;
	struct sched before, now;
	cpu_set_t cpus;

	set_up_thread(i);
	get(&before);
	__atomic_add_fetch(&ready, 1, __ATOMIC_ACQ_REL);
	while (!stop)
		test_sleep_ms(1);
	get(&now);
	CHECK_INT(now.policy, before.policy);
	CHECK_INT(now.nice, before.nice);
	CHECK_INT(now.priority, before.priority);
	CHECK_INT(now.flags, before.flags);
	CHECK_CALL(sched_getaffinity(0, sizeof(cpus), &cpus));
	if (i % 2)
		CHECK(CPU_COUNT(&cpus) == 1 && CPU_ISSET(0, &cpus));
	else
		CHECK_INT(CPU_COUNT(&cpus), sysconf(_SC_NPROCESSORS_ONLN));
	CHECK_INT(prctl(PR_GET_TIMERSLACK), slack[i]);
	CHECK_INT(syscall(SYS_ioprio_get, 1, 0), 2 << 13 | i);
	return NULL;
}

static void setup_sched(void)
{
	n = getuid() ? 3 : 5;
	for (long i = 0; i < n; i++)
		CHECK(!pthread_create(&threads[i], NULL, run, (void *)i));
	CHECK(EVENTUALLY(ready == n));
	CHECK_CALL(setpriority(PRIO_PROCESS, 0, 7));
}

static void check_sched(void)
{
	CHECK_INT(getpriority(PRIO_PROCESS, 0), 7);
	stop = true;
	for (long i = 0; i < n; i++)
		CHECK(!pthread_join(threads[i], NULL));
}

static void setup_proc(void)
{
	CHECK(test_write("wanted", "777\n"));
	n = CHECK_CALL(open("/proc/self/oom_score_adj", O_WRONLY));
	CHECK(write(n, "777", 3) == 3);
	close(n);
	n = CHECK_CALL(open("/proc/self/coredump_filter", O_WRONLY));
	CHECK(write(n, "0x7f", 4) == 4);
	close(n);
}

static void check_proc(void)
{
	CHECK_TEXT(test_read("/proc/self/oom_score_adj", NULL), "777\n");
	CHECK_TEXT(test_read("/proc/self/coredump_filter", NULL), "0000007f\n");
}

/* Who logged in: it can be set once. */
static void setup_login(void)
{
	n = open("/proc/self/loginuid", O_WRONLY);
	if (n < 0)
		case_skip("no audit: %m");
	if (write(n, "1234", 4) != 4)
		case_skip("the login uid cannot be set: %m");
	close(n);
}

static void check_login(void)
{
	CHECK_TEXT(test_read("/proc/self/loginuid", NULL), "1234");
}

/* A share of a processor that is guaranteed. */
static const struct sched share = { .size = sizeof(share),
				    .policy = 6, /* SCHED_DEADLINE */
				    .flags = 2,  /* reclaim */
				    .runtime = 10000000,
				    .deadline = 90000000,
				    .period = 100000000 };

static void *run_deadline(void *arg)
{
	struct sched now;

	if (syscall(SYS_sched_setattr, 0, &share, 0) < 0)
		ready = -1;
	else
		ready = 1;
	while (!stop)
		test_sleep_ms(1);
	get(&now);
	CHECK_INT(now.policy, share.policy);
	CHECK_INT(now.flags, share.flags);
	CHECK_INT(now.runtime, share.runtime);
	CHECK_INT(now.deadline, share.deadline);
	CHECK_INT(now.period, share.period);
	return arg;
}

static void setup_deadline(void)
{
	CHECK(!pthread_create(&threads[0], NULL, run_deadline, NULL));
	CHECK(EVENTUALLY(ready));
	if (ready < 0)
		case_skip("no SCHED_DEADLINE here");
	n = 1;
}

static void check_deadline(void)
{
	stop = true;
	CHECK(!pthread_join(threads[0], NULL));
}

CASES({ "limits stay", setup, check },
      { "limits below what is in use stay", setup_tight, check_tight },
      { "priority, policy, affinity and slack of each thread stay", setup_sched, check_sched },
      { "what was written into files of /proc stays", setup_proc, check_proc },
      { "a deadline stays", setup_deadline, check_deadline, .flags = CASE_ROOT },
      { "who logged in is known", setup_login, check_login, .flags = CASE_ROOT })
