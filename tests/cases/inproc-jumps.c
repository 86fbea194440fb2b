/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stacks and where they lead, in the middle of many checkpoints: jumps out of handlers, alternate
 * and small stacks, coroutines, cancellation.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#include "tests/lib/act.h"

/* ---- jumps ---- */

static void deep(jmp_buf where, volatile int n)
{
	volatile char room[200];

	memset((char *)room, n, sizeof(room));
	if (n < 0)
		return;
	if (n == 0)
		longjmp(where, 5);
	deep(where, n - 1);
	/* So that the call above is not the last thing: frames stay. */
	room[0] = 1;
}

static void do_longjmp(struct act *a)
{
	volatile int kept = (int)a->rounds;
	jmp_buf where;

	for (int i = 0; i < 300; i++) {
		int r = setjmp(where);

		if (r == 0)
			deep(where, 50);
		CHECK_INT(r, 5);
		CHECK_INT(kept, (int)a->rounds);
	}
}

static __thread sigjmp_buf out;
static __thread volatile sig_atomic_t armed;

static void on_usr1(int sig)
{
	CHECK_INT(sig, SIGUSR1);
	if (armed)
		siglongjmp(out, 9);
}

/* Out of a handler, with the mask as it was. */
static void do_siglongjmp(struct act *a)
{
	sigset_t is;

	(void)a;
	for (int i = 0; i < 200; i++) {
		int r = sigsetjmp(out, 1);

		if (r == 0) {
			armed = 1;
			pthread_kill(pthread_self(), SIGUSR1);
			case_fail("the signal does not come");
		}
		armed = 0;
		CHECK_INT(r, 9);
		CHECK(!pthread_sigmask(SIG_BLOCK, NULL, &is));
		CHECK(!sigismember(&is, SIGUSR1));
	}
}

/* ---- alternate stacks ---- */

static __thread char *low;
static __thread size_t size;
static __thread volatile bool was_inside;

/* Long enough for a checkpoint to come while it is on the alternate stack. */
static void on_usr2(int sig)
{
	volatile unsigned int x = sig;
	char here, *volatile at = &here;
	stack_t now;

	CHECK(at >= low && at < low + size);
	CHECK_CALL(sigaltstack(NULL, &now));
	CHECK(now.ss_flags & SS_ONSTACK);
	for (int i = 0; i < 300000; i++)
		x = x * 5 + 1;
	CHECK(at >= low && at < low + size);
	was_inside = true;
}

static void on_alternate(size_t bytes)
{
	stack_t ss = { .ss_size = bytes }, was, none = { .ss_flags = SS_DISABLE };

	ss.ss_sp = low =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size = bytes;
	CHECK(low != MAP_FAILED);
	CHECK_CALL(sigaltstack(&ss, NULL));
	for (int i = 0; i < 30; i++) {
		was_inside = false;
		pthread_kill(pthread_self(), SIGUSR2);
		CHECK(was_inside);
		CHECK_CALL(sigaltstack(NULL, &was));
		CHECK(was.ss_sp == low && was.ss_size == bytes && was.ss_flags == 0);
	}
	CHECK_CALL(sigaltstack(&none, NULL));
	munmap(low, bytes);
}

static void do_alternate(struct act *a)
{
	(void)a;
	on_alternate(64 << 10);
}

/* What programs have from the times when SIGSTKSZ was a constant; or twice what the kernel says
 * that a frame needs at least. */
static void do_small_alternate(struct act *a)
{
	size_t least = getauxval(51 /* AT_MINSIGSTKSZ, Linux 5.14 */);

	(void)a;
	on_alternate(2 * least + 2048 > 8192 ? 2 * least + 2048 : 8192);
}

/* With nobody on it, it may lie anywhere and be as small as the kernel lets it be. */
static void do_unused_alternate(struct act *a)
{
	size_t least = getauxval(51);
	stack_t ss = { .ss_size = least > 2048 ? least : 2048 };
	stack_t none = { .ss_flags = SS_DISABLE };

	(void)a;
	ss.ss_sp = malloc(ss.ss_size);
	CHECK_CALL(sigaltstack(&ss, NULL));
	test_sleep_ms(10);
	CHECK_CALL(sigaltstack(&none, NULL));
	free(ss.ss_sp);
}

