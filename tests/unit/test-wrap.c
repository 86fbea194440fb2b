/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands in front of libc: this program runs itself without the library and with it, and says
 * the same of signals and waiting both times; with it, also that the reserved signal is
 * untouchable. What has to do with programs that are started is in test-wrap-exec.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "tests/unit/wrap-self.h"

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#pragma GCC diagnostic ignored "-Wnonnull"

#ifndef SYS_epoll_pwait2 /* Linux 5.11 */
#define SYS_epoll_pwait2 441
#endif

int ckpt_now(void) __attribute__((weak));
int bsd_sigpause(int mask) __asm__("sigpause");

static volatile sig_atomic_t n_caught;

static void catch (int sig)
{
	(void)sig;
	n_caught++;
}

static void ignore_it(int sig, siginfo_t *info, void *uc)
{
	(void)sig;
	(void)info;
	(void)uc;
}

static void catch_usr1(void)
{
	struct sigaction act = { .sa_handler = catch };

	sigaction(SIGUSR1, &act, NULL);
	n_caught = 0;
}

static void hold_usr1(void)
{
	sigset_t set = set_of(SIGUSR1);

	catch_usr1();
	sigprocmask(SIG_BLOCK, &set, NULL);
	kill(getpid(), SIGUSR1);
}

static void test_masks(void)
{
	sigset_t usr = set_of(SIGUSR1), none = set_of(0), old;

	errno = EDOM;
	is(sigprocmask(SIG_SETMASK, &none, NULL), 0, "a mask");
	is(errno, EDOM, "errno is left alone");
	is(sigprocmask(SIG_BLOCK, &usr, &old), 0, "more of it");
	ok(!sigismember(&old, SIGUSR1), "the one of before");
	ok(blocked(SIGUSR1), "the one of now");
	is(pthread_sigmask(SIG_UNBLOCK, &usr, &old), 0, "less, by thread");
	ok(sigismember(&old, SIGUSR1) && !blocked(SIGUSR1), "and back");
	is(sigprocmask(77, &usr, NULL), -1, "no such way");
	is(errno, EINVAL, "and why");
	is(pthread_sigmask(77, &usr, NULL), EINVAL, "the same, by thread");
	is(sigprocmask(77, NULL, &old), 0, "nothing to set");
	is(sigblock(1 << (SIGUSR2 - 1)), 0, "as BSD had it");
	is(sigsetmask(0), 1 << (SIGUSR2 - 1), "and the other way");
	is(sighold(SIGUSR2), 0, "as System V had it");
	ok(blocked(SIGUSR2), "is held");
	is(sigrelse(SIGUSR2), 0, "and released");
	is(sighold(1000), -1, "no such signal");
	hold_usr1();
	is(sigpending(&old), 0, "what is pending");
	ok(sigismember(&old, SIGUSR1) && !sigismember(&old, SIGUSR2), "is what was sent");
	sigprocmask(SIG_SETMASK, &none, NULL);
	is(n_caught, 1, "and comes");
}

static void test_actions(void)
{
	struct sigaction act = { .sa_sigaction = ignore_it, .sa_flags = SA_SIGINFO }, old;

	sigaddset(&act.sa_mask, SIGUSR1);
	sigaddset(&act.sa_mask, 63);
	is(sigaction(SIGUSR2, &act, NULL), 0, "an action");
	is(sigaction(SIGUSR2, NULL, &old), 0, "is asked for");
	ok(old.sa_sigaction == ignore_it && old.sa_flags & SA_SIGINFO, "and is the one");
	ok(sigismember(&old.sa_mask, SIGUSR1) && sigismember(&old.sa_mask, 63) &&
		   !sigismember(&old.sa_mask, SIGHUP),
	   "with its mask");
	is(sigaction(SIGKILL, &act, NULL), -1, "not of SIGKILL");
	is(errno, EINVAL, "and why");
	is(sigaction(0, NULL, &old), -1, "nor of 0");
	is(sigaction(65, NULL, &old), -1, "nor of 65");
	ok((void *)signal(SIGUSR2, catch) == (void *)ignore_it, "signal() gives the old one");
	sigaction(SIGUSR2, NULL, &old);
	is(old.sa_flags & (SA_RESTART | SA_RESETHAND), SA_RESTART, "and restarts");
	is(siginterrupt(SIGUSR2, 1), 0, "siginterrupt()");
	sigaction(SIGUSR2, NULL, &old);
	is(old.sa_flags & SA_RESTART, 0, "does not");
	ok(sysv_signal(SIGUSR2, catch) == catch, "sysv_signal()");
	sigaction(SIGUSR2, NULL, &old);
	ok(old.sa_flags & SA_RESETHAND, "is for once");
	is(sigignore(SIGUSR2), 0, "sigignore()");
	ok(sigset(SIGUSR2, SIG_HOLD) == SIG_IGN, "sigset() gives the old one");
	ok(sigset(SIGUSR2, SIG_DFL) == SIG_HOLD, "and knows what is held");
	ok(signal(1000, catch) == SIG_ERR, "no such signal");
}

