/* SPDX-License-Identifier: Apache-2.0 */
/* Signals: actions, masks, alternate stacks, and those that wait to be delivered, with all that was
 * sent along. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "tests/lib/case.h"

static struct sigaction actions[65];

static void on_info(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)info, (void)context;
}

static void setup_actions(void)
{
	struct sigaction sa;

	for (int sig = 1; sig < 65; sig++) {
		if (sig == SIGKILL || sig == SIGSTOP || sig == 32 || sig == 33)
			continue;
		memset(&sa, 0, sizeof(sa));
		sa.sa_handler = sig % 3 ? SIG_DFL : SIG_IGN;
		if (sig % 3 == 2)
			sa.sa_sigaction = on_info;
		sa.sa_flags = sig % 3 == 2 ? SA_SIGINFO | (sig % 2 ? SA_RESTART : SA_NODEFER) : 0;
		if (sig % 5 == 0 && sig % 3 == 2)
			sa.sa_flags |= SA_ONSTACK;
		sigaddset(&sa.sa_mask, 1 + sig % 31);
		CHECK_CALL(sigaction(sig, &sa, NULL));
	}
	sa.sa_handler = SIG_DFL;
	sa.sa_flags = SA_NOCLDWAIT;
	CHECK_CALL(sigaction(SIGCHLD, &sa, NULL));
	for (int sig = 1; sig < 65; sig++)
		sigaction(sig, NULL, &actions[sig]);
}

static void check_actions(void)
{
	for (int sig = 1; sig < 65; sig++) {
		struct sigaction now = { 0 };

		sigaction(sig, NULL, &now);
		if (now.sa_handler != actions[sig].sa_handler)
			case_fail("signal %d has another handler", sig);
		if (now.sa_handler != SIG_DFL && now.sa_handler != SIG_IGN &&
		    (now.sa_flags != actions[sig].sa_flags ||
		     memcmp(&now.sa_mask, &actions[sig].sa_mask, 8)))
			case_fail("signal %d has other flags or another mask", sig);
	}
	CHECK(actions[SIGCHLD].sa_flags & SA_NOCLDWAIT);
	if (fork() == 0)
		_exit(0);
	test_sleep_ms(10);
	CHECK_INT(kill(getpid(), SIGFPE % 3 ? SIGALRM : SIGFPE), 0);
}

/* ---- masks and stacks of threads ---- */

static pthread_t thread;
static volatile int stop;
static sigset_t mask;
static stack_t stack;
static char *alternate;
static volatile int on_alternate;

static void note_stack(int sig)
{
	char here;

	(void)sig;
	on_alternate = &here >= alternate && &here < alternate + 65536 ? 1 : -1;
}

static void *masked(void *arg)
{
	sigset_t now;
	stack_t st;

	sigfillset(&mask);
	sigdelset(&mask, SIGUSR2);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	alternate = malloc(65536);
	stack.ss_sp = alternate;
	stack.ss_size = 65536;
	stack.ss_flags = 0;
	CHECK_CALL(sigaltstack(&stack, NULL));
	*(volatile int *)arg = true;
	while (!stop)
		test_sleep_ms(1);
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	CHECK(!memcmp(&now, &mask, 8));
	CHECK_CALL(sigaltstack(NULL, &st));
	CHECK(st.ss_sp == alternate && st.ss_size == 65536 && st.ss_flags == 0);
	CHECK_CALL(syscall(SYS_tgkill, getpid(), gettid(), SIGUSR2));
	CHECK_INT(on_alternate, 1);
	return NULL;
}

static void setup_masks(void)
{
	static volatile int ready;
	struct sigaction sa = { .sa_handler = note_stack, .sa_flags = SA_ONSTACK };
	stack_t st = { .ss_sp = malloc(20000), .ss_size = 20000 };
	sigset_t mine;

	CHECK_CALL(sigaction(SIGUSR2, &sa, NULL));
	CHECK_CALL(sigaltstack(&st, NULL));
	sigemptyset(&mine);
	sigaddset(&mine, SIGHUP);
	sigaddset(&mine, SIGRTMAX);
	CHECK_CALL(sigprocmask(SIG_BLOCK, &mine, NULL));
	CHECK(!pthread_create(&thread, NULL, masked, (void *)&ready));
	CHECK(EVENTUALLY(ready));
}

static void check_masks(void)
{
	sigset_t now;
	stack_t st;

	CHECK_CALL(sigprocmask(SIG_BLOCK, NULL, &now));
	for (int sig = 1; sig < 65; sig++)
		CHECK_INT(sigismember(&now, sig), sig == SIGHUP || sig == SIGRTMAX);
	CHECK_CALL(sigaltstack(NULL, &st));
	CHECK_INT(st.ss_size, 20000);
	stop = true;
	CHECK(!pthread_join(thread, NULL));
}