/* ---- coroutines ---- */

static __thread ucontext_t main_context, other;
static __thread volatile long turns;

static void coroutine(void)
{
	for (;;) {
		volatile double x = 0;

		for (int i = 0; i < 1000; i++)
			x = x + i;
		CHECK(x == 499500);
		turns++;
		swapcontext(&other, &main_context);
	}
}

static void do_coroutine(struct act *a)
{
	char *stack = malloc(32768);

	(void)a;
	CHECK_CALL(getcontext(&other));
	other.uc_stack.ss_sp = stack;
	other.uc_stack.ss_size = 32768;
	makecontext(&other, coroutine, 0);
	turns = 0;
	for (int i = 0; i < 2000; i++)
		CHECK_CALL(swapcontext(&main_context, &other));
	CHECK_INT(turns, 2000);
	free(stack);
}

/* ---- threads that end in all ways ---- */

static int never[2];

struct cancelled {
	volatile bool began, cleaned;
};

static void clean(void *arg)
{
	((struct cancelled *)arg)->cleaned = true;
}

static void begin(void *arg)
{
	((struct cancelled *)arg)->began = true;
}

static void *wait_for_cancel(void *arg)
{
	char c;

	pthread_cleanup_push(clean, arg);
	begin(arg);
	(void)!read(never[0], &c, 1);
	pthread_cleanup_pop(0);
	return NULL;
}

static void *sleep_for_cancel(void *arg)
{
	pthread_cleanup_push(clean, arg);
	begin(arg);
	for (;;)
		sleep(1000);
	pthread_cleanup_pop(0);
	return NULL;
}

static void *compute_for_cancel(void *arg)
{
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	pthread_cleanup_push(clean, arg);
	begin(arg);
	for (volatile unsigned int i = 0;; i++)
		;
	pthread_cleanup_pop(0);
	return NULL;
}

static void do_cancel(struct act *a)
{
	static void *(*const sorts[])(void *) = { wait_for_cancel, sleep_for_cancel,
						  compute_for_cancel };
	struct cancelled c = { false, false };
	pthread_t t;
	void *result;

	CHECK(!pthread_create(&t, NULL, sorts[a->rounds % 3], &c));
	if (a->rounds % 2) {
		CHECK(EVENTUALLY(c.began));
		test_sleep_ms(2);
	}
	CHECK(!pthread_cancel(t));
	CHECK(!pthread_join(t, &result));
	CHECK(result == PTHREAD_CANCELED);
	CHECK(c.cleaned || !c.began);
}

static void *small(void *arg)
{
	test_sleep_ms(3);
	return arg;
}

/* The smallest stack that a thread can have. */
static void do_small_thread(struct act *a)
{
	pthread_attr_t attr;
	void *result = a;
	pthread_t t;

	pthread_attr_init(&attr);
	CHECK(!pthread_attr_setstacksize(&attr, sysconf(_SC_THREAD_STACK_MIN)));
	CHECK(!pthread_create(&t, &attr, small, NULL));
	CHECK(!pthread_join(t, &result));
	CHECK(result == NULL);
	pthread_attr_destroy(&attr);
}

static void *nothing(void *arg)
{
	return arg;
}

static void do_threads(struct act *a)
{
	pthread_t t[8];
	void *result;

	for (int i = 0; i < 8; i++)
		CHECK(!pthread_create(&t[i], NULL, nothing, (void *)(long)i));
	for (int i = 0; i < 8; i++) {
		CHECK(!pthread_join(t[i], &result));
		CHECK_INT((long)result, i);
	}
	if (a->rounds % 16 == 0)
		test_sleep_ms(1);
}

