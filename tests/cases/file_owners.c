/* SPDX-License-Identifier: Apache-2.0 */
/* Signals for what happens to open files: whom, which, and with whose rights. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "tests/lib/case.h"

static int plain[2], queued[2], of_thread[2], of_group[2], of_child[2], silent[2];
static volatile sig_atomic_t n_io, n_group, last_fd;
static volatile pid_t who_got;
static pid_t tid, child;
static pthread_t thread;

static void on_io(int sig)
{
	(void)sig;
	n_io++;
}

static void on_queued(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)context;
	last_fd = info->si_fd;
	who_got = syscall(SYS_gettid);
}

static void on_group(int sig)
{
	(void)sig;
	n_group++;
}

static void *run(void *arg)
{
	(void)arg;
	__atomic_store_n(&tid, syscall(SYS_gettid), __ATOMIC_RELEASE);
	for (;;)
		pause();
	return NULL;
}

static void pair(int fd[2], int type, pid_t pid, int sig)
{
	struct f_owner_ex owner = { type, pid };

	CHECK_CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
	CHECK_CALL(fcntl(fd[0], F_SETOWN_EX, &owner));
	if (sig)
		CHECK_CALL(fcntl(fd[0], F_SETSIG, sig));
	CHECK_CALL(fcntl(fd[0], F_SETFL, O_ASYNC | O_NONBLOCK));
}

static void setup_child(void)
{
	signal(SIGIO, on_io);
}

static void check_child(void)
{
	CHECK(EVENTUALLY(n_io == 1));
}

static void setup(void)
{
	struct sigaction sa = { .sa_sigaction = on_queued, .sa_flags = SA_SIGINFO };

	child = case_child(setup_child, check_child);
	signal(SIGIO, on_io);
	signal(SIGURG, on_group);
	CHECK_CALL(sigaction(SIGRTMIN + 1, &sa, NULL));
	CHECK(!pthread_create(&thread, NULL, run, NULL));
	CHECK(EVENTUALLY(__atomic_load_n(&tid, __ATOMIC_ACQUIRE)));
	pair(plain, F_OWNER_PID, getpid(), 0);
	pair(queued, F_OWNER_PID, getpid(), SIGRTMIN + 1);
	pair(of_thread, F_OWNER_TID, tid, SIGRTMIN + 1);
	pair(of_child, F_OWNER_PID, child, 0);
	pair(of_group, F_OWNER_PGRP, getpgrp(), SIGURG);
	pair(silent, F_OWNER_PID, getpid(), SIGUSR1);
	CHECK_CALL(fcntl(silent[0], F_SETFL, O_NONBLOCK)); /* would end the process */
}

static void check(void)
{
	struct f_owner_ex owner;

	CHECK(fcntl(plain[0], F_GETFL) & O_ASYNC);
	CHECK_INT(n_io, 0);
	CHECK(write(plain[1], "x", 1) == 1);
	CHECK(EVENTUALLY(n_io == 1));
	CHECK(write(queued[1], "x", 1) == 1);
	CHECK(EVENTUALLY(last_fd == queued[0]));
	CHECK(write(of_thread[1], "x", 1) == 1);
	CHECK(EVENTUALLY(last_fd == of_thread[0]));
	CHECK_INT(who_got, tid);
	CHECK(write(of_group[1], "x", 1) == 1);
	CHECK(EVENTUALLY(n_group == 1));
	CHECK(write(of_child[1], "x", 1) == 1);
	CHECK(write(silent[1], "x", 1) == 1);
	CHECK_INT(fcntl(silent[0], F_GETSIG), SIGUSR1);
	CHECK_CALL(fcntl(silent[0], F_GETOWN_EX, &owner));
	CHECK_INT(owner.pid, getpid());
	CHECK_INT(n_io, 1);
}

/* With whose rights: those of who made it the owner. */
static void setup_dropped(void)
{
	uid_t ids[2] = { -1, -1 };

	signal(SIGIO, on_io);
	CHECK_CALL(setresuid(1234, 1234, 0));
	pair(plain, F_OWNER_PID, getpid(), 0);
	CHECK_CALL(fcntl(plain[0], 17 /* F_GETOWNER_UIDS */, ids));
	CHECK_INT(ids[0], 1234);
}

static void check_dropped(void)
{
	uid_t ids[2] = { -1, -1 };

	CHECK_CALL(fcntl(plain[0], 17, ids));
	CHECK_INT(ids[0], 1234);
	CHECK_INT(ids[1], 1234);
	CHECK(write(plain[1], "x", 1) == 1);
	CHECK(EVENTUALLY(n_io == 1));
}

static void setup_raised(void)
{
	signal(SIGIO, on_io);
	pair(plain, F_OWNER_PID, getpid(), 0);
	CHECK_CALL(setresuid(1234, 1234, 0));
}

static void check_raised(void)
{
	uid_t ids[2] = { -1, -1 };

	CHECK_CALL(fcntl(plain[0], 17, ids));
	CHECK_INT(ids[0], 0);
	CHECK_INT(ids[1], 0);
}

/* Nobody of the tree. */
static void setup_outside(void)
{
	CHECK_CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, plain));
	CHECK_INT(dup2(plain[0], 61), 61);
	close(plain[0]);
	plain[0] = 61;
	CHECK_CALL(fcntl(plain[0], F_SETOWN, getppid()));
}

static void check_outside(void)
{
	CHECK_INT(fcntl(plain[0], F_GETOWN), getppid());
}

CASES({ "signals for open files go to whom they went", setup, check },
      { "they are sent with the rights of the process", setup_dropped, check_dropped,
	.flags = CASE_ROOT },
      { "they are sent with the rights that it had", setup_raised, check_raised,
	.flags = CASE_ROOT },
      { "an owner outside of the tree is named", setup_outside, check_outside,
	.refused = { "fd 61", "CKPT-E0220" } })
