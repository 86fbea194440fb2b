/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls that wait without a limit for something that happens after ckpt: no EINTR, and what
 * they wait for reaches them. Each runs in a thread or child of its own, and the harness' "go" sets
 * them free.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/case.h"

static int pipe_r[2], pipe_w[2], pipe_poll[2], event, epfd, semid, sock[2], listener, word;
static pid_t child;
static sigset_t set;
static char junk[65536];

static long do_read(void)
{
	char c;

	return read(pipe_r[0], &c, 1);
}

static long do_write(void)
{
	return write(pipe_w[1], junk, 5000);
}

static long do_poll(void)
{
	struct pollfd p = { pipe_poll[0], POLLIN, 0 };

	return syscall(SYS_poll, &p, 1, -1);
}

static long do_ppoll(void)
{
	struct pollfd p = { pipe_poll[0], POLLIN, 0 };

	return syscall(SYS_ppoll, &p, 1, NULL, NULL, 0);
}

static long do_select(void)
{
	fd_set in;

	FD_ZERO(&in);
	FD_SET(pipe_poll[0], &in);
	return syscall(SYS_select, pipe_poll[0] + 1, &in, NULL, NULL, NULL);
}

static long do_epoll_wait(void)
{
	struct epoll_event e;

	return syscall(SYS_epoll_wait, epfd, &e, 1, -1);
}

static long do_event(void)
{
	uint64_t n;

	return read(event, &n, 8);
}

static long do_futex(void)
{
	return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

static long do_sigwait(void)
{
	siginfo_t info;

	return syscall(SYS_rt_sigtimedwait, &set, &info, NULL, 8) == SIGUSR1 && info.si_int == 99;
}

static long do_semop(void)
{
	struct sembuf op = { 0, -1, 0 };

	return syscall(SYS_semop, semid, &op, 1);
}

static long do_recv(void)
{
	char c;

	return recv(sock[0], &c, 1, 0);
}

static long do_accept(void)
{
	return accept(listener, NULL, NULL) >= 0;
}

static long do_wait4(void)
{
	int status;

	return waitpid(child, &status, 0) == child && WTERMSIG(status) == SIGTERM;
}

static struct wait {
	const char *name;
	long (*call)(void);
	long nr, want;
	pid_t tid;
	long result;
	volatile int ended;
} waits[] = {
	{ "read", do_read, SYS_read, 1 },
	{ "write", do_write, SYS_write, 5000 },
	{ "poll", do_poll, SYS_poll, 1 },
	{ "ppoll", do_ppoll, SYS_ppoll, 1 },
	{ "select", do_select, SYS_select, 1 },
	{ "epoll_wait", do_epoll_wait, SYS_epoll_wait, 1 },
	{ "read of an eventfd", do_event, SYS_read, 8 },
	{ "futex", do_futex, SYS_futex, 0 },
	{ "rt_sigtimedwait", do_sigwait, SYS_rt_sigtimedwait, 1 },
	{ "semop", do_semop, SYS_semop, 0 },
	{ "recv", do_recv, SYS_recvfrom, 1 },
	{ "accept", do_accept, SYS_accept, 1 },
	{ "wait4", do_wait4, SYS_wait4, 1 },
};

static void *run(void *arg)
{
	struct wait *w = arg;
	long r;

	__atomic_store_n(&w->tid, gettid(), __ATOMIC_RELEASE);
	r = w->call();
	w->result = r < 0 ? -errno : r;
	w->ended = true;
	return NULL;
}

static void make_files(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "listener" };

	CHECK_CALL(pipe(pipe_r));
	CHECK_CALL(pipe(pipe_w));
	CHECK_CALL(pipe(pipe_poll));
	CHECK(write(pipe_w[1], junk, sizeof(junk)) == sizeof(junk));
	event = CHECK_CALL(eventfd(0, 0));
	epfd = CHECK_CALL(epoll_create1(0));
	CHECK_CALL(epoll_ctl(epfd, EPOLL_CTL_ADD, pipe_poll[0],
			     &(struct epoll_event){ .events = EPOLLIN }));
	semid = CHECK_CALL(semget(IPC_PRIVATE, 1, 0600));
	CHECK_CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	listener = CHECK_CALL(socket(AF_UNIX, SOCK_STREAM, 0));
	CHECK_CALL(bind(listener, (struct sockaddr *)&name, sizeof(name)));
	CHECK_CALL(listen(listener, 1));
}

