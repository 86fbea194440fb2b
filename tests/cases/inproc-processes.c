/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that make processes and give up descriptors in the middle of many checkpoints: each
 * child is the program's own, ends as it should, and is waited for once; nobody else's is seen.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/act.h"

extern char **environ;

static void ends_with(struct act *a, pid_t pid, int want)
{
	int status = 0;
	pid_t got;

	if (pid < 0)
		case_fail("%s: %s", a->name, strerror(errno));
	got = waitpid(pid, &status, 0);
	if (got != pid || !WIFEXITED(status) || WEXITSTATUS(status) != want)
		case_fail("%s: waitpid(%d) returns %d, status %x (%s)", a->name, pid, got, status,
			  strerror(errno));
}

static char *const exit_7[] = { "sh", "-c", "exit 7", NULL };

static void do_fork(struct act *a)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(getppid() == (pid_t)a->own[0] ? 5 : 6);
	ends_with(a, pid, 5);
}

static void do_fork_exec(struct act *a)
{
	pid_t pid = fork();

	if (pid == 0) {
		execv("/bin/sh", exit_7);
		_exit(99);
	}
	ends_with(a, pid, 7);
}

static void do_vfork(struct act *a)
{
	volatile int told = 0;
	pid_t pid = vfork();

	if (pid == 0) {
		told = 1;
		execv("/bin/sh", exit_7);
		_exit(99);
	}
	/* The parent stood still until then. */
	CHECK_INT(told, 1);
	ends_with(a, pid, 7);
}

static void do_spawn(struct act *a)
{
	posix_spawn_file_actions_t fa;
	pid_t pid = -1;

	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 2, "/dev/null", O_WRONLY, 0);
	errno = posix_spawn(&pid, "/bin/sh", &fa, NULL, exit_7, environ);
	posix_spawn_file_actions_destroy(&fa);
	ends_with(a, pid, 7);
}

static void do_system(struct act *a)
{
	int status = system("exit 3");

	if (!WIFEXITED(status) || WEXITSTATUS(status) != 3)
		case_fail("%s: status %x", a->name, status);
}

static void do_popen(struct act *a)
{
	FILE *f = popen("echo $((6 * 7))", "re");
	int n = 0;

	CHECK(f != NULL);
	if (fscanf(f, "%d", &n) != 1 || n != 42)
		case_fail("%s: says %d", a->name, n);
	CHECK_INT(pclose(f), 0);
}

/* A child that lives for a while, with threads of its own. */
static void *short_life(void *arg)
{
	test_sleep_ms(10);
	return arg;
}

__attribute__((unused)) static void do_fork_threads(struct act *a)
{
	pid_t pid = fork();

	if (pid == 0) {
		pthread_t t[3];

		for (int i = 0; i < 3; i++)
			if (pthread_create(&t[i], NULL, short_life, NULL))
				_exit(1);
		for (int i = 0; i < 3; i++)
			pthread_join(t[i], NULL);
		_exit(11);
	}
	ends_with(a, pid, 11);
}

/* As a daemon does: everything is closed, the library's own things, too. */
static void do_close_all(struct act *a)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (a->rounds % 3 == 0)
			closefrom(3);
		else if (a->rounds % 3 == 1)
			syscall(SYS_close_range, 3u, ~0u, 0);
		else
			for (int fd = 3; fd < 1200; fd++)
				close(fd);
		test_sleep_ms(15);
		if (open("/dev/null", O_RDONLY) != 3)
			_exit(1);
		_exit(12);
	}
	ends_with(a, pid, 12);
}

static void do_setuid(struct act *a)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (getuid() == 0 && (setgroups(0, NULL) || setgid(TEST_UID) || setuid(TEST_UID)))
			_exit(1);
		test_sleep_ms(15);
		_exit(getuid() == TEST_UID ? 13 : 2);
	}
	ends_with(a, pid, 13);
}

/* Any child: there is none but those that this program made. */
static void do_wait_any(struct act *a)
{
	pid_t pid = fork(), got;
	int status;

	if (pid == 0) {
		/* Alone here: whoever comes by wait(2) would be a stranger. */
		if (waitpid(-1, &status, WNOHANG) != -1 || errno != ECHILD)
			_exit(1);
		got = fork();
		if (got == 0)
			_exit(4);
		if (wait(&status) != got || WEXITSTATUS(status) != 4)
			_exit(2);
		test_sleep_ms(5);
		if (wait(&status) != -1 || errno != ECHILD)
			_exit(3);
		_exit(14);
	}
	ends_with(a, pid, 14);
}

/* The library keeps such a file, and opens it as nothing else here does. */
static void do_mapped(struct act *a)
{
	int fd = open("mapped", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	char *at;

	CHECK(fd >= 0 && write(fd, a->name, 10) == 10);
	at = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	CHECK(at != MAP_FAILED);
	CHECK_CALL(unlink("mapped"));
	CHECK(!memcmp(at, a->name, 10));
	CHECK_CALL(munmap(at, 4096));
}

static void do_inherit(struct act *a)
{
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			for (int fd = 3; fd < 100; fd++) {
				int flags = fcntl(fd, F_GETFL);

				if (flags >= 0 && (flags & O_NONBLOCK))
					_exit(1);
			}
			_exit(15);
		}
		ends_with(a, pid, 15);
	}
}

