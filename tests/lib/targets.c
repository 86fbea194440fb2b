/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that notice when something is done to them: a call that returns EINTR or too early, a changed register, a
 * damaged stack or heap. Raw system calls where the C library would hide what the kernel returns.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "tests/lib/targets.h"

#define MS 1000000l
#define NAP (3 * MS)

static struct target_shared *shared;

static void bad(const char *what, long is)
{
	if (!__sync_fetch_and_add(&shared->bad, 1))
		snprintf(shared->what, sizeof(shared->what), "%s: %ld (errno %d)", what, is, errno);
}

static void good(void)
{
	__sync_fetch_and_add(&shared->rounds, 1);
}

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* R is what a call returned that began at START and had to take NAP. */
static void waited(const char *what, int64_t start, long r, long want)
{
	int64_t took = now() - start;

	if (r < 0)
		r = -errno;
	if (r != want)
		bad(what, r);
	else if (took < NAP - MS)
		bad(what, took);
	else
		good();
}

static void run_registers(struct target_shared *sh)
{
	(void)sh;
	for (;;) {
		unsigned long r;

		/* Each register holds its own number, 5000 times over. */
		__asm__ volatile(
			"push %%rbp\n mov $5000, %%eax\n"
			"mov $2,%%ebx; mov $3,%%ecx; mov $4,%%edx; mov $5,%%esi; mov $6,%%edi; mov $7,%%ebp; mov $8,%%r8d\n"
			"mov $9,%%r9d; mov $10,%%r10d; mov $11,%%r11d; mov $12,%%r12d; mov $13,%%r13d; mov $14,%%r14d; mov $15,%%r15d\n"
			"1: cmp $2,%%rbx; jne 2f; cmp $3,%%rcx; jne 2f; cmp $4,%%rdx; jne 2f; cmp $5,%%rsi; jne 2f; cmp $6,%%rdi; jne 2f\n"
			"cmp $7,%%rbp; jne 2f; cmp $8,%%r8; jne 2f; cmp $9,%%r9; jne 2f; cmp $10,%%r10; jne 2f; cmp $11,%%r11; jne 2f\n"
			"cmp $12,%%r12; jne 2f; cmp $13,%%r13; jne 2f; cmp $14,%%r14; jne 2f; cmp $15,%%r15; jne 2f\n"
			"dec %%rax; jnz 1b\n"
			"2: pop %%rbp\n"
			: "=a"(r) : : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
			"memory", "cc");
		if (r)
			bad("a register changed", r);
		else
			good();
	}
}

/* Rounding towards zero, vectors of a pattern and pi on the x87 stack, while a counter runs down. */
static void run_vectors(struct target_shared *sh)
{
	const unsigned int csr = 0x7f80;
	uint64_t in[8], out[8];

	(void)sh;
	for (int i = 0; i < 8; i++)
		in[i] = 0x0123456789abcdefull * (i + 1);
	for (;;) {
		unsigned int csr_is = csr;
		unsigned char pi_changed;

		__asm__ volatile(
			"ldmxcsr %1; movdqu (%2),%%xmm0; movdqu 16(%2),%%xmm1; movdqu 32(%2),%%xmm14; movdqu 48(%2),%%xmm15\n"
			"fldpi; mov $20000,%%ecx\n 1: dec %%ecx; jnz 1b\n"
			"fldpi; fucomip %%st(1),%%st; fstp %%st(0); setne %0\n"
			"movdqu %%xmm0,(%3); movdqu %%xmm1,16(%3); movdqu %%xmm14,32(%3); movdqu %%xmm15,48(%3); stmxcsr %1"
			: "=&q"(pi_changed), "+m"(csr_is) : "r"(in), "r"(out)
			: "ecx", "xmm0", "xmm1", "xmm14", "xmm15", "st", "st(1)", "memory", "cc");
		if (memcmp(in, out, sizeof(in)) || pi_changed || csr_is >> 6 != csr >> 6)
			bad("vector state changed", csr_is);
		else
			good();
	}
}

static void run_nanosleep(struct target_shared *sh)
{
	(void)sh;
	for (;;) {
		int64_t start = now();

		waited("nanosleep", start, syscall(SYS_nanosleep, &(struct timespec){ 0, NAP }, NULL), 0);
	}
}

