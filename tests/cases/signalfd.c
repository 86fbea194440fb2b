/* SPDX-License-Identifier: Apache-2.0 */
/* Signals read from a descriptor: the mask, and a signal that is already waiting. */
#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "tests/lib/case.h"

static int fd, other;

static void setup(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMIN + 3);
	CHECK_CALL(sigprocmask(SIG_BLOCK, &set, NULL));
	fd = CHECK_CALL(signalfd(-1, &set, SFD_NONBLOCK));
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	CHECK_CALL(sigprocmask(SIG_BLOCK, &set, NULL));
	other = CHECK_CALL(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
	CHECK_CALL(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){ .sival_int = 77 }));
}

static void check(void)
{
	struct signalfd_siginfo info = { 0 };

	CHECK(read(other, &info, sizeof(info)) < 0 && errno == EAGAIN);
	CHECK(read(fd, &info, sizeof(info)) == sizeof(info));
	CHECK_INT(info.ssi_signo, SIGRTMIN + 3);
	CHECK_INT(info.ssi_int, 77);
	CHECK_CALL(kill(getpid(), SIGUSR1));
	CHECK(read(fd, &info, sizeof(info)) == sizeof(info));
	CHECK_INT(info.ssi_signo, SIGUSR1);
	CHECK_CALL(kill(getpid(), SIGUSR2));
	CHECK(read(fd, &info, sizeof(info)) < 0 && errno == EAGAIN);
	CHECK(read(other, &info, sizeof(info)) == sizeof(info));
	CHECK_INT(info.ssi_signo, SIGUSR2);
}

CASES({ "signal descriptors keep their masks", setup, check })
