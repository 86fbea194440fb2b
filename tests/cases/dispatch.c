/* SPDX-License-Identifier: Apache-2.0 */
/* Syscall user dispatch: calls that a thread makes outside of a range of code are turned into
 * SIGSYS, as long as a byte says so. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "tests/lib/case.h"

#define SET_DISPATCH 59 /* PR_SET_SYSCALL_USER_DISPATCH, Linux 5.11 */
#define OUTSIDE 1       /* PR_SYS_DISPATCH_ON */
#define INSIDE 2        /* PR_SYS_DISPATCH_INCLUSIVE_ON, Linux 6.16 */
#define ALLOW 0
#define BLOCK 1
#define USER_DISPATCH 2 /* SYS_USER_DISPATCH */

static volatile char selector;
static volatile int dispatched, stop, ready, seen;
static volatile long number;

static void on_sys(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	if (info->si_code != USER_DISPATCH)
		return;
	selector = ALLOW; /* so that the way back is allowed */
	number = info->si_syscall;
	dispatched++;
}

/* One that no libc makes. */
static long call(long nr)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr) : "rcx", "r11", "memory");
	return ret;
}

static void look_for_handler(void)
{
	struct sigaction sa = { .sa_sigaction = on_sys, .sa_flags = SA_SIGINFO };

	CHECK_CALL(sigaction(SIGSYS, &sa, NULL));
}

/* In the thread that has it. */
static void try_it(void)
{
	int before = dispatched;

	CHECK_INT(call(SYS_getpid), getpid());
	CHECK_INT(dispatched, before);
	selector = BLOCK;
	call(1234);
	CHECK_INT(dispatched, before + 1);
	CHECK_INT(number, 1234);
	CHECK_INT(call(1234), -ENOSYS);
}

static void *run(void *arg)
{
	if (prctl(SET_DISPATCH, OUTSIDE, 0, 0, &selector) < 0)
		seen = errno;
	__atomic_store_n(&ready, 1, __ATOMIC_SEQ_CST);
	while (!seen && !stop)
		test_sleep_ms(1);
	if (!seen)
		try_it();
	return arg;
}

static pthread_t thread;

static void setup(void)
{
	look_for_handler();
	CHECK(!pthread_create(&thread, NULL, run, NULL));
	CHECK(EVENTUALLY(ready));
	if (seen)
		case_skip("no syscall user dispatch: %s", strerror(seen));
}

static void check(void)
{
	selector = BLOCK;
	CHECK(call(SYS_getpid) == getpid() && !dispatched); /* it is of that thread alone */
	selector = ALLOW;
	stop = 1;
	CHECK(!pthread_join(thread, NULL));
	CHECK_INT(dispatched, 1);
}

/* ---- the main thread, but for a page of code ---- */

/* mov %edi,%eax; syscall; ret */
static const unsigned char code[] = { 0x89, 0xf8, 0x0f, 0x05, 0xc3 };
static long (*foreign)(int nr);

static void setup_page(void)
{
	foreign = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(foreign != MAP_FAILED);
	memcpy(foreign, code, sizeof(code));
	CHECK_CALL(mprotect(foreign, 4096, PROT_READ | PROT_EXEC));
	look_for_handler();
}

/* There is no byte: calls of that page are always dispatched. */
static void check_page(void)
{
	int before = dispatched;

	CHECK_CALL(getppid());
	CHECK_INT(dispatched, before);
	foreign(SYS_getppid);
	CHECK_INT(dispatched, before + 1);
	CHECK_INT(number, SYS_getppid);
}

static void setup_inside(void)
{
	setup_page();
	if (prctl(SET_DISPATCH, INSIDE, foreign, 4096, NULL) < 0)
		case_skip("code that is dispatched cannot be chosen: %m");
}

/* All that is above that page is allowed, where the libraries are. */
static void setup_above(void)
{
	setup_page();
	munmap(foreign, 4096);
	foreign = mmap((void *)(1ul << 30), 4096, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	CHECK(foreign != MAP_FAILED);
	memcpy(foreign, code, sizeof(code));
	CHECK_CALL(mprotect(foreign, 4096, PROT_READ | PROT_EXEC));
	if (prctl(SET_DISPATCH, OUTSIDE, (1ul << 30) + 4096, 1ul << 47, NULL) < 0)
		case_skip("no syscall user dispatch: %m");
}

/* ---- a thread that stands where its calls are dispatched ---- */

static void *spin(void *arg)
{
	if (prctl(SET_DISPATCH, OUTSIDE, 0, 0, &selector) < 0)
		seen = errno;
	ready = 1;
	if (seen)
		return arg;
	selector = BLOCK;
	while (!stop)
		__builtin_ia32_pause();
	call(1234);
	return arg;
}

static void setup_blocked(void)
{
	look_for_handler();
	CHECK(!pthread_create(&thread, NULL, spin, NULL));
	CHECK(EVENTUALLY(ready && (seen || selector == BLOCK)));
	if (seen)
		case_skip("no syscall user dispatch: %s", strerror(seen));
}

static void check_blocked(void)
{
	stop = 1;
	CHECK(!pthread_join(thread, NULL));
	CHECK_INT(dispatched, 1);
	CHECK_INT(number, 1234);
}

#define NOT_INSIDE .not_inside = "from inside it is refused, see below"

CASES({ "calls of a thread are dispatched when a byte says so", setup, check, NOT_INSIDE },
      { "those of all code but some", setup_above, check_page, NOT_INSIDE },
      { "those of some code", setup_inside, check_page, NOT_INSIDE },
      { "who stands where they are is named", setup_blocked, check_blocked,
	.refused = { "CKPT-E0264", "thread" }, NOT_INSIDE },
      { "from inside it is refused", setup_blocked, check_blocked, .flags = CASE_INSIDE,
	.refused = { "CKPT-E0115", "PR_SET_SYSCALL_USER_DISPATCH" } })
