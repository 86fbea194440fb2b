/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations on memory, signals, timers and processes: a row for each. Areas lie at fixed
 * addresses; what operations return says nothing of addresses and numbers.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "tests/lib/case.h"
#include "tests/property/operations.h"
#include "tests/property/target.h"

#define HOUR 3600

static long op_mmap(const int *a)
{
	static const int prot[] = { PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE,
				    PROT_READ | PROT_WRITE | PROT_EXEC };
	char *at = mmap(OPERATION_AREA(a[0]), OPERATION_PAGES * 4096, prot[a[1]],
			MAP_ANONYMOUS | MAP_FIXED | (a[2] ? MAP_SHARED : MAP_PRIVATE), -1, 0);

	return at == MAP_FAILED ? -1 : 0;
}

static long op_mmap_file(const int *a)
{
	char *at = mmap(OPERATION_AREA(a[0]), OPERATION_PAGES * 4096, PROT_READ | PROT_WRITE,
			MAP_FIXED | (a[2] ? MAP_SHARED : MAP_PRIVATE), PROGRAM_SLOT + a[1], 0);

	return at == MAP_FAILED ? -1 : 0;
}

static long op_munmap(const int *a)
{
	return munmap(OPERATION_AREA(a[0]) + a[1] * 4096, a[2] * 4096);
}

static long op_mprotect(const int *a)
{
	return mprotect(OPERATION_AREA(a[0]) + a[1] * 4096, 4 * 4096, a[2]);
}

static long op_madvise(const int *a)
{
	static const int advice[] = { MADV_DONTFORK, MADV_DONTDUMP,   MADV_SEQUENTIAL,
				      MADV_RANDOM,   MADV_WIPEONFORK, MADV_NOHUGEPAGE,
				      MADV_DONTNEED };

	return madvise(OPERATION_AREA(a[0]) + a[1] * 4096, 3 * 4096, advice[a[2]]);
}

static long op_mremap(const int *a)
{
	char *at = mremap(OPERATION_AREA(a[0]), a[2] * 4096, (a[2] + 2) * 4096,
			  MREMAP_MAYMOVE | MREMAP_FIXED, OPERATION_AREA(a[1]));

	return at == MAP_FAILED ? -1 : 0;
}

/* By the kernel: it says EFAULT where a store would be a signal. */
static long op_poke(const int *a)
{
	int fd[2];
	long r = -1;

	if (pipe(fd) < 0)
		return -1;
	if (write(fd[1], &a[2], sizeof(a[2])) > 0)
		r = read(fd[0], OPERATION_AREA(a[0]) + a[1] * 4096 + 8 * a[2], sizeof(a[2]));
	close(fd[0]);
	close(fd[1]);
	return r;
}

static long op_peek(const int *a)
{
	unsigned char page[4096];
	unsigned long sum = 0;
	int fd[2];

	if (pipe(fd) < 0)
		return -1;
	for (int i = 0; i < OPERATION_PAGES; i++) {
		ssize_t n = write(fd[1], OPERATION_AREA(a[0]) + i * 4096, sizeof(page));

		n = n > 0 ? read(fd[0], page, sizeof(page)) : n;
		for (ssize_t k = 0; k < n; k++)
			sum = sum * 131 + page[k];
		sum += n;
	}
	close(fd[0]);
	close(fd[1]);
	return sum & 0xffffffffff;
}

static long op_brk(const int *a)
{
	long now = syscall(SYS_brk, 0);

	return syscall(SYS_brk, now + a[0] * 4096) == now + a[0] * 4096 ? 0 : -1;
}

static void handler(int sig)
{
	(void)sig;
}

static long op_sigaction(const int *a)
{
	struct sigaction sa = { .sa_handler = a[1] == 2 ? SIG_IGN :
					      a[1]      ? handler :
							  SIG_DFL,
				.sa_flags = a[2] ? SA_RESTART : SA_NODEFER };

	return sigaction(SIGRTMIN + 1 + a[0], &sa, NULL);
}

/* Blocked from then on, so that it waits. */
static long op_raise(const int *a)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1 + a[0]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (a[2])
		return raise(SIGRTMIN + 1 + a[0]);
	return sigqueue(getpid(), SIGRTMIN + 1 + a[0], (union sigval){ .sival_int = a[1] });
}

static long op_take_signal(const int *a)
{
	siginfo_t info = { 0 };
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1 + a[0]);
	sig = sigtimedwait(&set, &info, &(struct timespec){ 0 });
	return sig < 0 ? -1 : sig * 1000 + info.si_value.sival_int % 1000 - info.si_code;
}

static long op_timer(const int *a)
{
	struct sigevent e = { .sigev_notify = a[1] ? SIGEV_SIGNAL : SIGEV_NONE,
			      .sigev_signo = SIGRTMIN + 2 };
	struct itimerspec t = { { 0 }, { HOUR, 0 } };
	timer_t id;

	if (timer_create(a[0] ? CLOCK_BOOTTIME : CLOCK_MONOTONIC, &e, &id) < 0)
		return -1;
	return a[2] ? timer_settime(id, 0, &t, NULL) : 0;
}