static void run_nanosleep_rest(struct target_shared *sh)
{
	(void)sh;
	for (;;) {
		struct timespec t = { 0, NAP }, rest;
		int64_t start = now();

		waited("nanosleep in place", start, syscall(SYS_nanosleep, &t, &t), 0);
		t = (struct timespec){ 0, NAP };
		start = now();
		waited("nanosleep with a rest", start, syscall(SYS_nanosleep, &t, &rest), 0);
	}
}

static void run_clock_nanosleep(struct target_shared *sh)
{
	(void)sh;
	for (;;) {
		int64_t start = now(), end = start + NAP;
		struct timespec t = { end / 1000000000, end % 1000000000 };

		waited("clock_nanosleep", start, syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &(struct timespec){ 0, NAP }, NULL), 0);
		start = now();
		end = start + NAP;
		t = (struct timespec){ end / 1000000000, end % 1000000000 };
		waited("absolute clock_nanosleep", start, syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL), 0);
		start = now();
		waited("usleep", start, usleep(NAP / 1000), 0);
	}
}

static void run_poll(struct target_shared *sh)
{
	int p[2];
	sigset_t mask;

	(void)sh;
	sigemptyset(&mask);
	if (pipe(p))
		bad("pipe", -1);
	for (;;) {
		struct pollfd fd = { p[0], POLLIN, 0 };
		struct timeval tv = { 0, NAP / 1000 };
		int64_t start = now();

		waited("poll", start, poll(&fd, 1, NAP / MS), 0);
		start = now();
		waited("ppoll", start, ppoll(&fd, 1, &(struct timespec){ 0, NAP }, &mask), 0);
		start = now();
		waited("select", start, select(0, NULL, NULL, NULL, &tv), 0);
		start = now();
		waited("pselect", start, pselect(0, NULL, NULL, NULL, &(struct timespec){ 0, NAP }, &mask), 0);
	}
}

static void run_epoll(struct target_shared *sh)
{
	int e = epoll_create1(0);
	struct epoll_event ev;
	sigset_t mask;

	(void)sh;
	sigfillset(&mask);
	for (;;) {
		int64_t start = now();

		waited("epoll_wait", start, epoll_wait(e, &ev, 1, NAP / MS), 0);
		start = now();
		waited("epoll_pwait", start, epoll_pwait(e, &ev, 1, NAP / MS, &mask), 0);
		start = now();
		waited("epoll_pwait2", start, syscall(SYS_epoll_pwait2, e, &ev, 1, &(struct timespec){ 0, NAP }, &mask, 8), 0);
	}
}

static void run_sigtimedwait(struct target_shared *sh)
{
	sigset_t set;

	(void)sh;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (;;) {
		int64_t start = now();

		waited("sigtimedwait", start, sigtimedwait(&set, NULL, &(struct timespec){ 0, NAP }), -EAGAIN);
	}
}

static void run_semtimedop(struct target_shared *sh)
{
	int id = semget(IPC_PRIVATE, 1, 0600);
	struct sembuf op = { 0, -1, 0 };

	sh->sem[__sync_fetch_and_add(&sh->n_sem, 1) % 8] = id + 1;
	for (;;) {
		int64_t start = now();

		waited("semtimedop", start, semtimedop(id, &op, 1, &(struct timespec){ 0, NAP }), -EAGAIN);
	}
}

static void run_futex(struct target_shared *sh)
{
	static int word;
	pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t c = PTHREAD_COND_INITIALIZER;

	(void)sh;
	pthread_mutex_lock(&m);
	for (;;) {
		int64_t start = now();
		struct timespec until;

		waited("futex", start, syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &(struct timespec){ 0, NAP }), -ETIMEDOUT);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += NAP;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		start = now();
		waited("pthread_cond_timedwait", start, pthread_cond_timedwait(&c, &m, &until), ETIMEDOUT);
	}
}

