/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that notice when something is done to them: a call that returns EINTR or too early, a
 * changed register, a damaged stack or heap.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "tests/lib/targets-run.h"

static struct target_shared *shared;

void target_bad(const char *what, long is)
{
	if (!__sync_fetch_and_add(&shared->bad, 1))
		snprintf(shared->what, sizeof(shared->what), "%s: %ld (errno %d)", what, is, errno);
}

void target_good(void)
{
	__sync_fetch_and_add(&shared->rounds, 1);
}

int64_t target_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
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
			: "=a"(r)
			:
			: "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
			  "r14", "r15", "memory", "cc");
		if (r)
			target_bad("a register changed", r);
		else
			target_good();
	}
}

/* Rounding towards zero, vectors of a pattern and pi on the x87 stack, while a counter runs down.
 */
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
			: "=&q"(pi_changed), "+m"(csr_is)
			: "r"(in), "r"(out)
			: "ecx", "xmm0", "xmm1", "xmm14", "xmm15", "st", "st(1)", "memory", "cc");
		if (memcmp(in, out, sizeof(in)) || pi_changed || csr_is >> 6 != csr >> 6)
			target_bad("vector state changed", csr_is);
		else
			target_good();
	}
}

static void *sleeper(void *arg)
{
	(void)arg;
	target_nanosleep(shared);
	return NULL;
}

static void run_threads(struct target_shared *sh)
{
	pthread_t t;

	for (int i = 0; i < 50; i++) {
		if (pthread_create(&t, NULL, sleeper, NULL))
			target_bad("pthread_create", i);
	}
	target_clock_nanosleep(sh);
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
			target_bad("words of the stack changed", damaged);
		else
			target_good();
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
				target_bad("the signal stack changed", i);
				return;
			}
		}
	}
	target_good();
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
			target_bad("the signal stack is another one", now_ss.ss_flags);
		for (size_t i = 0; i < guard; i++) {
			if (p[i] != 0xa5 || p[guard + size + i] != 0xa5) {
				target_bad("the heap around the signal stack changed", i);
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
	target_good();
}

/* With signals coming in all the time, blocked and not, nothing else may change: not the mask, for
 * one. */
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
			target_bad("sigsuspend returned without a signal", ticks - before);
		sigprocmask(SIG_SETMASK, NULL, &is);
		if (!sigismember(&is, SIGALRM) || sigismember(&is, SIGUSR1))
			target_bad("the signal mask changed", 0);
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
				target_bad("the heap changed", j);
				break;
			}
		}
		free(p[k]);
		n[k] = 16 + (i >> 16 & 8191);
		p[k] = calloc(1, n[k]);
		for (size_t j = 0; j < n[k]; j++) {
			if (p[k][j]) {
				target_bad("fresh memory is not zero", j);
				break;
			}
		}
		memset(p[k], k, n[k]);
		target_good();
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
		int64_t t = target_now();

		if (t < last)
			target_bad("time went backwards", last - t);
		last = t;
		target_good();
	}
}

const struct target targets[] = {
	{ "registers", run_registers },
	{ "vectors", run_vectors },
	{ "nanosleep", target_nanosleep },
	{ "nanosleep with a rest", target_nanosleep_rest },
	{ "clock_nanosleep", target_clock_nanosleep },
	{ "poll", target_poll },
	{ "epoll", target_epoll },
	{ "sigtimedwait", target_sigtimedwait },
	{ "semtimedop", target_semtimedop },
	{ "futex", target_futex },
	{ "recv", target_receive },
	{ "pipe", target_pipe },
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
