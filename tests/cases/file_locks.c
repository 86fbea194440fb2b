/* SPDX-License-Identifier: Apache-2.0 */
/* Locks on files: records of a process and of an open file, whole files, leases. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/case.h"

static int posix, copy, ofd, whole, shared, lease;
static char *map;

static int make(const char *name, int flags)
{
	int fd = CHECK_CALL(open(name, O_CREAT | O_RDWR, 0644));

	CHECK(write(fd, "0123456789", 10) == 10);
	close(fd);
	return CHECK_CALL(open(name, flags));
}

static void lock(int fd, int cmd, int type, off_t start, off_t len)
{
	struct flock fl = { .l_type = type, .l_start = start, .l_len = len };

	CHECK_CALL(fcntl(fd, cmd, &fl));
}

/* What another process is told of it. */
static void expect(const char *name, int cmd, int type, off_t at, int want, pid_t owner)
{
	struct flock fl = { .l_type = type, .l_start = at, .l_len = 1 };
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int fd = open(name, O_RDWR);

		_exit(fcntl(fd, cmd, &fl) < 0    ? 100 :
		      fl.l_type != want          ? 50 + fl.l_type :
		      owner && fl.l_pid != owner ? 101 :
						   0);
	}
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK_INT(status, 0);
}

static void setup(void)
{
	posix = make("posix", O_RDWR);
	map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, posix, 0);
	CHECK(map != MAP_FAILED);
	copy = CHECK_CALL(dup(posix));
	lock(posix, F_SETLK, F_WRLCK, 2, 3);
	lock(posix, F_SETLK, F_RDLCK, 7, 0);
	ofd = make("ofd", O_RDWR);
	lock(ofd, F_OFD_SETLK, F_WRLCK, 1, 4);
	whole = make("whole", O_RDONLY);
	CHECK_CALL(flock(whole, LOCK_EX));
	shared = make("shared", O_RDWR);
	CHECK_CALL(flock(shared, LOCK_SH));
	lease = make("lease", O_RDONLY);
	CHECK_CALL(fcntl(lease, F_SETLEASE, F_RDLCK));
}

static void check(void)
{
	int fd;

	expect("posix", F_GETLK, F_WRLCK, 1, F_UNLCK, 0);
	expect("posix", F_GETLK, F_RDLCK, 2, F_WRLCK, getpid());
	expect("posix", F_GETLK, F_RDLCK, 4, F_WRLCK, getpid());
	expect("posix", F_GETLK, F_WRLCK, 5, F_UNLCK, 0);
	expect("posix", F_GETLK, F_WRLCK, 1000000, F_RDLCK, getpid());
	expect("posix", F_GETLK, F_RDLCK, 7, F_UNLCK, 0);
	expect("ofd", F_GETLK, F_RDLCK, 1, F_WRLCK, -1);
	expect("ofd", F_GETLK, F_RDLCK, 5, F_UNLCK, 0);
	/* It belongs to the process, however it was taken. */
	lock(copy, F_SETLK, F_UNLCK, 0, 0);
	expect("posix", F_GETLK, F_WRLCK, 2, F_UNLCK, 0);
	fd = CHECK_CALL(open("whole", O_RDONLY));
	CHECK(flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK);
	CHECK_CALL(flock(whole, LOCK_UN));
	CHECK_CALL(flock(fd, LOCK_SH | LOCK_NB));
	fd = CHECK_CALL(open("shared", O_RDONLY));
	CHECK_CALL(flock(fd, LOCK_SH | LOCK_NB));
	CHECK(flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK);
	CHECK_INT(fcntl(lease, F_GETLEASE), F_RDLCK);
}

/* A child that has the file of its parent: the lock of the open file is shared, that of the process
 * is not. */
static void check_child(void)
{
	struct flock fl = { .l_type = F_WRLCK };

	CHECK_CALL(fcntl(posix, F_GETLK, &fl));
	CHECK_INT(fl.l_type, F_WRLCK);
	CHECK_INT(fl.l_pid, getppid());
	CHECK_CALL(flock(whole, LOCK_EX | LOCK_NB));
}

static void setup_shared(void)
{
	posix = make("posix", O_RDWR);
	whole = make("whole", O_RDWR);
	CHECK_CALL(flock(whole, LOCK_EX));
	case_child(NULL, check_child);
	lock(posix, F_SETLK, F_WRLCK, 0, 0);
}

static void check_shared(void)
{
	int fd = CHECK_CALL(open("whole", O_RDWR));

	CHECK(flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK);
	expect("posix", F_GETLK, F_RDLCK, 0, F_WRLCK, getpid());
}

/* A lease that others break: SIGIO, or what was asked for. */
static volatile sig_atomic_t broken;

static void on_break(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)context;
	broken = info->si_fd + 1;
}

static void setup_lease(void)
{
	struct sigaction sa = { .sa_sigaction = on_break, .sa_flags = SA_SIGINFO | SA_RESTART };

	CHECK_CALL(sigaction(SIGRTMIN + 3, &sa, NULL));
	lease = make("lease", O_RDWR);
	CHECK_CALL(fcntl(lease, F_SETLEASE, F_WRLCK));
	CHECK_CALL(fcntl(lease, F_SETSIG, SIGRTMIN + 3));
}

static void check_lease(void)
{
	pid_t pid;
	int status;

	CHECK_INT(fcntl(lease, F_GETLEASE), F_WRLCK);
	CHECK_INT(fcntl(lease, F_GETSIG), SIGRTMIN + 3);
	pid = fork();
	if (pid == 0)
		_exit(open("lease", O_RDONLY | O_NONBLOCK) < 0 && errno == EWOULDBLOCK ? 0 : 1);
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK_INT(status, 0);
	CHECK(EVENTUALLY(broken == lease + 1));
}

/* Somebody wants the file, and the lease has not been given up yet. */
static void setup_breaking(void)
{
	pid_t pid;
	int status;

	CHECK(signal(SIGIO, SIG_IGN) != SIG_ERR);
	lease = make("lease", O_RDWR);
	CHECK_CALL(fcntl(lease, F_SETLEASE, F_WRLCK));
	pid = fork();
	if (pid == 0)
		_exit(open("lease", O_RDONLY | O_NONBLOCK) < 0 && errno == EWOULDBLOCK ? 0 : 1);
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK_INT(status, 0);
}

static void check_breaking(void)
{
	CHECK_INT(fcntl(lease, F_GETLEASE), F_RDLCK); /* what it is to become */
	CHECK_CALL(fcntl(lease, F_SETLEASE, F_UNLCK));
	CHECK_INT(fcntl(lease, F_GETLEASE), F_UNLCK);
}

CASES({ "locks of every sort are held again", setup, check, .options = { "--file-locks" } },
      { "a lock belongs to the process or to the open file", setup_shared, check_shared,
	.options = { "--file-locks" } },
      { "a lease is broken with its signal", setup_lease, check_lease, .options = { "-l" } },
      { "a lease that somebody waits for is refused", setup_breaking, check_breaking,
	.options = { "-l" },
	.refused = { "CKPT-E0221", "somebody waits for its lease to end",
		     "; let the process give its lease up before the dump" } })