static void run_receive(struct target_shared *sh)
{
	struct timeval tv = { 0, NAP / 1000 };
	int s[2];
	char c;

	(void)sh;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, s) || setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)))
		bad("socketpair", -1);
	for (;;) {
		int64_t start = now();

		waited("recv", start, recv(s[0], &c, 1, 0), -EAGAIN);
	}
}

static void *feed(void *arg)
{
	int *p = arg;

	for (unsigned char c = 0;; c++) {
		usleep(700);
		if (write(p[1], &c, 1) != 1)
			bad("write", c);
	}
	return NULL;
}

static void run_pipe(struct target_shared *sh)
{
	int p[2];
	pthread_t t;

	(void)sh;
	if (pipe(p) || pthread_create(&t, NULL, feed, p))
		bad("pipe", -1);
	for (unsigned char c = 0;; c++) {
		unsigned char got;

		if (read(p[0], &got, 1) != 1 || got != c)
			bad("read", got);
		else
			good();
	}
}

static void *sleeper(void *arg)
{
	(void)arg;
	run_nanosleep(shared);
	return NULL;
}

static void run_threads(struct target_shared *sh)
{
	pthread_t t;

	for (int i = 0; i < 50; i++) {
		if (pthread_create(&t, NULL, sleeper, NULL))
			bad("pthread_create", i);
	}
	run_clock_nanosleep(sh);
}

static uint64_t deep(int n)
{
	volatile uint64_t here[32];

	for (int i = 0; i < 32; i++)
		here[i] = (uintptr_t)&here[i] ^ n;
	uint64_t sum = n ? deep(n - 1) : 0;
	for (int i = 0; i < 32; i++)
		sum += here[i] != ((uintptr_t)&here[i] ^ n);
	return sum;
}

static void run_recursion(struct target_shared *sh)
{
	(void)sh;
	for (int i = 0;; i++) {
		uint64_t damaged = deep(i * 37 % 3000);

		if (damaged)
			bad("words of the stack changed", damaged);
		else
			good();
	}
}

static void on_other_stack(int sig)
{
	volatile char here[4000];

	(void)sig;
	memset((char *)here, 0x5a, sizeof(here));
	for (int k = 0; k < 20; k++) {
		for (size_t i = 0; i < sizeof(here); i++) {
			if (here[i] != 0x5a) {
				bad("the signal stack changed", i);
				return;
			}
		}
	}
	good();
}

/* The stack lies in the heap between guards of bytes. */
static void run_signal_stack(struct target_shared *sh)
{
	struct sigaction sa = { .sa_handler = on_other_stack, .sa_flags = SA_ONSTACK };
	size_t size = 32768, guard = 8192;
	unsigned char *p = malloc(size + 2 * guard);
	stack_t ss = { .ss_sp = p + guard, .ss_size = size }, now_ss;

	(void)sh;
	memset(p, 0xa5, size + 2 * guard);
	sigaltstack(&ss, NULL);
	sigaction(SIGUSR2, &sa, NULL);
	for (;;) {
		raise(SIGUSR2);
		sigaltstack(NULL, &now_ss);
		if (now_ss.ss_sp != ss.ss_sp || now_ss.ss_size != ss.ss_size || now_ss.ss_flags)
			bad("the signal stack is another one", now_ss.ss_flags);
		for (size_t i = 0; i < guard; i++) {
			if (p[i] != 0xa5 || p[guard + size + i] != 0xa5) {
				bad("the heap around the signal stack changed", i);
				break;
			}
		}
	}
}

static volatile sig_atomic_t ticks;

static void tick(int sig)
{
	(void)sig;
	ticks++;
	good();
}

/* With signals coming in all the time, blocked and not, nothing else may change: not the mask, for one. */
static void run_signals(struct target_shared *sh)
{
	struct itimerval it = { { 0, 1500 }, { 0, 1500 } };
	struct sigaction sa = { .sa_handler = tick, .sa_flags = SA_RESTART };
	sigset_t usr, none, is;

	(void)sh;
	sigaction(SIGALRM, &sa, NULL);
	sigemptyset(&none);
	sigemptyset(&usr);
	sigaddset(&usr, SIGALRM);
	setitimer(ITIMER_REAL, &it, NULL);
	for (;;) {
		int before;

		sigprocmask(SIG_BLOCK, &usr, NULL);
		before = ticks;
		if (sigsuspend(&none) != -1 || errno != EINTR || ticks == before)
			bad("sigsuspend returned without a signal", ticks - before);
		sigprocmask(SIG_SETMASK, NULL, &is);
		if (!sigismember(&is, SIGALRM) || sigismember(&is, SIGUSR1))
			bad("the signal mask changed", 0);
		sigprocmask(SIG_UNBLOCK, &usr, NULL);
		for (volatile int i = 0; i < 100000; i++)
			;
	}
}