/* ---- a process that is on its alternate stack, inside of a handler ---- */

static volatile int inside;
static volatile int left;

static void stay(int sig)
{
	stack_t st;

	(void)sig;
	inside = 1;
	while (!stop)
		test_sleep_ms(1);
	CHECK_CALL(sigaltstack(NULL, &st));
	CHECK(st.ss_flags & SS_ONSTACK);
}

static void *go_inside(void *arg)
{
	stack_t st = { .ss_sp = malloc(65536), .ss_size = 65536 };
	double sum = 1.25;

	CHECK_CALL(sigaltstack(&st, NULL));
	asm volatile("" : "+x"(sum));
	CHECK_CALL(syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1));
	CHECK(sum == 1.25);
	left = true;
	return arg;
}

static void setup_inside(void)
{
	struct sigaction sa = { .sa_handler = stay, .sa_flags = SA_ONSTACK };

	CHECK_CALL(sigaction(SIGUSR1, &sa, NULL));
	CHECK(!pthread_create(&thread, NULL, go_inside, NULL));
	CHECK(EVENTUALLY(inside));
}

static void check_inside(void)
{
	CHECK(!left);
	stop = true;
	CHECK(!pthread_join(thread, NULL));
	CHECK(left);
}

/* ---- waiting signals ---- */

static pid_t tid;

/* The C library's hides that a signal came by tgkill. */
static int take(const sigset_t *set, siginfo_t *info)
{
	return syscall(SYS_rt_sigtimedwait, set, info, &(struct timespec){ 0, 0 }, 8);
}

static void *with_own_queue(void *arg)
{
	siginfo_t info = { 0 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	*(volatile pid_t *)arg = gettid();
	while (!stop)
		test_sleep_ms(1);
	CHECK_INT(take(&set, &info), SIGUSR1);
	CHECK_INT(info.si_code, SI_TKILL);
	CHECK_INT(info.si_pid, getpid());
	return NULL;
}

static void setup_pending(void)
{
	sigset_t all;

	sigfillset(&all);
	CHECK_CALL(sigprocmask(SIG_BLOCK, &all, NULL));
	CHECK(!pthread_create(&thread, NULL, with_own_queue, &tid));
	CHECK(EVENTUALLY(*(volatile pid_t *)&tid));
	CHECK_CALL(syscall(SYS_tgkill, getpid(), tid, SIGUSR1));
	for (int i = 0; i < 5; i++)
		CHECK_CALL(
			sigqueue(getpid(), SIGRTMIN + 2, (union sigval){ .sival_int = 100 + i }));
	CHECK_CALL(sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_ptr = &all }));
	CHECK_CALL(kill(getpid(), SIGTERM));
	CHECK_CALL(kill(getpid(), SIGHUP));
	CHECK_CALL(raise(SIGUSR2));
}

static void check_pending(void)
{
	siginfo_t info;
	sigset_t set, pending;

	CHECK_CALL(sigpending(&pending));
	CHECK(sigismember(&pending, SIGTERM) && sigismember(&pending, SIGHUP) &&
	      sigismember(&pending, SIGUSR2));
	CHECK(!sigismember(&pending, SIGUSR1));
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 2);
	for (int i = 0; i < 5; i++) {
		CHECK_INT(take(&set, &info), SIGRTMIN + 2);
		CHECK_INT(info.si_int, 100 + i);
		CHECK_INT(info.si_code, SI_QUEUE);
		CHECK_INT(info.si_pid, getpid());
	}
	CHECK(take(&set, &info) < 0 && errno == EAGAIN);
	sigfillset(&set);
	CHECK_INT(take(&set, &info), SIGUSR2);
	CHECK_INT(info.si_code, SI_TKILL);
	CHECK_INT(take(&set, &info), SIGHUP);
	CHECK_INT(take(&set, &info), SIGTERM);
	CHECK_INT(info.si_code, SI_USER);
	CHECK_INT(take(&set, &info), SIGRTMIN);
	CHECK(take(&set, &info) < 0 && errno == EAGAIN);
	stop = true;
	CHECK(!pthread_join(thread, NULL));
}

CASES({ "signal actions stay", setup_actions, check_actions },
      { "masks and alternate stacks of threads stay", setup_masks, check_masks },
      { "a handler on an alternate stack goes on and returns", setup_inside, check_inside },
      { "signals that wait keep order, values and senders", setup_pending, check_pending })