/* Below the stack pointer lie 128 bytes that a function without calls may use. */
static void do_red_zone(struct act *a)
{
	unsigned long bad = 0;

	for (int i = 0; i < 1000000; i++) {
		unsigned long got;

		asm volatile("mov %1, -8(%%rsp)\n\tmov %1, -128(%%rsp)\n\t"
			     "mov %1, %%rcx\n\t"
			     "mov -8(%%rsp), %0\n\txor -128(%%rsp), %0"
			     : "=&r"(got)
			     : "r"(a->rounds + i)
			     : "rcx", "memory");
		bad |= got;
	}
	CHECK_INT(bad, 0);
}

static struct act acts[] = {
	{ "longjmp", do_longjmp },
	{ "siglongjmp", do_siglongjmp },
	{ "a handler on an alternate stack", do_alternate },
	{ "a handler on a small alternate stack", do_small_alternate },
	{ "an alternate stack that is not used", do_unused_alternate },
	{ "coroutines", do_coroutine },
	{ "pthread_cancel", do_cancel },
	{ "threads with the smallest stack", do_small_thread },
	{ "threads that come and go", do_threads },
	{ "the red zone", do_red_zone },
};

static void setup(void)
{
	struct sigaction usr1 = { .sa_handler = on_usr1 };
	struct sigaction usr2 = { .sa_handler = on_usr2, .sa_flags = SA_ONSTACK };

	CHECK_CALL(pipe(never));
	CHECK_CALL(sigaction(SIGUSR1, &usr1, NULL));
	CHECK_CALL(sigaction(SIGUSR2, &usr2, NULL));
	act_start(acts, ARRAY_SIZE(acts));
}

static void check(void)
{
	act_end(acts, ARRAY_SIZE(acts));
}

/* ---- goroutines: stacks that the frame of a signal alone does not fit on ---- */

#define TINY 1024
#define GUARD 16384

static void compute_on(char *stack_end)
{
	long n = 3000000;

	asm volatile("mov %%rsp, %%rbx\n\tmov %1, %%rsp\n"
		     "1:\tdec %0\n\tjnz 1b\n\t"
		     "mov %%rbx, %%rsp"
		     : "+r"(n)
		     : "r"(stack_end)
		     : "rbx", "memory", "cc");
}

static void do_tiny_stack(struct act *a)
{
	stack_t ss = { .ss_size = 64 << 10 }, none = { .ss_flags = SS_DISABLE };
	char *room = malloc(GUARD + TINY);

	(void)a;
	ss.ss_sp = malloc(ss.ss_size);
	CHECK(room && ss.ss_sp);
	memset(room, 'g', GUARD);
	CHECK_CALL(sigaltstack(&ss, NULL));
	for (int i = 0; i < 10; i++)
		compute_on(room + GUARD + TINY);
	for (int i = 0; i < GUARD; i++)
		CHECK(room[i] == 'g');
	CHECK_CALL(sigaltstack(&none, NULL));
	free(ss.ss_sp);
	free(room);
}

static void on_any(int sig)
{
	case_fail("signal %d", sig);
}

static struct act tiny[] = { { "a tiny stack", do_tiny_stack }, { "another", do_tiny_stack } };

/* As Go does: whatever signal comes, its handler runs on the alternate stack. SIGRTMAX is no longer
 * the last one. */
static void setup_tiny(void)
{
	const struct sigaction any = { .sa_handler = on_any, .sa_flags = SA_ONSTACK };

	for (int sig = SIGRTMIN; sig < _NSIG; sig++)
		CHECK_CALL(sigaction(sig, &any, NULL));
	act_start(tiny, ARRAY_SIZE(tiny));
}

static void check_tiny(void)
{
	act_end(tiny, ARRAY_SIZE(tiny));
}

CASES({ "jumps, alternate stacks, coroutines and cancellation work", setup, check,
	.flags = CASE_INSIDE | CASE_MANY | CASE_LOSSY },
      { "who handles all signals on alternate stacks has no other that is large enough", setup_tiny,
	check_tiny, .flags = CASE_INSIDE | CASE_MANY | CASE_LOSSY })
