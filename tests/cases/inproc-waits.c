/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of the C library that wait, in the middle of many checkpoints: none may say EINTR, end too
 * early, or begin anew each time. Masks with all signals are what programs really give.
 */
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "tests/lib/act.h"

#define MS 230
#define TIME                     \
	{                        \
		0, MS * 1000000l \
	}

static int never[2], epfd, semid, sock[2], listener, some[2];
static struct sockaddr_un listening = { AF_UNIX, "listener" };
static sigset_t all;

#define TIMED(want, call) ACT_TIMED(a, MS, want, call)

static struct timespec from_now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	t.tv_nsec += MS * 1000000l;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return t;
}

static void do_nanosleep(struct act *a)
{
	struct timespec t = TIME;

	TIMED(0, nanosleep(&t, &t));
}

static void do_usleep(struct act *a)
{
	TIMED(0, usleep(MS * 1000));
}

static void do_clock_nanosleep(struct act *a)
{
	struct timespec t = TIME, until = from_now(CLOCK_MONOTONIC);

	TIMED(0, clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL));
	TIMED(0, clock_nanosleep(CLOCK_REALTIME, 0, &t, NULL));
}

static void do_poll(struct act *a)
{
	struct pollfd p = { never[0], POLLIN, 0 };

	TIMED(0, poll(&p, 1, MS));
}

static void do_ppoll(struct act *a)
{
	struct pollfd p = { never[0], POLLIN, 0 };
	struct timespec t = TIME;

	TIMED(0, ppoll(&p, 1, &t, &all));
}

static void do_select(struct act *a)
{
	struct timeval t = { 0, MS * 1000 };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(never[0], &set);
	TIMED(0, select(never[0] + 1, &set, NULL, NULL, &t));
	CHECK(!FD_ISSET(never[0], &set));
}

static void do_pselect(struct act *a)
{
	struct timespec t = TIME;
	fd_set set;

	FD_ZERO(&set);
	FD_SET(never[0], &set);
	TIMED(0, pselect(never[0] + 1, &set, NULL, NULL, &t, &all));
}

static void do_epoll_wait(struct act *a)
{
	struct epoll_event e;

	TIMED(0, epoll_wait(epfd, &e, 1, MS));
}

static void do_epoll_pwait(struct act *a)
{
	struct epoll_event e;

	TIMED(0, epoll_pwait(epfd, &e, 1, MS, &all));
}

static void do_sem(struct act *a)
{
	static sem_t sem;
	struct timespec t = from_now(CLOCK_REALTIME);

	TIMED(-ETIMEDOUT, sem_timedwait(&sem, &t));
}

static void do_cond(struct act *a)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
	struct timespec t = from_now(CLOCK_REALTIME);

	pthread_mutex_lock(&lock);
	TIMED(ETIMEDOUT, pthread_cond_timedwait(&cond, &lock, &t));
	pthread_mutex_unlock(&lock);
}

static void do_mutex(struct act *a)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct timespec t = from_now(CLOCK_REALTIME);

	pthread_mutex_trylock(&lock);
	TIMED(ETIMEDOUT, pthread_mutex_timedlock(&lock, &t));
}

static void do_futex(struct act *a)
{
	static int word;
	struct timespec t = TIME;

	TIMED(-ETIMEDOUT, syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0));
}

static void do_sigtimedwait(struct act *a)
{
	struct timespec t = TIME;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	TIMED(-EAGAIN, sigtimedwait(&set, NULL, &t));
}

static void do_semtimedop(struct act *a)
{
	struct timespec t = TIME;
	struct sembuf op = { 0, -1, 0 };

	TIMED(-EAGAIN, semtimedop(semid, &op, 1, &t));
}

/* The limit is the socket's. */
static void do_recv(struct act *a)
{
	char c;

	TIMED(-EAGAIN, recv(sock[0], &c, 1, 0));
}

static void do_recvmsg(struct act *a)
{
	char c;
	struct iovec v = { &c, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	TIMED(-EAGAIN, recvmsg(sock[0], &m, 0));
}

static void do_read(struct act *a)
{
	char c;

	TIMED(-EAGAIN, read(sock[0], &c, 1));
}

static void do_accept(struct act *a)
{
	TIMED(-EAGAIN, accept(listener, NULL, NULL));
}

static void do_recv_all(struct act *a)
{
	char two[2];

	CHECK_INT(send(some[1], "x", 1, 0), 1);
	TIMED(1, recv(some[0], two, 2, MSG_WAITALL));
}

static struct act timed[] = {
	{ "nanosleep", do_nanosleep },
	{ "usleep", do_usleep },
	{ "clock_nanosleep", do_clock_nanosleep },
	{ "poll", do_poll },
	{ "ppoll", do_ppoll },
	{ "select", do_select },
	{ "pselect", do_pselect },
	{ "epoll_wait", do_epoll_wait },
	{ "epoll_pwait", do_epoll_pwait },
	{ "sem_timedwait", do_sem },
	{ "pthread_cond_timedwait", do_cond },
	{ "pthread_mutex_timedlock", do_mutex },
	{ "futex", do_futex },
	{ "sigtimedwait", do_sigtimedwait },
	{ "semtimedop", do_semtimedop },
	{ "recv", do_recv },
	{ "recvmsg", do_recvmsg },
	{ "read of a socket", do_read },
	{ "accept", do_accept },
	{ "recv with MSG_WAITALL", do_recv_all },
};

static void limit(int fd, int option)
{
	struct timeval t = { 0, MS * 1000 };

	CHECK_CALL(setsockopt(fd, SOL_SOCKET, option, &t, sizeof(t)));
}

static void make_things(void)
{
	sigfillset(&all);
	CHECK_CALL(pipe(never));
	epfd = CHECK_CALL(epoll_create1(0));
	CHECK_CALL(epoll_ctl(epfd, EPOLL_CTL_ADD, never[0],
			     &(struct epoll_event){ .events = EPOLLIN }));
	semid = CHECK_CALL(semget(IPC_PRIVATE, 1, 0600));
	CHECK_CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	listener = CHECK_CALL(socket(AF_UNIX, SOCK_STREAM, 0));
	CHECK_CALL(bind(listener, (struct sockaddr *)&listening, sizeof(listening)));
	CHECK_CALL(listen(listener, 1));
	limit(sock[0], SO_RCVTIMEO);
}

static void setup(void)
{
	make_things();
	limit(listener, SO_RCVTIMEO);
	CHECK_CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, some));
	limit(some[0], SO_RCVTIMEO);
	act_start(timed, ARRAY_SIZE(timed));
}

