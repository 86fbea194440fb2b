/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that notice when something was done to them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "tests/lib/proc.h"
#include "tests/lib/victim.h"

const char *const victim_sorts[] = {
	"loop", "sleep", "epoll", "read", "many", "tree", "storm", NULL
};

/* So much that ckpt makes copies of it, if it is to. */
static char ballast[2 << 20];
static struct victim_heart *heart;
static const char *folder;

static void wrong(const char *fmt, ...)
{
	va_list ap;

	if (!__atomic_exchange_n(&heart->failed, 1, __ATOMIC_ACQ_REL)) {
		va_start(ap, fmt);
		vsnprintf(heart->text, sizeof(heart->text), fmt, ap);
		va_end(ap);
	}
	_exit(1);
}

/* ---- what threads do: once, in a few milliseconds ---- */

static void step_loop(void)
{
	static _Thread_local double want;
	double x = 1.5, y = 0.25, s = 0;

	for (int i = 1; i < 200000; i++) {
		x = x * 1.0000001 + y / i;
		y = y * 0.999999 + 0.001 * x;
		s += x - y;
		asm volatile("" : "+x"(x), "+x"(y), "+x"(s));
	}
	if (want == 0)
		want = s;
	if (s != want)
		wrong("a sum is %.17g, not %.17g", s, want);
}

static void step_integers(void)
{
	static _Thread_local uint64_t want;
	uint64_t a = 1, b = 2, c = 3, d = 4;

	for (int i = 0; i < 300000; i++) {
		a = a * 6364136223846793005 + b;
		b ^= a >> 13;
		c += b * 3;
		d = (d << 7 | d >> 57) ^ c;
		asm volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
	}
	a ^= b ^ c ^ d;
	if (!want)
		want = a;
	if (a != want)
		wrong("integers differ");
}

static void timed(const char *what, long r, int error, bool fine, int64_t start)
{
	if (!fine && heart->tolerant && r < 0 && error == EINTR &&
	    (what[0] == 'e' || what[0] == 'r')) {
		__atomic_fetch_add(&heart->interrupted, 1, __ATOMIC_ACQ_REL);
		return;
	}
	if (!fine)
		wrong("%s returns %ld, error %d (%s)", what, r, error, strerror(error));
	if (test_now_ns() - start < 3000000)
		wrong("%s returns after %lld of 3000000 ns", what,
		      (long long)(test_now_ns() - start));
}

static void step_sleep(void)
{
	struct timespec t = { 0, 3000000 };
	int64_t start = test_now_ns();
	long r = syscall(SYS_nanosleep, &t, NULL);

	timed("nanosleep", r, errno, r == 0, start);
}

static void step_epoll(void)
{
	static _Thread_local int ep = -1;
	struct epoll_event e;
	int64_t start = test_now_ns();
	long r;

	if (ep < 0)
		ep = epoll_create1(0);
	r = syscall(SYS_epoll_wait, ep, &e, 1, 4);
	timed("epoll_wait", r, errno, r == 0, start);
}

static void step_futex(void)
{
	static int word;
	struct timespec t = { 0, 3000000 };
	int64_t start = test_now_ns();
	long r = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0);

	timed("futex", r, errno, r < 0 && errno == ETIMEDOUT, start);
}

static void step_sigwait(void)
{
	struct timespec t = { 0, 3000000 };
	int64_t start = test_now_ns();
	sigset_t set;
	long r;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	r = syscall(SYS_rt_sigtimedwait, &set, NULL, &t, 8);
	timed("rt_sigtimedwait", r, errno, r < 0 && errno == EAGAIN, start);
}

static int there[2], back[2];

static void step_ask(void)
{
	static unsigned int n;
	unsigned int got = 0;

	n++;
	if (write(there[1], &n, sizeof(n)) != sizeof(n))
		wrong("write: %m");
	if (read(back[0], &got, sizeof(got)) != sizeof(got))
		wrong("read of an answer: %m");
	if (got != n + 1)
		wrong("the answer to %u is %u", n, got);
}

/* Slow on purpose: the other one is nearly always in read(). */
static void step_answer(void)
{
	unsigned int got = 0;

	if (read(there[0], &got, sizeof(got)) != sizeof(got))
		wrong("read of a question: %m");
	test_sleep_ms(2);
	got++;
	if (write(back[1], &got, sizeof(got)) != sizeof(got))
		wrong("write of an answer: %m");
}

static void step_memory(void)
{
	char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		wrong("mmap: %m");
	for (int i = 0; i < 1 << 20; i += 4096)
		p[i] = i >> 12;
	for (int i = 0; i < 1 << 20; i += 4096)
		if (p[i] != (char)(i >> 12))
			wrong("memory differs");
	if (munmap(p, 1 << 20) < 0)
		wrong("munmap: %m");
}