static struct act acts[] = {
	{ "fork", do_fork },
	{ "fork and exec", do_fork_exec },
	{ "vfork", do_vfork },
	{ "posix_spawn", do_spawn },
	{ "system", do_system },
	{ "popen", do_popen },
#ifndef __SANITIZE_ADDRESS__ /* the child waits for its locks, which other threads had */
	{ "fork and threads", do_fork_threads },
#endif
	{ "closing all", do_close_all },
	{ "setuid", do_setuid },
	{ "wait for any", do_wait_any },
	{ "mapped and deleted", do_mapped },
	{ "inherited descriptors", do_inherit },
};

static void setup(void)
{
	acts[0].own[0] = getpid();
	act_start(acts, ARRAY_SIZE(acts));
}

static void check(void)
{
	act_end(acts, ARRAY_SIZE(acts));
	CHECK_INT(waitpid(-1, NULL, WNOHANG), -1);
	CHECK_INT(errno, ECHILD);
}

/* ---- one process that executes another program again and again ---- */

static pid_t runner;

static void setup_exec(void)
{
	static char script[] =
		"n=${1:-0}; echo $n >n.new && mv n.new n; exec sh -c \"$0\" \"$0\" $((n+1))";

	runner = CHECK_CALL(fork());
	if (runner == 0) {
		execl("/bin/sh", "sh", "-c", script, script, NULL);
		_exit(1);
	}
	CHECK(EVENTUALLY(test_exists("n")));
}

static void check_exec(void)
{
	long before = test_number("n");

	CHECK(EVENTUALLY(test_number("n") > before + 3));
	CHECK_INT(waitpid(runner, NULL, WNOHANG), 0);
}

/* ---- what a program can find out about itself: nothing ---- */

static struct rusage children;

static void setup_quiet(void)
{
	pid_t pid = CHECK_CALL(fork());

	if (pid == 0)
		_exit(0);
	CHECK_INT(waitpid(pid, NULL, 0), pid);
	CHECK_CALL(getrusage(RUSAGE_CHILDREN, &children));
	CHECK_CALL(signal(SIGCHLD, SIG_DFL) == SIG_ERR ? -1 : 0);
}

static void check_quiet(void)
{
	struct rusage now;
	sigset_t set;

	CHECK_CALL(getrusage(RUSAGE_CHILDREN, &now));
	CHECK_INT(now.ru_utime.tv_sec, children.ru_utime.tv_sec);
	CHECK_INT(now.ru_utime.tv_usec, children.ru_utime.tv_usec);
	CHECK_INT(now.ru_stime.tv_usec, children.ru_stime.tv_usec);
	CHECK_INT(now.ru_minflt, children.ru_minflt);
	CHECK_INT(now.ru_maxrss, children.ru_maxrss);
	CHECK_INT(waitpid(-1, NULL, WNOHANG | __WALL), -1);
	CHECK_INT(errno, ECHILD);
	CHECK_CALL(sigpending(&set));
	CHECK(!sigismember(&set, SIGCHLD));
	CHECK_INT(open("/dev/null", O_RDONLY), 3);
}

/* The same, looked at all the time. */
static unsigned int n_sigchld;

static void on_sigchld(int sig)
{
	(void)sig;
	n_sigchld++;
}

/* The harness writes that it is ready. */
static bool harness_is_done(void)
{
	static bool done;
	char path[300];
	struct stat st;

	snprintf(path, sizeof(path), "%s/ready.0", case_dir());
	if (!done && !stat(path, &st) && st.st_size) {
		usleep(20000);
		done = true;
	}
	return done;
}

static void do_files(struct act *a)
{
	(void)a;
	if (!harness_is_done())
		return;
	for (int i = 0; i < 2000; i++) {
		int fd = CHECK_CALL(open("/dev/null", O_RDONLY));

		if (fd != 3)
			case_fail("open() returns %d, not the lowest number, 3", fd);
		CHECK_CALL(close(fd));
	}
}

static void do_no_child(struct act *a)
{
	int status;

	(void)a;
	for (int i = 0; i < 1000; i++) {
		pid_t got = waitpid(-1, &status, WNOHANG | __WALL);

		if (got != -1 || errno != ECHILD)
			case_fail("wait finds process %d, status %x", got, status);
	}
	CHECK_INT(n_sigchld, 0);
}

/* For the library these are files that might be mapped. */
static void do_unlink(struct act *a)
{
	(void)a;
	if (!harness_is_done())
		return;
	for (int i = 0; i < 50; i++) {
		CHECK_CALL(link("kept", "gone"));
		if (i % 2) {
			CHECK_CALL(unlink("gone"));
		} else {
			CHECK_CALL(rename("other", "gone"));
			CHECK_CALL(rename("gone", "other"));
		}
	}
}

static struct act lookers[] = {
	{ "the lowest descriptor", do_files },
	{ "deleting", do_unlink },
	{ "no child", do_no_child },
};

static void setup_lookers(void)
{
	signal(SIGCHLD, on_sigchld);
	CHECK(test_write("kept", "not empty\n") && test_write("other", "neither\n"));
	act_start(lookers, ARRAY_SIZE(lookers));
}

static void check_lookers(void)
{
	act_end(lookers, ARRAY_SIZE(lookers));
	CHECK_INT(n_sigchld, 0);
}

#define FLAGS (CASE_INSIDE | CASE_MANY)
CASES({ "children are made, end and are waited for", setup, check, .flags = FLAGS | CASE_LOSSY },
      { "a child that executes all the time goes on", setup_exec, check_exec,
	.flags = FLAGS | CASE_LOSSY },
      { "no child, usage, signal or descriptor is left behind", setup_quiet, check_quiet,
	.flags = FLAGS | CASE_STAYS },
      { "no child, signal or descriptor is there for a moment", setup_lookers, check_lookers,
	.flags = FLAGS | CASE_LOSSY | CASE_STAYS })
