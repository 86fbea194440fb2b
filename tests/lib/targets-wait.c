/* SPDX-License-Identifier: Apache-2.0 */
/* Targets that wait in a system call all the time. Raw calls where the C library would hide what
 * the kernel returns. */
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "tests/lib/targets-run.h"

#define MS 1000000l
#define NAP (3 * MS)

/* R is what a call returned that began at START and had to take NAP. */
static void waited(const char *what, int64_t start, long r, long want)
{
	int64_t took = target_now() - start;

	if (r < 0)
		r = -errno;
	if (r != want)
		target_bad(what, r);
	else if (took < NAP - MS)
		target_bad(what, took);
	else
		target_good();
}

void target_nanosleep(struct target_shared *sh)
{
	(void)sh;
	for (;;) {
		int64_t start = target_now();

		waited("nanosleep", start,
		       syscall(SYS_nanosleep, &(struct timespec){ 0, NAP }, NULL), 0);
	}
}

void target_nanosleep_rest(struct target_shared *sh)
{
	(void)sh;
	for (;;) {
		struct timespec t = { 0, NAP }, rest;
		int64_t start = target_now();

		waited("nanosleep in place", start, syscall(SYS_nanosleep, &t, &t), 0);
		t = (struct timespec){ 0, NAP };
		start = target_now();
		waited("nanosleep with a rest", start, syscall(SYS_nanosleep, &t, &rest), 0);
	}
}

void target_clock_nanosleep(struct target_shared *sh)
{
	(void)sh;
	for (;;) {
		int64_t start = target_now(), end = start + NAP;
		struct timespec t = { end / 1000000000, end % 1000000000 };

		waited("clock_nanosleep", start,
		       syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0,
			       &(struct timespec){ 0, NAP }, NULL),
		       0);
		start = target_now();
		end = start + NAP;
		t = (struct timespec){ end / 1000000000, end % 1000000000 };
		waited("absolute clock_nanosleep", start,
		       syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL), 0);
		start = target_now();
		waited("usleep", start, usleep(NAP / 1000), 0);
	}
}

void target_poll(struct target_shared *sh)
{
	int p[2];
	sigset_t mask;

	(void)sh;
	sigemptyset(&mask);
	if (pipe(p))
		target_bad("pipe", -1);
	for (;;) {
		struct pollfd fd = { p[0], POLLIN, 0 };
		struct timeval tv = { 0, NAP / 1000 };
		int64_t start = target_now();

		waited("poll", start, poll(&fd, 1, NAP / MS), 0);
		start = target_now();
		waited("ppoll", start, ppoll(&fd, 1, &(struct timespec){ 0, NAP }, &mask), 0);
		start = target_now();
		waited("select", start, select(0, NULL, NULL, NULL, &tv), 0);
		start = target_now();
		waited("pselect", start,
		       pselect(0, NULL, NULL, NULL, &(struct timespec){ 0, NAP }, &mask), 0);
	}
}

void target_epoll(struct target_shared *sh)
{
	int e = epoll_create1(0);
	struct epoll_event ev;
	sigset_t mask;

	(void)sh;
	sigfillset(&mask);
	for (;;) {
		int64_t start = target_now();

		waited("epoll_wait", start, epoll_wait(e, &ev, 1, NAP / MS), 0);
		start = target_now();
		waited("epoll_pwait", start, epoll_pwait(e, &ev, 1, NAP / MS, &mask), 0);
		start = target_now();
		waited("epoll_pwait2", start,
		       syscall(SYS_epoll_pwait2, e, &ev, 1, &(struct timespec){ 0, NAP }, &mask, 8),
		       0);
	}
}

void target_sigtimedwait(struct target_shared *sh)
{
	sigset_t set;

	(void)sh;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (;;) {
		int64_t start = target_now();

		waited("sigtimedwait", start,
		       sigtimedwait(&set, NULL, &(struct timespec){ 0, NAP }), -EAGAIN);
	}
}

void target_semtimedop(struct target_shared *sh)
{
	int id = semget(IPC_PRIVATE, 1, 0600);
	struct sembuf op = { 0, -1, 0 };

	sh->sem[__sync_fetch_and_add(&sh->n_sem, 1) % 8] = id + 1;
	for (;;) {
		int64_t start = target_now();

		waited("semtimedop", start, semtimedop(id, &op, 1, &(struct timespec){ 0, NAP }),
		       -EAGAIN);
	}
}

void target_futex(struct target_shared *sh)
{
	static int word;
	pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t c = PTHREAD_COND_INITIALIZER;

	(void)sh;
	pthread_mutex_lock(&m);
	for (;;) {
		int64_t start = target_now();
		struct timespec until;

		waited("futex", start,
		       syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0,
			       &(struct timespec){ 0, NAP }),
		       -ETIMEDOUT);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += NAP;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		start = target_now();
		waited("pthread_cond_timedwait", start, pthread_cond_timedwait(&c, &m, &until),
		       ETIMEDOUT);
	}
}

void target_receive(struct target_shared *sh)
{
	struct timeval tv = { 0, NAP / 1000 };
	int s[2];
	char c;

	(void)sh;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, s) ||
	    setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)))
		target_bad("socketpair", -1);
	for (;;) {
		int64_t start = target_now();

		waited("recv", start, recv(s[0], &c, 1, 0), -EAGAIN);
	}
}

static void *feed(void *arg)
{
	int *p = arg;

	for (unsigned char c = 0;; c++) {
		usleep(700);
		if (write(p[1], &c, 1) != 1)
			target_bad("write", c);
	}
	return NULL;
}

void target_pipe(struct target_shared *sh)
{
	int p[2];
	pthread_t t;

	(void)sh;
	if (pipe(p) || pthread_create(&t, NULL, feed, p))
		target_bad("pipe", -1);
	for (unsigned char c = 0;; c++) {
		unsigned char got;

		if (read(p[0], &got, 1) != 1 || got != c)
			target_bad("read", got);
		else
			target_good();
	}
}