static void *churn(void *arg)
{
	unsigned char *p[64] = { NULL };
	size_t n[64] = { 0 };

	for (unsigned int i = (uintptr_t)arg;; i = i * 1103515245 + 12345) {
		unsigned int k = i >> 8 & 63;

		for (size_t j = 0; j < n[k]; j++) {
			if (p[k][j] != (unsigned char)k) {
				bad("the heap changed", j);
				break;
			}
		}
		free(p[k]);
		n[k] = 16 + (i >> 16 & 8191);
		p[k] = calloc(1, n[k]);
		for (size_t j = 0; j < n[k]; j++) {
			if (p[k][j]) {
				bad("fresh memory is not zero", j);
				break;
			}
		}
		memset(p[k], k, n[k]);
		good();
	}
	return NULL;
}

static void run_heap(struct target_shared *sh)
{
	pthread_t t;

	(void)sh;
	for (uintptr_t i = 1; i < 3; i++)
		pthread_create(&t, NULL, churn, (void *)i);
	churn((void *)9);
}

static void run_clock(struct target_shared *sh)
{
	int64_t last = 0;

	(void)sh;
	for (;;) {
		int64_t t = now();

		if (t < last)
			bad("time went backwards", last - t);
		last = t;
		good();
	}
}

const struct target targets[] = {
	{ "registers", run_registers },
	{ "vectors", run_vectors },
	{ "nanosleep", run_nanosleep },
	{ "nanosleep with a rest", run_nanosleep_rest },
	{ "clock_nanosleep", run_clock_nanosleep },
	{ "poll", run_poll },
	{ "epoll", run_epoll },
	{ "sigtimedwait", run_sigtimedwait },
	{ "semtimedop", run_semtimedop },
	{ "futex", run_futex },
	{ "recv", run_receive },
	{ "pipe", run_pipe },
	{ "threads", run_threads, true },
	{ "recursion", run_recursion },
	{ "signal stack", run_signal_stack },
	{ "signals", run_signals, true },
	{ "heap", run_heap, true },
	{ "clock", run_clock },
};
const size_t n_targets = sizeof(targets) / sizeof(targets[0]);

struct target_shared *target_shared_new(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static void *join_in(void *arg)
{
	((const struct target *)arg)->run(shared);
	return NULL;
}

pid_t target_start(const struct target *t, struct target_shared *sh, bool crowd)
{
	pthread_t thread;
	pid_t pid;

	memset(sh, 0, sizeof(*sh));
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		shared = sh;
		for (int i = 0; crowd && i < 4; i++)
			pthread_create(&thread, NULL, join_in, (void *)t);
		t->run(sh);
		_exit(1);
	}
	for (int i = 0; i < 5000 && !sh->rounds; i++)
		usleep(1000);
	return pid;
}

const char *target_trouble(pid_t pid, struct target_shared *sh)
{
	static char text[300];
	uint64_t before = sh->rounds;
	int status;

	for (int i = 0; i < 20000 && sh->rounds == before; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid) {
			snprintf(text, sizeof(text), "it ended, status %#x", status);
			return text;
		}
		usleep(200);
	}
	if (sh->rounds == before)
		return "it is stuck";
	if (!sh->bad)
		return NULL;
	snprintf(text, sizeof(text), "%lu bad rounds, first: %s", (unsigned long)sh->bad, sh->what);
	return text;
}

void target_end(pid_t pid, struct target_shared *sh)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	for (int i = 0; i < 8; i++) {
		if (sh->sem[i])
			semctl(sh->sem[i] - 1, 0, IPC_RMID);
		sh->sem[i] = 0;
	}
}