static void setup(void)
{
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	CHECK_CALL(sigprocmask(SIG_BLOCK, &set, NULL));
	make_files();
	child = CHECK_CALL(fork());
	if (child == 0)
		for (;;)
			pause();
	for (size_t i = 0; i < ARRAY_SIZE(waits); i++) {
		pthread_t t;

		CHECK(!pthread_create(&t, NULL, run, &waits[i]));
		CHECK(EVENTUALLY(__atomic_load_n(&waits[i].tid, __ATOMIC_ACQUIRE)));
		case_blocked(getpid(), waits[i].tid, waits[i].nr);
	}
}

static void set_free(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "listener" };
	int client = CHECK_CALL(socket(AF_UNIX, SOCK_STREAM, 0));

	CHECK(write(pipe_r[1], "x", 1) == 1);
	CHECK(read(pipe_w[0], junk, 10000) == 10000);
	CHECK(write(pipe_poll[1], "x", 1) == 1);
	CHECK(write(event, &(uint64_t){ 1 }, 8) == 8);
	__atomic_store_n(&word, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	CHECK_CALL(sigqueue(getpid(), SIGUSR1, (union sigval){ .sival_int = 99 }));
	CHECK_CALL(semop(semid, &(struct sembuf){ 0, 1, 0 }, 1));
	CHECK(write(sock[1], "x", 1) == 1);
	CHECK_CALL(connect(client, (struct sockaddr *)&name, sizeof(name)));
	CHECK_CALL(kill(child, SIGTERM));
}

static void check(void)
{
	const struct wait *late = NULL, *early = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(waits) && !early; i++)
		early = waits[i].ended ? &waits[i] : NULL;
	if (!early)
		set_free();
	for (size_t i = 0; i < ARRAY_SIZE(waits) && !late && !early; i++)
		late = EVENTUALLY(waits[i].ended) ? NULL : &waits[i];
	/* It would outlive the program. */
	semctl(semid, 0, IPC_RMID);
	if (early)
		case_fail("%s has returned %ld for nothing", early->name, early->result);
	if (late)
		case_fail("%s does not return", late->name);
	for (size_t i = 0; i < ARRAY_SIZE(waits); i++)
		if (waits[i].result != waits[i].want)
			case_fail("%s returns %ld, not %ld", waits[i].name, waits[i].result,
				  waits[i].want);
}

/* pause and sigsuspend return EINTR by their nature: but only after a handler has run. */
static volatile int handled;

static void on_signal(int sig)
{
	(void)sig;
	handled++;
}

static void wait_in_pause(void)
{
	signal(SIGUSR1, on_signal);
	test_write("pausing", "%d", getpid());
	if (pause() < 0 && handled == 1)
		test_write("paused", "well");
	for (;;)
		pause();
}

static void wait_in_sigsuspend(void)
{
	sigset_t block, none;

	sigemptyset(&none);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	sigaddset(&block, SIGUSR2);
	sigprocmask(SIG_SETMASK, &block, NULL);
	signal(SIGUSR1, on_signal);
	sigaddset(&none, SIGUSR2);
	sigsuspend(&none);
	sigprocmask(SIG_SETMASK, NULL, &none);
	/* The mask that was in force before the call is back. */
	if (handled == 1 && sigismember(&none, SIGUSR1) && sigismember(&none, SIGUSR2))
		test_write("suspended", "well");
	for (;;)
		pause();
}

static pid_t pausing, suspended;

static void setup_signals(void)
{
	pausing = CHECK_CALL(fork());
	if (pausing == 0)
		wait_in_pause();
	suspended = CHECK_CALL(fork());
	if (suspended == 0)
		wait_in_sigsuspend();
	case_blocked(pausing, pausing, SYS_pause);
	case_blocked(suspended, suspended, SYS_rt_sigsuspend);
}

static void check_signals(void)
{
	CHECK(!test_exists("paused") && !test_exists("suspended"));
	CHECK_CALL(kill(pausing, SIGUSR1));
	CHECK_CALL(kill(suspended, SIGUSR1));
	CHECK(EVENTUALLY(test_exists("paused")));
	CHECK(EVENTUALLY(test_exists("suspended")));
}

CASES({ "waits without a limit go on and end with what they waited for", setup, check },
      { "pause and sigsuspend wait on", setup_signals, check_signals })
