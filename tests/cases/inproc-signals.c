/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals in the middle of many checkpoints: masks, waits for signals, what is pending and its
 * order, and the one signal that is not the program's.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "tests/lib/act.h"

/* ---- masks ---- */

#define N_SEEN 62 /* and not 9, 19, 32, 33: what a program may count on */

static void same_mask(struct act *a, const sigset_t *want)
{
	sigset_t is;

	CHECK(!pthread_sigmask(SIG_BLOCK, NULL, &is));
	for (int sig = 1; sig <= N_SEEN; sig++)
		if (sig != SIGKILL && sig != SIGSTOP && sig != 32 && sig != 33 &&
		    sigismember(&is, sig) != sigismember(want, sig))
			case_fail("%s: signal %d: blocked %d", a->name, sig, sigismember(&is, sig));
}

static void keep_mask(struct act *a)
{
	sigset_t set, none;

	sigemptyset(&none);
	sigemptyset(&set);
	for (int sig = 1; sig <= N_SEEN; sig++)
		if (sig * 7 % 3 && sig != 32 && sig != 33)
			sigaddset(&set, sig);
	CHECK(!pthread_sigmask(SIG_SETMASK, &set, NULL));
	for (int i = 0; i < 2000; i++)
		same_mask(a, &set);
	CHECK(!pthread_sigmask(SIG_SETMASK, &none, NULL));
	for (int i = 0; i < 2000; i++)
		same_mask(a, &none);
}

/* As programs do before they make a thread: all, and all back. */
static void block_all(struct act *a)
{
	sigset_t all, old, again;

	sigfillset(&all);
	CHECK(!pthread_sigmask(SIG_SETMASK, &all, &old));
	same_mask(a, &all);
	test_sleep_ms(1);
	CHECK(!pthread_sigmask(SIG_SETMASK, &old, &again));
	for (int sig = 1; sig <= N_SEEN; sig++)
		CHECK(sig == SIGKILL || sig == SIGSTOP || sig == 32 || sig == 33 ||
		      sigismember(&again, sig) == 1);
	same_mask(a, &old);
}

/* ---- signals that are waited for come once each ---- */

static void block_one(int sig, sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, sig);
	CHECK(!pthread_sigmask(SIG_BLOCK, set, NULL));
}

static void do_sigwait(struct act *a)
{
	sigset_t set;
	int sig = 0;

	(void)a;
	block_one(SIGUSR1, &set);
	CHECK(!pthread_kill(pthread_self(), SIGUSR1));
	CHECK_INT(sigwait(&set, &sig), 0);
	CHECK_INT(sig, SIGUSR1);
}

static void do_sigwaitinfo(struct act *a)
{
	union sigval v = { .sival_int = ++a->own[0] };
	siginfo_t info;
	sigset_t set;

	block_one(SIGRTMIN + 1, &set);
	CHECK(!pthread_sigqueue(pthread_self(), SIGRTMIN + 1, v));
	CHECK_INT(sigwaitinfo(&set, &info), SIGRTMIN + 1);
	CHECK_INT(info.si_value.sival_int, a->own[0]);
	CHECK_INT(info.si_pid, getpid());
}

/* Everything that can come: the library's signal is not among it. */
static void do_sigwait_all(struct act *a)
{
	struct timespec t = { 0, 20000000 };
	sigset_t set;
	int r;

	sigfillset(&set);
	sigdelset(&set, SIGUSR1);
	sigdelset(&set, SIGUSR2);
	r = sigtimedwait(&set, NULL, &t);
	if (r != -1 || errno != EAGAIN)
		case_fail("%s: signal %d came (%s)", a->name, r, strerror(errno));
}

static void do_signalfd(struct act *a)
{
	struct signalfd_siginfo info;
	union sigval v = { .sival_int = ++a->own[0] };
	sigset_t set;
	int fd;

	block_one(SIGRTMIN + 2, &set);
	fd = CHECK_CALL(signalfd(-1, &set, SFD_CLOEXEC));
	CHECK(!pthread_sigqueue(pthread_self(), SIGRTMIN + 2, v));
	CHECK(read(fd, &info, sizeof(info)) == sizeof(info));
	CHECK_INT(info.ssi_signo, SIGRTMIN + 2);
	CHECK_INT(info.ssi_int, a->own[0]);
	CHECK_CALL(close(fd));
}