static void test_wait_signals(void)
{
	sigset_t usr = set_of(SIGUSR1), none = set_of(0);
	const struct timespec soon = { 0, 20000000 }, wrong = { 0, -1 };
	siginfo_t info;
	int sig = 0, fd;
	struct signalfd_siginfo si;

	hold_usr1();
	is(sigwait(&usr, &sig), 0, "sigwait()");
	is(sig, SIGUSR1, "gives it");
	hold_usr1();
	is(sigwaitinfo(&usr, &info), SIGUSR1, "sigwaitinfo()");
	is(info.si_pid, getpid(), "and says whose");
	is(sigtimedwait(&usr, NULL, &soon), -1, "sigtimedwait() for nothing");
	is(errno, EAGAIN, "ends");
	is(sigtimedwait(&usr, NULL, &wrong), -1, "no such time");
	is(errno, EINVAL, "is said");
	hold_usr1();
	is(sigtimedwait(&usr, NULL, &soon), SIGUSR1, "sigtimedwait()");
	hold_usr1();
	is(sigsuspend(&none), -1, "sigsuspend()");
	is(errno, EINTR, "is interrupted");
	is(n_caught, 1, "by the handler");
	hold_usr1();
	is(bsd_sigpause(0), -1, "sigpause() of a mask");
	hold_usr1();
	is(sigpause(SIGUSR1), -1, "and of a signal");
	is(n_caught, 1, "as well");
	fd = signalfd(-1, &usr, SFD_CLOEXEC | SFD_NONBLOCK);
	ok(fd >= 0, "signalfd()");
	is(read(fd, &si, sizeof(si)), -1, "is empty");
	hold_usr1();
	is(read(fd, &si, sizeof(si)), sizeof(si), "and is not");
	is(si.ssi_signo, SIGUSR1, "as said");
	is(signalfd(fd, &none, 0), fd, "it can be changed");
	is(signalfd(0, &usr, 0), -1, "standard input cannot");
	close(fd);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Each is interrupted at once by a signal that only its own mask lets through. */
#define INTERRUPTED(call)                                          \
	do {                                                       \
		hold_usr1();                                       \
		is(call, -1, #call);                               \
		is(errno, EINTR, "is interrupted");                \
		is(n_caught, 1, "by the handler");                 \
		ok(blocked(SIGUSR1), "and the mask is as it was"); \
	} while (0)

static void test_wait_files(void)
{
	sigset_t none = set_of(0), usr = set_of(SIGUSR1);
	const struct timespec soon = { 0, 20000000 };
	struct epoll_event e;
	int p[2], ep = epoll_create1(EPOLL_CLOEXEC);
	struct pollfd pf = { .events = POLLIN };

	must(pipe(p) == 0, "a pipe");
	pf.fd = p[0];
	INTERRUPTED(ppoll(&pf, 1, NULL, &none));
	INTERRUPTED(pselect(0, NULL, NULL, NULL, NULL, &none));
	INTERRUPTED(epoll_pwait(ep, &e, 1, -1, &none));
	INTERRUPTED(syscall(SYS_ppoll, &pf, 1, NULL, &none, 8));
	INTERRUPTED(syscall(SYS_epoll_pwait, ep, &e, 1, -1, &none, 8));
	INTERRUPTED(syscall(SYS_rt_sigsuspend, &none, 8));
	{
		const struct {
			const sigset_t *set;
			size_t len;
		} sized = { &none, 8 };

		INTERRUPTED(syscall(SYS_pselect6, 0, NULL, NULL, NULL, NULL, &sized));
	}
	is(ppoll(&pf, 1, &soon, NULL), 0, "ppoll() without a mask");
	is(ppoll(&pf, 1, &soon, &usr), 0, "and with one");
	is(pselect(0, NULL, NULL, NULL, &soon, &usr), 0, "pselect()");
	is(epoll_pwait(ep, &e, 1, 5, &usr), 0, "epoll_pwait()");
	is(epoll_pwait2(ep, &e, 1, &soon, &usr), 0, "epoll_pwait2()");
	is(epoll_pwait(-1, &e, 1, 5, &usr), -1, "of nothing");
	is(errno, EBADF, "is said");
	close(p[0]);
	close(p[1]);
	close(ep);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int child_of_clone(void *arg)
{
	return *(int *)arg;
}

static void test_syscall(void)
{
	static char stack[65536] __attribute__((aligned(16)));
	sigset_t usr = set_of(SIGUSR1), old = set_of(0);
	int seven = 7, status = 0;
	char *at;
	long pid;

	errno = EDOM;
	is(syscall(SYS_getpid), getpid(), "syscall()");
	is(errno, EDOM, "errno is left alone");
	is(syscall(SYS_close, -1), -1, "fails");
	is(errno, EBADF, "and says why");
	is(syscall(100000), -1, "no such call");
	is(errno, ENOSYS, "and why");
	is(syscall(-1), -1, "nor that");
	at = (char *)syscall(SYS_mmap, NULL, 8192ul, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0l);
	must(at != MAP_FAILED, "six arguments");
	at[8191] = 1;
	is(syscall(SYS_munmap, at, 8192ul), 0, "two");
	is(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &usr, &old, 8l), 0, "a mask by its number");
	ok(blocked(SIGUSR1), "is set");
	is(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, 8l), 0, "and back");
	ok(!blocked(SIGUSR1), "is not");
	is(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, 4l), -1, "of a wrong length");
	is(errno, EINVAL, "is said");
	is(syscall(SYS_rt_sigprocmask, SIG_SETMASK, 8l, NULL, 8l), -1, "at a wrong address");
	is(errno, EFAULT, "is said");
	pid = syscall(SYS_clone, (long)SIGCHLD, NULL, NULL, NULL, 0l);
	if (pid == 0)
		_exit(5);
	is(waitpid(pid, &status, 0), pid, "a child by its number");
	is(WEXITSTATUS(status), 5, "ends");
	pid = clone(child_of_clone, stack + sizeof(stack), SIGCHLD, &seven);
	is(waitpid(pid, &status, 0), pid, "a child by clone()");
	is(WEXITSTATUS(status), 7, "ends");
}