static long op_itimer(const int *a)
{
	struct itimerval t = { { a[1] * HOUR, 0 }, { HOUR, 0 } };

	return setitimer(a[0], &t, NULL);
}

static long op_prctl(const int *a)
{
	static const struct {
		int option;
		long arg;
	} v[] = {
		{ PR_SET_TIMERSLACK, 70000 },     { PR_SET_KEEPCAPS, 1 },
		{ PR_SET_CHILD_SUBREAPER, 1 },    { PR_SET_NO_NEW_PRIVS, 1 },
		{ PR_SET_NAME, (long)"another" }, { PR_SET_THP_DISABLE, 1 },
		{ PR_MCE_KILL, PR_MCE_KILL_SET },
	};

	return prctl(v[a[0]].option, v[a[0]].arg, v[a[0]].option == PR_MCE_KILL ? a[1] : 0, 0, 0);
}

/* Not of the root: its parent is ckpt, which ends; a restore says that it leaves it out. */
static long op_pdeathsig(const int *a)
{
	int sig = 0;

	if (!target_process())
		return -1;
	prctl(PR_GET_PDEATHSIG, &sig);
	return prctl(PR_SET_PDEATHSIG, a[0] ? SIGRTMIN + a[0] : 0) < 0 ? -1 : sig;
}

static long op_rlimit(const int *a)
{
	static const int what[] = { RLIMIT_CORE, RLIMIT_NOFILE, RLIMIT_STACK, RLIMIT_MEMLOCK };
	struct rlimit l;

	if (getrlimit(what[a[0]], &l) < 0)
		return -1;
	l.rlim_cur = l.rlim_max == RLIM_INFINITY ? (rlim_t)(1000 + a[1]) << 13 : l.rlim_max - a[1];
	return setrlimit(what[a[0]], &l);
}

static long op_nice(const int *a)
{
	return setpriority(PRIO_PROCESS, 0, a[0]);
}

static long op_zombie(const int *a)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(a[0]);
	return pid < 0 ? -1 : waitid(P_PID, pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT);
}

static long op_wait(const int *a)
{
	int status = 0;
	pid_t pid = waitpid(-1, &status, WNOHANG);

	(void)a;
	return pid > 0 ? 1000 + status : pid;
}

static long op_setpgid(const int *a)
{
	(void)a;
	return setpgid(0, 0);
}

static long op_setsid(const int *a)
{
	(void)a;
	return setsid() < 0 ? -1 : 0;
}

static void *rest(void *arg)
{
	*(pid_t *)arg = gettid();
	for (;;)
		pause();
	return arg;
}

static long op_thread(const int *a)
{
	static volatile pid_t tid;
	sigset_t all, old;
	pthread_t t;
	int r;

	(void)a;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old); /* signals are for the one that does operations */
	r = pthread_create(&t, NULL, rest, (void *)&tid);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r == 0 && EVENTUALLY(tid))
		case_blocked(getpid(), tid, SYS_pause);
	tid = 0;
	return r;
}

static long op_fork(const int *a)
{
	return target_fork(1 + a[0]);
}

#define M OPERATION_AREAS
static const struct operation rows[] = {
	{ "mmap", 6, { M, 4, 2 }, op_mmap },
	{ "mmap_file", 4, { M, PROGRAM_SLOTS, 2 }, op_mmap_file },
	{ "munmap", 2, { M, OPERATION_PAGES - 8, 8 }, op_munmap },
	{ "mprotect", 3, { M, OPERATION_PAGES - 4, 4 }, op_mprotect },
	{ "madvise", 3, { M, OPERATION_PAGES - 3, 7 }, op_madvise },
	{ "mremap", 2, { M, M, 8 }, op_mremap },
	{ "poke", 10, { M, OPERATION_PAGES, 100 }, op_poke },
	{ "peek", 6, { M }, op_peek },
	{ "brk", 1, { 20 }, op_brk },
	{ "sigaction", 2, { 4, 3, 2 }, op_sigaction },
	{ "raise", 3, { 4, 50, 2 }, op_raise },
	{ "take_signal", 2, { 4 }, op_take_signal },
	{ "timer", 2, { 2, 2, 2 }, op_timer },
	{ "itimer", 1, { 3, 2 }, op_itimer },
	{ "prctl", 3, { 7, 3 }, op_prctl },
	{ "pdeathsig", 1, { 4 }, op_pdeathsig },
	{ "rlimit", 1, { 4, 50 }, op_rlimit },
	{ "nice", 1, { 5 }, op_nice },
	{ "zombie", 2, { 100 }, op_zombie },
	{ "wait", 1, { 0 }, op_wait },
	{ "setpgid", 1, { 0 }, op_setpgid },
	{ "setsid", 1, { 0 }, op_setsid },
	{ "thread", 1, { 0 }, op_thread },
	{ "fork", 3, { PROGRAM_PROCESSES - 1 }, op_fork },
};
const struct operations task_operations = { rows, ARRAY_SIZE(rows) };