/* One that would take any signal gets none of ours. */
static void do_signalfd_all(struct act *a)
{
	struct signalfd_siginfo info;
	sigset_t set, old;
	int fd;

	(void)a;
	sigfillset(&set);
	sigdelset(&set, SIGUSR2);
	CHECK(!pthread_sigmask(SIG_SETMASK, &set, &old));
	fd = CHECK_CALL(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
	for (int i = 0; i < 10; i++) {
		test_sleep_ms(1);
		if (read(fd, &info, sizeof(info)) != -1)
			case_fail("signal %d comes by signalfd", info.ssi_signo);
		CHECK_INT(errno, EAGAIN);
	}
	CHECK_CALL(close(fd));
	CHECK(!pthread_sigmask(SIG_SETMASK, &old, NULL));
}

/* ---- handlers ---- */

static __thread volatile sig_atomic_t n_handled;

static void on_usr2(int sig, siginfo_t *info, void *uc)
{
	(void)sig, (void)info, (void)uc;
	n_handled++;
	errno = EXDEV;
}

static void do_handler(struct act *a)
{
	int before = n_handled;

	for (int i = 0; i < 100; i++)
		CHECK(!pthread_kill(pthread_self(), SIGUSR2));
	if (n_handled != before + 100)
		case_fail("%s: %d of 100 signals", a->name, n_handled - before);
}

/* A handler of the program's own still interrupts: that is what it is for. */
static void do_pause(struct act *a)
{
	sigset_t usr2, old;
	int before = n_handled;

	(void)a;
	sigemptyset(&usr2);
	sigaddset(&usr2, SIGUSR2);
	CHECK(!pthread_sigmask(SIG_BLOCK, &usr2, &old));
	CHECK(!pthread_kill(pthread_self(), SIGUSR2));
	errno = 0;
	CHECK_INT(sigsuspend(&old), -1);
	CHECK_INT(n_handled, before + 1);
	CHECK(!pthread_sigmask(SIG_SETMASK, &old, NULL));
}

/* A system call that the library does not see. */
static long raw(long nr, long a, long b, long c, long d)
{
	register long r10 asm("r10") = d;

	asm volatile("syscall"
		     : "+a"(nr)
		     : "D"(a), "S"(b), "d"(c), "r"(r10)
		     : "rcx", "r11", "memory");
	return nr;
}

/* Leaves the reserved signal pending until the very return into what was interrupted. Nobody has
 * asked for anything with that value. */
static void on_usr1(int sig)
{
	const uint64_t reserved = 1ull << 63;
	siginfo_t info = { .si_signo = 64, .si_code = SI_QUEUE };

	(void)sig;
	CHECK_INT(raw(SYS_rt_sigprocmask, SIG_BLOCK, (long)&reserved, 0, 8), 0);
	CHECK_INT(raw(SYS_rt_tgsigqueueinfo, getpid(), gettid(), 64, (long)&info), 0);
}

__attribute__((unused)) static void do_return(struct act *a)
{
	sigset_t usr1, old;

	(void)a;
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	CHECK(!pthread_sigmask(SIG_BLOCK, &usr1, &old));
	CHECK(!pthread_kill(pthread_self(), SIGUSR1));
	errno = 0;
	CHECK_INT(sigsuspend(&old), -1);
	CHECK_INT(errno, EINTR);
	CHECK(!pthread_sigmask(SIG_SETMASK, &old, NULL));
}

/* errno and the registers of a loop that makes no calls. */
static void do_compute(struct act *a)
{
	unsigned long x = 12345, y = 1;
	double d = 1.5;

	errno = ERANGE;
	for (int i = 0; i < 3000000; i++) {
		x = x * 6364136223846793005 + y;
		y ^= x >> 17;
		d = d * 0.999 + (double)(i & 7);
		asm volatile("" : "+r"(x), "+r"(y), "+x"(d));
	}
	CHECK_INT(errno, ERANGE);
	if (a->own[0] && (a->own[0] != (long)(x ^ y) || a->own[1] != (long)(d * 1e9)))
		case_fail("%s: another result", a->name);
	a->own[0] = x ^ y;
	a->own[1] = d * 1e9;
}

static struct act acts[] = {
	{ "masks", keep_mask },
	{ "all signals blocked", block_all },
	{ "sigwait", do_sigwait },
	{ "sigwaitinfo", do_sigwaitinfo },
	{ "sigtimedwait for all", do_sigwait_all },
	{ "signalfd", do_signalfd },
	{ "signalfd for all", do_signalfd_all },
	{ "handlers", do_handler },
	{ "sigsuspend", do_pause },
#ifndef __SANITIZE_ADDRESS__ /* its sigaction(2) is between the library's and that of libc */
	{ "a handler returns right then", do_return },
#endif
	{ "computing", do_compute },
};

static void setup(void)
{
	struct sigaction sa = { .sa_sigaction = on_usr2, .sa_flags = SA_SIGINFO };

	CHECK_CALL(sigaction(SIGUSR2, &sa, NULL));
	CHECK(signal(SIGUSR1, on_usr1) != SIG_ERR);
	act_start(acts, ARRAY_SIZE(acts));
}

static void check(void)
{
	act_end(acts, ARRAY_SIZE(acts));
}

/* ---- what is pending ---- */

#define N_QUEUED 20

static void setup_pending(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMIN + 3);
	sigaddset(&set, SIGRTMIN + 5);
	CHECK(!pthread_sigmask(SIG_BLOCK, &set, NULL));
	for (int i = 0; i < N_QUEUED; i++) {
		union sigval v = { .sival_int = i };

		CHECK_CALL(sigqueue(getpid(), SIGRTMIN + 3 + i % 2 * 2, v));
		CHECK(!pthread_sigqueue(pthread_self(), SIGRTMIN + 3, v));
	}
	CHECK_CALL(kill(getpid(), SIGUSR1));
	CHECK(!pthread_kill(pthread_self(), SIGUSR1));
}