static void step_fork(void)
{
	int status;
	pid_t pid = fork(), got;

	if (pid == 0)
		_exit(17);
	if (pid < 0)
		wrong("fork: %m");
	got = waitpid(pid, &status, 0);
	if (got != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 17)
		wrong("waitpid returns %d, status %x, error %m", got, status);
}

static void *add_one(void *arg)
{
	return (char *)arg + 1;
}

static void step_thread(void)
{
	pthread_t t;
	void *result = NULL;

	if (pthread_create(&t, NULL, add_one, (void *)41) || pthread_join(t, &result))
		wrong("a thread cannot be made or joined");
	if (result != (void *)42)
		wrong("a thread returns %p", result);
}

static void step_signal(void)
{
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (pthread_kill(pthread_self(), SIGUSR2) || sigwait(&set, &sig) || sig != SIGUSR2)
		wrong("a signal is lost");
}

/* ---- syscall user dispatch: the program's own calls are turned into SIGSYS, those of
 * its libraries are not ---- */

#define SET_DISPATCH 59 /* PR_SET_SYSCALL_USER_DISPATCH, Linux 5.11 */
#define FROM_OUTSIDE 1  /* PR_SYS_DISPATCH_ON */
#define NO_CALL 1234
#define LIBRARIES 0x700000000000ul /* are mapped from here on, and the program below */
#define LIBRARIES_LEN 0x0ffffffff000ul

bool victim_can_dispatch(void)
{
	return prctl(SET_DISPATCH, 0, 0, 0, 0) == 0;
}

static __thread unsigned long dispatched;

static void on_sys(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)context;
	if (info->si_code != 2 /* SYS_USER_DISPATCH */ || info->si_syscall != NO_CALL)
		wrong("SIGSYS of call %d, code %d", info->si_syscall, info->si_code);
	dispatched++;
}

static void dispatch_mine(void)
{
	static const char block = 1;
	struct sigaction sa = { .sa_sigaction = on_sys, .sa_flags = SA_SIGINFO };

	if (sigaction(SIGSYS, &sa, NULL) ||
	    prctl(SET_DISPATCH, FROM_OUTSIDE, LIBRARIES, LIBRARIES_LEN, &block))
		wrong("no syscall user dispatch: %m");
}

static void step_dispatch(void)
{
	static __thread bool mine;
	unsigned long before = dispatched;
	long ret;

	if (!mine)
		dispatch_mine();
	mine = true;
	for (int i = 0; i < 20; i++)
		asm volatile("syscall" : "=a"(ret) : "a"(NO_CALL) : "rcx", "r11", "memory");
	if (dispatched != before + 20)
		wrong("%lu of 20 calls were dispatched", dispatched - before);
	step_sleep();
}

/* ---- putting them together ---- */

static void *repeat(void *arg)
{
	uint32_t i = __atomic_fetch_add(&heart->n, 1, __ATOMIC_ACQ_REL);

	/* Until the folder is gone: then nobody is left who would end us. */
	do {
		((void (*)(void))arg)();
		heart->beats[i]++;
	} while (heart->beats[i] % 256 || access(folder, F_OK) == 0);
	_exit(0);
}

static void start(void (*step)(void))
{
	pthread_t t;

	if (pthread_create(&t, NULL, repeat, (void *)step))
		wrong("pthread_create");
}

static void start_child(void (*step)(void))
{
	pid_t pid = fork();

	if (pid == 0)
		repeat((void *)step);
	if (pid < 0)
		wrong("fork: %m");
}

/* What ckpt asks is an error for this process and its threads, by a filter. */
static void forbid_questions(void)
{
	static const int questions[] = {
		SYS_prctl,       SYS_rt_sigaction, SYS_personality, SYS_getitimer,
#ifndef __SANITIZE_ADDRESS__ /* which calls it itself as a thread begins */
		SYS_sigaltstack,
#endif
	};
	struct sock_filter code[2 + ARRAY_SIZE(questions) + 1] = {
		{ BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr) },
	};
	struct sock_fprog prog = { ARRAY_SIZE(code), code };
	size_t n = ARRAY_SIZE(questions);

	for (size_t i = 0; i < n; i++)
		code[1 + i] =
			(struct sock_filter){ BPF_JMP | BPF_JEQ | BPF_K, n - i, 0, questions[i] };
	code[n + 1] = (struct sock_filter){ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW };
	code[n + 2] = (struct sock_filter){ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EXFULL };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog))
		wrong("no seccomp: %m");
}