static void *mask_of_thread(void *arg)
{
	(void)arg;
	return (void *)(long)blocked(SIGUSR1);
}

static void test_threads(void)
{
	pthread_attr_t attr;
	sigset_t set = set_of(SIGUSR1);
	pthread_t t;
	void *ret;

	pthread_attr_init(&attr);
	is(pthread_attr_setsigmask_np(&attr, &set), 0, "the mask of a thread");
	must(!pthread_create(&t, &attr, mask_of_thread, NULL), "a thread");
	pthread_join(t, &ret);
	pthread_attr_destroy(&attr);
	is((long)ret, 1, "has it");
}

static void *wait_for_ever(void *arg)
{
	sigset_t none = set_of(0);

	switch (*(int *)arg) {
	case 0:
		ppoll(NULL, 0, NULL, &none);
		break;
	case 1:
		sigsuspend(&none);
		break;
	case 2:
		pselect(0, NULL, NULL, NULL, NULL, &none);
		break;
	case 3:
		sigwait(&none, arg);
		break;
	case 4:
		epoll_pwait(epoll_create1(EPOLL_CLOEXEC), &(struct epoll_event){ 0 }, 1, -1, &none);
		break;
	}
	return NULL;
}

static void test_cancel(void)
{
#ifdef __SANITIZE_ADDRESS__
	diag("AddressSanitizer takes the end of a cancelled thread for a fault");
	return;
#endif
	for (int how = 0; how < 5; how++) {
		pthread_t t;
		void *ret = NULL;

		must(!pthread_create(&t, NULL, wait_for_ever, &how), "a thread waits");
		usleep(10000);
		is(pthread_cancel(t), 0, "it is cancelled");
		pthread_join(t, &ret);
		ok(ret == PTHREAD_CANCELED, "and ends");
	}
}

static volatile int lowest, n_others;

static void open_one(int sig)
{
	int fd = open("/dev/null", O_RDONLY);

	(void)sig;
	n_others += fd != lowest;
	n_caught++;
	close(fd);
}

/* Looking for what is mapped opens a file: no handler of the program may see that. */
static void test_unlink(void)
{
	struct sigaction act = { .sa_handler = open_one, .sa_flags = SA_RESTART };
	const struct itimerval each = { { 0, 100 }, { 0, 100 } }, none = { 0 };
	char path[] = "/tmp/ckpt-unlink.XXXXXX";

	close(lowest = mkstemp(path));
	n_caught = n_others = 0;
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &each, NULL);
	for (int i = 0; n_caught < 2000 && i < 1000000; i++)
		if (truncate(path, 10) || unlink(path) || mknod(path, S_IFREG | 0600, 0))
			break;
	setitimer(ITIMER_REAL, &none, NULL);
	ok(n_caught >= 2000, "handlers while files are deleted: %d", (int)n_caught);
	is(n_others, 0, "find the descriptors that there are");
	unlink(path);
}

static void test_usage(void)
{
	struct rusage r;
	struct tms t;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		for (clock_t end = clock() + CLOCKS_PER_SEC / 20; clock() < end;)
			;
		_exit(0);
	}
	waitpid(pid, &status, 0);
	is(getrusage(RUSAGE_CHILDREN, &r), 0, "getrusage()");
	ok(r.ru_utime.tv_sec || r.ru_utime.tv_usec + r.ru_stime.tv_usec > 40000, "of children");
	is(getrusage(77, &r), -1, "of nobody");
	is(errno, EINVAL, "is said");
	ok(times(&t) != -1 && t.tms_cutime + t.tms_cstime >= 3, "times()");
}

static int told(const char *with)
{
	is(ckpt_now != NULL, atoi(with) != 0, "the library is there as it should");
	test_masks();
	test_actions();
	test_wait_signals();
	test_wait_files();
	test_syscall();
	test_threads();
	test_cancel();
	test_usage();
	test_unlink();
	return tap_end();
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return told(argv[1]);
	is(run_self(NULL, "0"), 0, "without the library");
	is(run_self("64", "64"), 0, "with it");
	return tap_end();
}