static void check_pending(void)
{
	int last[2][2] = { { -1, -1 }, { -1, -1 } }, n = 0;
	struct timespec none = { 0, 0 };
	siginfo_t info;
	sigset_t set;

	sigpending(&set);
	CHECK(sigismember(&set, SIGUSR1) && !sigismember(&set, SIGUSR2));
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 3);
	sigaddset(&set, SIGRTMIN + 5);
	/* Those of the thread come first, each sort in its order. */
	while (sigtimedwait(&set, &info, &none) > 0) {
		int which = info.si_signo == SIGRTMIN + 5;
		int round = !which && n >= N_QUEUED;

		if (info.si_value.sival_int <= last[which][round])
			case_fail("signal %d comes after %d", info.si_value.sival_int,
				  last[which][round]);
		last[which][round] = info.si_value.sival_int;
		CHECK_INT(info.si_code, SI_QUEUE);
		CHECK_INT(info.si_pid, getpid());
		n++;
	}
	CHECK_INT(n, 2 * N_QUEUED);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	CHECK_INT(sigtimedwait(&set, &info, &none), SIGUSR1);
	CHECK_INT(sigtimedwait(&set, &info, &none), SIGUSR1);
	CHECK_INT(sigtimedwait(&set, &info, &none), -1);
}

/* ---- the reserved one cannot be had ---- */

static void no_handler(int sig)
{
	case_fail("signal %d reaches the program", sig);
}

/* Whether the attempts are refused or only seem to work is the library's choice; checkpoints go on
 * to be taken, which is what the harness does after setup(). */
static void setup_reserved(void)
{
	struct sigaction sa = { .sa_handler = no_handler };
	sigset_t set;

	CHECK_INT(SIGRTMAX, getenv("CKPT_SIGNAL") ? 63 : 64);
	sigaction(64, &sa, NULL);
	signal(64, SIG_IGN);
	signal(64, SIG_DFL);
	sigfillset(&set);
	for (int sig = 1; sig < 65; sig++)
		sigaddset(&set, sig);
	CHECK(!sigprocmask(SIG_BLOCK, &set, NULL));
	CHECK(!pthread_sigmask(SIG_SETMASK, &set, NULL));
	/* As daemons do. */
	for (int sig = 1; sig <= 64; sig++)
		signal(sig, sig == SIGUSR1 ? no_handler : SIG_DFL);
}

static void check_reserved(void)
{
	struct sigaction sa;

	CHECK_INT(SIGRTMAX, getenv("CKPT_SIGNAL") ? 63 : 64);
	CHECK_CALL(sigaction(SIGUSR1, NULL, &sa));
	CHECK(sa.sa_handler == no_handler);
}

#define FLAGS (CASE_INSIDE | CASE_MANY)
CASES({ "signals and masks are the program's own", setup, check, .flags = FLAGS | CASE_LOSSY },
      { "pending signals stay in order", setup_pending, check_pending, .flags = FLAGS },
      { "the reserved signal can be neither blocked nor taken", setup_reserved, check_reserved,
	.flags = FLAGS })