/* Pages of an image in several files, no two alike. */
static void take_memory(void)
{
	const size_t size = 50 << 20;
	uint64_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		wrong("mmap: %m");
	for (size_t i = 0; i < size / sizeof(*p); i++)
		p[i] = i;
}

static void run(const char *sort)
{
	void (*last)(void) = step_loop;

	if (pipe(there) < 0 || pipe(back) < 0)
		wrong("pipe: %m");
	if (!strcmp(sort, "sleep"))
		last = step_sleep;
	if (!strcmp(sort, "large")) {
		take_memory();
		last = step_sleep;
	}
	if (!strcmp(sort, "epoll"))
		last = step_epoll;
	if (!strcmp(sort, "read")) {
		start(step_answer);
		last = step_ask;
	}
	if (!strcmp(sort, "many")) {
		void (*all[])(void) = {
			step_integers, step_sleep, step_epoll,  step_futex,
			step_sigwait,  step_ask,   step_answer, step_memory,
		};

		for (size_t i = 0; i < ARRAY_SIZE(all); i++)
			start(all[i]);
	}
	if (!strcmp(sort, "storm")) {
		void (*all[])(void) = { step_fork, step_thread, step_memory, step_signal,
					step_sleep };

		for (size_t i = 0; i < ARRAY_SIZE(all); i++)
			start(all[i]);
	}
	if (!strcmp(sort, "dispatch")) {
		start(step_dispatch);
		last = step_dispatch;
	}
	if (!strcmp(sort, "filtered")) {
		start(step_sleep);
		forbid_questions();
	}
	if (!strcmp(sort, "tree")) {
		start_child(step_sleep);
		start_child(step_ask);
		start_child(step_answer);
	}
	heart->ready = 1;
	repeat((void *)last);
}

static struct victim_heart *open_heart(const char *dir, int flags)
{
	char *path = test_text("%s/heart", dir);
	int fd = open(path, flags | O_RDWR | O_CLOEXEC, 0666);
	void *p = MAP_FAILED;

	free(path);
	if (fd >= 0 && (!(flags & O_CREAT) || ftruncate(fd, 4096) == 0))
		p = mmap(NULL, sizeof(struct victim_heart), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			 0);
	if (fd >= 0)
		close(fd);
	return p == MAP_FAILED ? NULL : p;
}

int victim_main(int argc, char **argv)
{
	if (argc != 4 || strcmp(argv[1], "@victim"))
		return 2;
	heart = open_heart(argv[3], 0);
	if (!heart)
		return 1;
	folder = argv[3];
	memset(ballast, 'b', sizeof(ballast));
	run(argv[2]);
	return 0;
}

void victim_forget(struct victim_heart *h)
{
	if (h)
		munmap(h, sizeof(*h));
}

static bool beats(const struct victim_heart *h)
{
	for (uint32_t i = 0; i < h->n && i < VICTIM_BEATS; i++)
		if (!h->beats[i])
			return false;
	return h->ready && h->n;
}

pid_t victim_start(const char *program, const char *sort, const char *dir,
		   struct victim_heart **heartp)
{
	char *argv[] = { (char *)program, "@victim", (char *)sort, (char *)dir, NULL };
	char *path = test_text("%s/heart", dir), *out = test_text("%s/victim.out", dir);
	struct victim_heart *h;
	pid_t pid;

	unlink(path);
	h = open_heart(dir, O_CREAT | O_EXCL);
	pid = h ? test_spawn(argv, out, dir) : -1;
	if (pid > 0 && !EVENTUALLY(beats(h)))
		pid = 0;
	free(path);
	free(out);
	*heartp = h;
	return pid > 0 ? pid : 0;
}

static bool gone_on(const struct victim_heart *h, const uint64_t *since)
{
	for (uint32_t i = 0; i < h->n && i < VICTIM_BEATS; i++)
		if (h->beats[i] < since[i] + 2)
			return false;
	return true;
}

bool victim_well(const struct victim_heart *h, pid_t pid, char *why, size_t size)
{
	uint64_t since[VICTIM_BEATS];
	char state = pid ? test_proc_state(pid, NULL) : 'S';

	for (int i = 0; i < VICTIM_BEATS; i++)
		since[i] = h->beats[i];
	why[0] = 0;
	if (state == 0 || state == 'Z')
		snprintf(why, size, "it is dead");
	else if (!EVENTUALLY(h->failed || gone_on(h, since) ||
			     (pid && test_proc_state(pid, NULL) == 'Z')) &&
		 !h->failed)
		snprintf(why, size, "it has stopped (state %c)", state);
	if (h->failed)
		snprintf(why, size, "%.200s", h->text);
	else if (!why[0] && !gone_on(h, since))
		snprintf(why, size, "it has died");
	return !why[0];
}
