/* SPDX-License-Identifier: Apache-2.0 */
/* Threads: ids, names, own memory, locks between them; what the kernel does for them when they end.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "tests/lib/case.h"

#define N 20

static pthread_t threads[N];
static pid_t tids[N];
static pthread_barrier_t barrier;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static bool go_on;
static _Thread_local int own = -1;

static void *be_thread(void *arg)
{
	int i = (long)arg;
	char name[16], is[16];

	own = i;
	tids[i] = gettid();
	snprintf(name, sizeof(name), "thread-%d", i);
	pthread_setname_np(pthread_self(), name);
	pthread_barrier_wait(&barrier);
	pthread_mutex_lock(&lock);
	while (!go_on)
		pthread_cond_wait(&cond, &lock);
	pthread_mutex_unlock(&lock);
	prctl(PR_GET_NAME, is);
	return own == i && tids[i] == gettid() && !strcmp(name, is) ? arg : (void *)-1l;
}

static void setup(void)
{
	pthread_barrier_init(&barrier, NULL, N + 1);
	for (long i = 0; i < N; i++)
		CHECK(!pthread_create(&threads[i], NULL, be_thread, (void *)i));
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < N; i++)
		case_blocked(getpid(), tids[i], SYS_futex);
	prctl(PR_SET_NAME, "the leader");
}

/* pthread_join() waits for the kernel to clear the thread's id (set_tid_address). */
static void check(void)
{
	void *result;

	pthread_mutex_lock(&lock);
	go_on = true;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&lock);
	for (long i = 0; i < N; i++) {
		CHECK(!pthread_join(threads[i], &result));
		CHECK(result == (void *)i);
	}
	/* And new ones can be made. */
	go_on = true;
	pthread_barrier_init(&barrier, NULL, 2);
	CHECK(!pthread_create(&threads[0], NULL, be_thread, NULL));
	pthread_barrier_wait(&barrier);
	CHECK(!pthread_join(threads[0], &result));
	CHECK(result == NULL);
}

/* A thread dies holding a robust lock: the kernel walks the list that the thread registered. */
static pthread_mutex_t robust;
static sem_t hold, held;

static void *hold_robust(void *arg)
{
	tids[0] = gettid();
	pthread_mutex_lock(&robust);
	sem_post(&held);
	while (sem_wait(&hold) < 0)
		;
	syscall(SYS_exit, 0);
	return arg;
}

static void setup_robust(void)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	CHECK(!pthread_mutex_init(&robust, &attr));
	sem_init(&hold, 0, 0);
	sem_init(&held, 0, 0);
	CHECK(!pthread_create(&threads[0], NULL, hold_robust, NULL));
	while (sem_wait(&held) < 0)
		;
	case_blocked(getpid(), tids[0], SYS_futex);
}

static void check_robust(void)
{
	struct timespec t;

	CHECK_INT(pthread_mutex_trylock(&robust), EBUSY);
	sem_post(&hold);
	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += 5;
	CHECK_INT(pthread_mutex_timedlock(&robust, &t), EOWNERDEAD);
	CHECK_INT(pthread_mutex_consistent(&robust), 0);
	CHECK_INT(pthread_mutex_unlock(&robust), 0);
}

/* Restartable sequences: the C library registers each thread; the kernel keeps cpu_id up to date.
 */
static struct rseq *rseq_of_thread(void)
{
	return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

static void check_cpu_number(void)
{
	cpu_set_t all, one;

	CHECK_CALL(sched_getaffinity(0, sizeof(all), &all));
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		CHECK_CALL(sched_setaffinity(0, sizeof(one), &one));
		CHECK_INT(*(volatile uint32_t *)&rseq_of_thread()->cpu_id, cpu);
		CHECK_INT(sched_getcpu(), cpu);
	}
	CHECK_CALL(sched_setaffinity(0, sizeof(all), &all));
}

static void *wait_and_check_cpu(void *arg)
{
	tids[0] = gettid();
	sem_post(&held);
	while (sem_wait(&hold) < 0)
		;
	check_cpu_number();
	/* A second registration is refused: the first is in force. */
	CHECK(syscall(SYS_rseq, (char *)rseq_of_thread() + 64, 32, 0, 0x53053053) < 0);
	return arg;
}

static void setup_rseq(void)
{
	if (!__rseq_size)
		case_skip("the C library has not registered rseq");
	sem_init(&hold, 0, 0);
	sem_init(&held, 0, 0);
	CHECK(!pthread_create(&threads[0], NULL, wait_and_check_cpu, NULL));
	while (sem_wait(&held) < 0)
		;
	case_blocked(getpid(), tids[0], SYS_futex);
}

static void check_rseq(void)
{
	check_cpu_number();
	sem_post(&hold);
	CHECK(!pthread_join(threads[0], NULL));
}

/* The leader has ended, its threads have not. */
static void *go_on_alone(void *arg)
{
	test_sleep_ms(20);
	return arg;
}

/* Threads that come and go all the time. */
static volatile int stop;
static volatile unsigned long rounds;

static void *make_threads(void *arg)
{
	while (!stop) {
		pthread_t t;

		CHECK(!pthread_create(&t, NULL, go_on_alone, NULL));
		CHECK(!pthread_join(t, NULL));
		rounds++;
	}
	return arg;
}

static void setup_busy(void)
{
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_create(&threads[i], NULL, make_threads, NULL));
}

static void check_busy(void)
{
	unsigned long before = rounds;

	CHECK(EVENTUALLY(rounds > before + 20));
	stop = true;
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_join(threads[i], NULL));
}

/* A table of futexes of the process's own, or none: PR_FUTEX_HASH, Linux 6.16. */
#define PR_FUTEX_HASH 78

static int slots;

static int futex_slots(void)
{
	return prctl(PR_FUTEX_HASH, 2, 0, 0, 0);
}

static void choose_slots(int n)
{
	setup();
	slots = prctl(PR_FUTEX_HASH, 1, n, 0, 0) < 0 ? futex_slots() : n;
}

static void setup_many_slots(void)
{
	choose_slots(4096);
}

static void setup_no_slots(void)
{
	choose_slots(0);
}

static void check_slots(void)
{
	CHECK_INT(futex_slots(), slots);
	check();
	CHECK_INT(futex_slots(), slots);
}

CASES({ "threads keep ids, names, own memory and locks, and end properly", setup, check },
      { "the lock of a thread that dies is passed on", setup_robust, check_robust },
      { "futexes keep the table that the program chose", setup_many_slots, check_slots },
      { "and the one of all processes", setup_no_slots, check_slots },
      { "restartable sequences stay registered", setup_rseq, check_rseq },
      { "a program that makes threads all the time goes on", setup_busy, check_busy,
	.flags = CASE_LOSSY })
