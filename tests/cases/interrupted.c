/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls with a time limit that the freeze comes into. Each runs in a thread of its own: it
 * may not return EINTR, and has to end when the time is over that it had left, not counting the
 * time in which the program did not exist. And one that a stop leaves its error in the socket of.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "tests/lib/case.h"

#define BEFORE_MS 600 /* in the call before ckpt comes */
#define SHORTEST_MS 2500
#define LONGEST 3   /* times as much, on a busy machine */
#define LATE_MS 500 /* less than BEFORE_MS: who starts again from the beginning is found out */
#define TIME                                                \
	{                                                   \
		limit_ms / 1000, limit_ms % 1000 * 1000000l \
	}

static long limit_ms; /* all that is to happen meanwhile takes longer on a busy machine */
static int never[2], epfd, semid, sock[2], word;
static sigset_t usr1;

static long do_nanosleep(void)
{
	struct timespec t = TIME;

	return syscall(SYS_nanosleep, &t, NULL);
}

static long do_nanosleep_rem(void)
{
	struct timespec t = TIME;

	return syscall(SYS_nanosleep, &t, &t);
}

static long do_clock_nanosleep(void)
{
	struct timespec t = TIME, rem;

	return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &t, &rem);
}

static long do_clock_nanosleep_abs(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += limit_ms / 1000;
	t.tv_nsec += limit_ms % 1000 * 1000000l;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static long do_poll(void)
{
	struct pollfd p = { never[0], POLLIN, 0 };

	return syscall(SYS_poll, &p, 1, limit_ms);
}

static long do_ppoll(void)
{
	struct pollfd p = { never[0], POLLIN, 0 };
	struct timespec t = TIME;

	return syscall(SYS_ppoll, &p, 1, &t, &usr1, 8);
}

static long do_select(void)
{
	struct timeval t = { limit_ms / 1000, limit_ms % 1000 * 1000l };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(never[0], &set);
	return syscall(SYS_select, never[0] + 1, &set, NULL, NULL, &t);
}

static long do_pselect(void)
{
	struct timespec t = TIME;
	struct {
		const void *mask;
		size_t size;
	} sig = { &usr1, 8 };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(never[0], &set);
	return syscall(SYS_pselect6, never[0] + 1, &set, NULL, NULL, &t, &sig);
}

static long do_epoll_wait(void)
{
	struct epoll_event e;

	return syscall(SYS_epoll_wait, epfd, &e, 1, limit_ms);
}

static long do_epoll_pwait(void)
{
	struct epoll_event e;

	return syscall(SYS_epoll_pwait, epfd, &e, 1, limit_ms, &usr1, 8);
}

static long do_epoll_pwait2(void)
{
	struct epoll_event e;
	struct timespec t = TIME;

	return syscall(441, epfd, &e, 1, &t, NULL, 8); /* Linux 5.11 */
}

static long do_futex(void)
{
	struct timespec t = TIME;

	return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0);
}

static long do_futex_bitset(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += (t.tv_nsec + limit_ms * 1000000ll) / 1000000000;
	t.tv_nsec = (t.tv_nsec + limit_ms * 1000000ll) % 1000000000;
	return syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 0, &t, NULL,
		       FUTEX_BITSET_MATCH_ANY);
}

static long do_sigtimedwait(void)
{
	struct timespec t = TIME;

	return syscall(SYS_rt_sigtimedwait, &usr1, NULL, &t, 8);
}

static long do_semtimedop(void)
{
	struct timespec t = TIME;
	struct sembuf op = { 0, -1, 0 };

	return syscall(SYS_semtimedop, semid, &op, 1, &t);
}

static long do_recv(void)
{
	char c;

	return recv(sock[0], &c, 1, 0);
}

