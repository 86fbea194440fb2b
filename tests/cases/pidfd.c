/* SPDX-License-Identifier: Apache-2.0 */
/* Processes as files: oneself, children, those that have ended, shared with a child, watched. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/case.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static int self, child_fd, zombie_fd, dead, dead_too, killed, epoll;
static pid_t child, zombie;
static volatile sig_atomic_t n_usr1;

static int pidfd_open(pid_t pid, unsigned int flags)
{
	return syscall(SYS_pidfd_open, pid, flags);
}

static int send(int fd, int sig)
{
	return syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0);
}

static void on_usr1(int sig)
{
	(void)sig;
	n_usr1++;
}

/* Lives until it is ended. */
static pid_t sleeper(void)
{
	pid_t pid = fork();

	while (pid == 0)
		pause();
	return pid;
}

static pid_t end(int sig)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (sig)
			raise(sig);
		_exit(41);
	}
	return pid;
}

static void setup(void)
{
	siginfo_t info;
	pid_t pid;

	signal(SIGUSR1, on_usr1);
	self = CHECK_CALL(pidfd_open(getpid(), 0));
	child = sleeper();
	child_fd = CHECK_CALL(pidfd_open(child, O_NONBLOCK));
	zombie = end(0);
	zombie_fd = CHECK_CALL(pidfd_open(zombie, 0));
	CHECK_CALL(waitid(P_PID, zombie, &info, WEXITED | WNOWAIT));
	pid = end(0);
	dead = CHECK_CALL(pidfd_open(pid, 0));
	dead_too = CHECK_CALL(pidfd_open(pid, 0));
	CHECK_INT(waitpid(pid, NULL, 0), pid);
	pid = end(SIGKILL);
	killed = CHECK_CALL(pidfd_open(pid, 0));
	CHECK_INT(waitpid(pid, NULL, 0), pid);
	epoll = CHECK_CALL(epoll_create1(0));
	CHECK_CALL(epoll_ctl(epoll, EPOLL_CTL_ADD, child_fd,
			     &(struct epoll_event){ EPOLLIN, { .u64 = 7 } }));
}

static void check(void)
{
	struct pollfd p[] = { { child_fd, POLLIN, 0 },
			      { dead, POLLIN, 0 },
			      { zombie_fd, POLLIN, 0 } };
	struct epoll_event ev;
	struct stat a, b;
	siginfo_t info;

	CHECK_CALL(send(self, SIGUSR1));
	CHECK(EVENTUALLY(n_usr1 == 1));
	CHECK_INT(poll(p, 3, 0), 2);
	CHECK_INT(p[0].revents, 0);
	CHECK(send(dead, 0) < 0 && errno == ESRCH);
	CHECK(send(killed, 0) < 0 && errno == ESRCH);
	CHECK(waitid(P_PIDFD, dead, &info, WEXITED) < 0 && errno == ECHILD);
	CHECK_CALL(fstat(dead, &a));
	CHECK_CALL(fstat(dead_too, &b));
	CHECK(a.st_ino == b.st_ino);
	CHECK_CALL(waitid(P_PIDFD, zombie_fd, &info, WEXITED));
	CHECK_INT(info.si_pid, zombie);
	CHECK_INT(info.si_status, 41);
	CHECK(waitid(P_PIDFD, child_fd, &info, WEXITED) < 0 && errno == EAGAIN);
	CHECK_INT(epoll_wait(epoll, &ev, 1, 0), 0);
	CHECK_CALL(send(child_fd, SIGKILL));
	CHECK_INT(epoll_wait(epoll, &ev, 1, test_wait_ms()), 1);
	CHECK_INT(ev.data.u64, 7);
	CHECK_CALL(waitid(P_PIDFD, child_fd, &info, WEXITED));
	CHECK_INT(info.si_pid, child);
}

/* The child has its parent's pidfd of itself, and of its sibling. */
static void check_heir(void)
{
	CHECK_CALL(send(self, SIGUSR1));
	CHECK_CALL(send(child_fd, 0));
	CHECK(fcntl(child_fd, F_GETFL) & O_NONBLOCK);
}

static void setup_shared(void)
{
	signal(SIGUSR1, on_usr1);
	self = CHECK_CALL(pidfd_open(getpid(), 0));
	child = case_child(NULL, NULL);
	child_fd = CHECK_CALL(pidfd_open(child, 0));
	case_child(NULL, check_heir);
	CHECK_CALL(fcntl(child_fd, F_SETFL, O_NONBLOCK));
}

static void check_shared(void)
{
	CHECK(EVENTUALLY(n_usr1 == 1));
	CHECK_CALL(send(child_fd, 0));
}

/* What the kernel still knows of who has ended. */
struct info {
	uint64_t mask, cgroup;
	uint32_t ids[11];
	int32_t exit_code;
};
#define GET_INFO _IOWR(0xff, 11, struct info) /* Linux 6.13 */
#define INFO_EXIT 8                           /* Linux 6.15 */

static int status_of(int fd)
{
	struct info info = { .mask = INFO_EXIT };

	return ioctl(fd, GET_INFO, &info) < 0 || !(info.mask & INFO_EXIT) ? -1 : info.exit_code;
}

static void setup_exit(void)
{
	setup();
	if (status_of(dead) < 0)
		case_skip("this kernel does not tell the status of who has ended");
}

static void check_exit(void)
{
	CHECK_INT(status_of(dead), 41 << 8);
	CHECK_INT(status_of(dead_too), 41 << 8);
	CHECK_INT(status_of(killed), SIGKILL);
}

static void setup_leader(void)
{
	self = pidfd_open(getpid(), O_EXCL);
	if (self < 0)
		case_skip("no pidfds of threads: %m");
}

static void check_leader(void)
{
	CHECK(fcntl(self, F_GETFL) & O_EXCL);
	CHECK_CALL(send(self, 0));
}

static void setup_outside(void)
{
	self = CHECK_CALL(pidfd_open(getppid(), 0));
	CHECK_INT(dup2(self, 53), 53);
	close(self);
}

static void check_outside(void)
{
	CHECK(send(53, 0) == 0 || errno == EPERM);
}

/* ---- another thread ---- */

static void *wait_for_ever(void *arg)
{
	*(volatile pid_t *)arg = gettid();
	for (;;)
		pause();
	return NULL;
}

static void setup_thread(void)
{
	static volatile pid_t tid;
	pthread_t t;

	CHECK(!pthread_create(&t, NULL, wait_for_ever, (void *)&tid));
	CHECK(EVENTUALLY(tid != 0));
	self = pidfd_open(tid, O_EXCL);
	if (self < 0)
		case_skip("no pidfds of threads: %m");
	CHECK_INT(dup2(self, 54), 54);
	close(self);
}

static void check_thread(void)
{
	CHECK_CALL(send(54, 0));
}

CASES({ "pidfds refer to whom they did", setup, check },
      { "a pidfd is shared with children", setup_shared, check_shared },
      { "pidfds of the dead know how they ended", setup_exit, check_exit },
      { "a pidfd of a first thread stays one", setup_leader, check_leader },
      { "a pidfd that leads outside of the tree is named", setup_outside, check_outside,
	.refused = { "fd 53", "CKPT-E0202", "pidfd" } },
      { "a pidfd of another thread is named", setup_thread, check_thread,
	.refused = { "fd 54", "pidfd: it refers to thread" } })