static void check(void)
{
	act_end(timed, ARRAY_SIZE(timed));
	semctl(semid, 0, IPC_RMID);
}

/* ---- without a limit: they begin, and end only when the story makes them ---- */

static int msgid, quiet[2];
static sem_t never_posted;
static unsigned int ended;

static void must_end(const char *what, long r, long want)
{
	if (r != want)
		case_fail("%s returns %ld (%s)", what, r, strerror(errno));
	__atomic_add_fetch(&ended, 1, __ATOMIC_RELEASE);
}

static void *wait_msg(void *arg)
{
	struct {
		long type;
		char c;
	} m;

	must_end("msgrcv", msgrcv(msgid, &m, 1, 0, 0), 1);
	return arg;
}

static void *wait_sem(void *arg)
{
	must_end("semop", semop(semid, &(struct sembuf){ 0, -1, 0 }, 1), 0);
	return arg;
}

static void *wait_posix_sem(void *arg)
{
	must_end("sem_wait", sem_wait(&never_posted), 0);
	return arg;
}

static void *wait_poll(void *arg)
{
	must_end("poll", poll(&(struct pollfd){ quiet[0], POLLIN, 0 }, 1, -1), 1);
	return arg;
}

static void *wait_epoll(void *arg)
{
	struct epoll_event e;

	must_end("epoll_wait", epoll_wait(epfd, &e, 1, -1), 1);
	return arg;
}

static void *wait_select(void *arg)
{
	fd_set set;

	FD_ZERO(&set);
	FD_SET(quiet[0], &set);
	must_end("select", select(quiet[0] + 1, &set, NULL, NULL, NULL), 1);
	return arg;
}

static void *wait_signal(void *arg)
{
	int sig;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	must_end("sigwait", sigwait(&set, &sig), 0);
	return arg;
}

/* A connection that nobody has accepted is refused, so there is one only at the end. */

static void *wait_accept(void *arg)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	must_end("accept", fd > 2, true);
	return arg;
}

static void *(*const endless[])(void *) = { wait_msg,   wait_sem,    wait_posix_sem, wait_poll,
					    wait_epoll, wait_select, wait_signal,    wait_accept };
static pthread_t waiters[ARRAY_SIZE(endless)];

static void setup_endless(void)
{
	sigset_t set;

	make_things();
	CHECK_CALL(pipe(quiet));
	CHECK_CALL(epoll_ctl(epfd, EPOLL_CTL_ADD, quiet[0],
			     &(struct epoll_event){ .events = EPOLLIN }));
	msgid = CHECK_CALL(msgget(IPC_PRIVATE, 0600));
	sem_init(&never_posted, 0, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(endless); i++)
		CHECK(!pthread_create(&waiters[i], NULL, endless[i], NULL));
	test_sleep_ms(50);
}

static void check_endless(void)
{
	struct {
		long type;
		char c;
	} m = { 1, 'x' };

	int fd = CHECK_CALL(socket(AF_UNIX, SOCK_STREAM, 0));

	CHECK_INT(ended, 0);
	CHECK_CALL(connect(fd, (struct sockaddr *)&listening, sizeof(listening)));
	CHECK_CALL(msgsnd(msgid, &m, 1, 0));
	CHECK_CALL(semop(semid, &(struct sembuf){ 0, 1, 0 }, 1));
	sem_post(&never_posted);
	CHECK(write(quiet[1], "x", 1) == 1);
	CHECK_CALL(kill(getpid(), SIGUSR2));
	CHECK(EVENTUALLY(__atomic_load_n(&ended, __ATOMIC_ACQUIRE) == ARRAY_SIZE(endless)));
	msgctl(msgid, IPC_RMID, NULL);
	semctl(semid, 0, IPC_RMID);
}

#define FLAGS (CASE_INSIDE | CASE_MANY | CASE_LOSSY)
CASES({ "waits with a limit end in time and say nothing of checkpoints", setup, check,
	.flags = FLAGS | CASE_RUNS }, /* a stop ends a transfer of which a part is done */
      { "waits without a limit wait on", setup_endless, check_endless,
	.flags = CASE_INSIDE | CASE_MANY })