static struct wait {
	const char *name;
	long (*call)(void);
	long want;     /* what it returns when the time is over, or -errno */
	bool absolute; /* the time that the program does not exist counts */
	pthread_t thread;
	long result;
	int64_t start, end;
	int64_t queued; /* ready to run, it was not let run for so long */
} waits[] = {
	{ "nanosleep", do_nanosleep, 0 },
	{ "nanosleep into its own request", do_nanosleep_rem, 0 },
	{ "clock_nanosleep", do_clock_nanosleep, 0 },
	{ "clock_nanosleep until", do_clock_nanosleep_abs, 0, .absolute = true },
	{ "poll", do_poll, 0 },
	{ "ppoll", do_ppoll, 0 },
	{ "select", do_select, 0 },
	{ "pselect6", do_pselect, 0 },
	{ "epoll_wait", do_epoll_wait, 0 },
	{ "epoll_pwait", do_epoll_pwait, 0 },
	{ "epoll_pwait2", do_epoll_pwait2, 0 },
	{ "futex", do_futex, -ETIMEDOUT },
	{ "futex until", do_futex_bitset, -ETIMEDOUT, .absolute = true },
	{ "rt_sigtimedwait", do_sigtimedwait, -EAGAIN },
	{ "semtimedop", do_semtimedop, -EAGAIN },
};

static int64_t queued_ns(void)
{
	char *path = test_text("/proc/self/task/%d/schedstat", gettid());
	char *text = test_read(path, NULL);
	long long ns = 0;

	if (text)
		sscanf(text, "%*d %lld", &ns);
	free(text);
	free(path);
	return ns;
}

static void *run(void *arg)
{
	struct wait *w = arg;
	long r;

	pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	w->start = test_now_ns();
	r = w->call();
	w->result = r < 0 ? -errno : r;
	w->queued = queued_ns();
	__atomic_store_n(&w->end, test_now_ns(), __ATOMIC_RELEASE);
	/* The oracle may come later, and sees it wait. */
	for (;;)
		w->call();
	return NULL;
}

static void choose_limit(void)
{
	double load = 0;

	getloadavg(&load, 1);
	load /= sysconf(_SC_NPROCESSORS_ONLN);
	limit_ms = SHORTEST_MS * (load < 1 ? 1 : load > LONGEST ? LONGEST : load);
}

static void start(struct wait *w)
{
	CHECK(!pthread_create(&w->thread, NULL, run, w));
}

static void setup(void)
{
	choose_limit();
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	CHECK_CALL(pipe(never));
	epfd = CHECK_CALL(epoll_create1(0));
	CHECK_CALL(epoll_ctl(epfd, EPOLL_CTL_ADD, never[0],
			     &(struct epoll_event){ .events = EPOLLIN }));
	semid = CHECK_CALL(semget(IPC_PRIVATE, 1, 0600));
	for (size_t i = 0; i < ARRAY_SIZE(waits); i++)
		start(&waits[i]);
	test_sleep_ms(BEFORE_MS);
}

static void judge(struct wait *w)
{
	int64_t gap = case_gap_ns(), took, late;

	if (w->result != w->want)
		case_fail("%s returns %ld, not %ld", w->name, w->result, w->want);
	took = (w->end - w->start) / 1000000;
	if (took < limit_ms - 2)
		case_fail("%s returns after %lld of %ld ms", w->name, (long long)took, limit_ms);
	late = took - limit_ms - gap / 1000000;
	if (w->absolute && took - limit_ms > 0 && gap < limit_ms * 1000000ll)
		late = took - limit_ms - (gap / 1000000 > limit_ms - BEFORE_MS ? gap / 1000000 : 0);
	late -= w->queued / 1000000;
	if (late > LATE_MS)
		case_fail("%s returns after %lld ms, %lld more than are explained", w->name,
			  (long long)took, (long long)late);
}

static bool ended(const struct wait *w)
{
	return __atomic_load_n(&w->end, __ATOMIC_ACQUIRE);
}

static void check(void)
{
	const struct wait *late = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(waits) && !late; i++)
		late = EVENTUALLY(ended(&waits[i])) ? NULL : &waits[i];
	/* It would outlive the program. */
	semctl(semid, 0, IPC_RMID);
	if (late)
		case_fail("%s does not return", late->name);
	for (size_t i = 0; i < ARRAY_SIZE(waits); i++)
		judge(&waits[i]);
}

/* A limit that belongs to the socket: the kernel ends such a call with a plain EINTR, too. */
static struct wait receive = { "recv with SO_RCVTIMEO", do_recv, -EAGAIN };

static void setup_receive(void)
{
	struct timeval t;

	choose_limit();
	t = (struct timeval){ limit_ms / 1000, limit_ms % 1000 * 1000l };
	CHECK_CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	CHECK_CALL(setsockopt(sock[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)));
	start(&receive);
	test_sleep_ms(BEFORE_MS);
}

/* How much of its limit a socket had used up nobody can tell: it may start again. */
static void check_receive(void)
{
	CHECK(EVENTUALLY(ended(&receive)));
	CHECK_INT(receive.result, -EAGAIN);
	CHECK(receive.end - receive.start >= (limit_ms - 10) * 1000000ll);
}

/* ---- a list of messages of which some have come ---- */

/* What interrupts such a call is left in the socket by the kernel, for the next one to return. */
static struct receiver {
	int domain;
	int fd[2]; /* from, to */
	pid_t tid;
	char first, second;
	long error;
	pthread_t thread;
} receivers[] = { { .domain = AF_UNIX }, { .domain = AF_INET } };

static void *receive_two(void *arg)
{
	struct receiver *r = arg;
	struct iovec v[2] = { { &r->first, 1 }, { &r->second, 1 } };
	struct mmsghdr m[2] = { { .msg_hdr = { .msg_iov = &v[0], .msg_iovlen = 1 } },
				{ .msg_hdr = { .msg_iov = &v[1], .msg_iovlen = 1 } } };
	int n = 0, got;

	__atomic_store_n(&r->tid, gettid(), __ATOMIC_RELEASE);
	while (n < 2 && !r->error) {
		got = recvmmsg(r->fd[0], m + n, 2 - n, 0, NULL);
		n += got > 0 ? got : 0;
		r->error = got < 0 ? errno : 0;
	}
	return NULL;
}

static void open_pair(struct receiver *r)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(to);

	if (r->domain == AF_UNIX) {
		CHECK_CALL(socketpair(AF_UNIX, SOCK_DGRAM, 0, r->fd));
		return;
	}
	for (int i = 0; i < 2; i++)
		r->fd[i] = CHECK_CALL(socket(AF_INET, SOCK_DGRAM, 0));
	CHECK_CALL(bind(r->fd[0], (struct sockaddr *)&to, sizeof(to)));
	CHECK_CALL(getsockname(r->fd[0], (struct sockaddr *)&to, &len));
	CHECK_CALL(connect(r->fd[1], (struct sockaddr *)&to, sizeof(to)));
}

static void setup_list(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(receivers); i++) {
		struct receiver *r = &receivers[i];

		open_pair(r);
		CHECK(!pthread_create(&r->thread, NULL, receive_two, r));
		CHECK(EVENTUALLY(__atomic_load_n(&r->tid, __ATOMIC_ACQUIRE)));
		case_blocked(0, r->tid, SYS_recvmmsg);
		CHECK_CALL(send(r->fd[1], "1", 1, 0));
		CHECK(EVENTUALLY(__atomic_load_n(&r->first, __ATOMIC_ACQUIRE)));
		case_blocked(0, r->tid, SYS_recvmmsg);
	}
}

static void check_list(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(receivers); i++) {
		struct receiver *r = &receivers[i];

		CHECK_CALL(send(r->fd[1], "2", 1, 0));
		CHECK(!pthread_join(r->thread, NULL));
		CHECK_INT(r->error, 0);
		CHECK_INT(r->first, '1');
		CHECK_INT(r->second, '2');
	}
}

/* A wait that has been interrupted before does not tell when it began. */
CASES({ "waits with a time limit go on with what they had left", setup, check, CASE_RUNS },
      { "receiving with a time limit is not interrupted", setup_receive, check_receive,
	.flags = CASE_ONCE },
      { "a list of messages that is received in part is followed by no error", setup_list,
	check_list, .flags = CASE_RUNS })
