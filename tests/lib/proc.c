/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting, watching and ending processes, always within a bound.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "tests/lib/proc.h"

#define SETTLE_MS 300

int64_t test_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

void test_sleep_ms(unsigned int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000l };

	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

unsigned int test_wait_ms(void)
{
	const char *s = getenv("CKPT_TEST_WAIT");

	return s && atoi(s) > 0 ? atoi(s) * 1000u : 10000;
}

static void set_up_child(const char *out, const char *cwd)
{
	sigset_t none;
	int fd;

	setsid();
	for (int sig = 1; sig < 65; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	fd = open("/dev/null", O_RDONLY);
	dup2(fd, 0);
	fd = out ? open(out, O_WRONLY | O_CREAT | O_APPEND, 0666) : open("/dev/null", O_WRONLY);
	dup2(fd, 1);
	dup2(fd, 2);
	syscall(SYS_close_range, 3u, ~0u, 0);
	if (cwd && chdir(cwd) < 0)
		_exit(126);
}

pid_t test_spawn(char *const argv[], const char *out, const char *cwd)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		set_up_child(out, cwd);
		execvp(argv[0], argv);
		dprintf(2, "%s: cannot execute: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	return pid;
}

int test_wait(pid_t pid, unsigned int ms)
{
	int64_t end = test_now_ns() + ms * 1000000ll;
	int status;
	unsigned int n = 0;

	do {
		pid_t got = waitpid(pid, &status, WNOHANG);

		if (got == pid)
			return status;
		if (got < 0 && errno != EINTR)
			return -1;
		if (n++ < 20)
			syscall(SYS_nanosleep, &(struct timespec){ 0, 100000 }, NULL);
		else
			test_sleep_ms(1);
	} while (test_now_ns() < end);
	return -1;
}

int test_run(char *const argv[], const char *out, const char *cwd, unsigned int ms)
{
	pid_t pid = test_spawn(argv, out, cwd);
	int status;

	if (pid < 0)
		return 127;
	status = test_wait(pid, ms);
	if (status < 0) {
		kill(pid, SIGKILL);
		test_wait(pid, test_wait_ms());
		return -1;
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

char test_proc_state(pid_t pid, pid_t *ppid)
{
	char path[64], buf[512], *p;
	int fd, n;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	buf[n] = 0;
	p = strrchr(buf, ')');
	if (!p)
		return 0;
	if (ppid)
		*ppid = atoi(p + 4);
	return p[2];
}

static bool has_running(pid_t pid)
{
	char *path = test_text("/proc/%d/task", pid);
	DIR *dir = opendir(path);
	bool found = false;

	for (struct dirent *e; dir && (e = readdir(dir));)
		found |= atoi(e->d_name) > 0 && test_proc_state(atoi(e->d_name), NULL) == 'R';
	if (dir)
		closedir(dir);
	free(path);
	return found;
}

void test_let_settle(const pid_t *pid, size_t n)
{
	int quiet = 0;

	for (int i = 0; i < SETTLE_MS && quiet < 3; i++) {
		bool any = false;

		for (size_t j = 0; j < n; j++)
			any |= has_running(pid[j]);
		quiet = any ? 0 : quiet + 1;
		usleep(1000);
	}
}

struct pair {
	pid_t pid, ppid;
};

static size_t list_processes(struct pair *v, size_t room)
{
	DIR *dir = opendir("/proc");
	struct dirent *e;
	size_t n = 0;

	while (dir && n < room && (e = readdir(dir))) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		v[n].pid = atoi(e->d_name);
		if (test_proc_state(v[n].pid, &v[n].ppid))
			n++;
	}
	if (dir)
		closedir(dir);
	return n;
}

/* Parents may have higher numbers than children: repeats until nothing is added. */
size_t test_descendants_of(pid_t root, pid_t *v, size_t room)
{
	static struct pair all[32768];
	size_t n_all = list_processes(all, ARRAY_SIZE(all)), n = 0;
	bool more = true;

	while (more) {
		more = false;
		for (size_t i = 0; i < n_all && n < room; i++) {
			bool mine = all[i].ppid == root;

			for (size_t j = 0; j < n && !mine; j++)
				mine = v[j] == all[i].ppid;
			if (!mine || !all[i].pid)
				continue;
			v[n++] = all[i].pid;
			all[i].pid = all[i].ppid = 0;
			more = true;
		}
	}
	return n;
}

size_t test_descendants(pid_t *v, size_t room)
{
	return test_descendants_of(getpid(), v, room);
}

/* Where tests are built with the sanitizer: stories leave their memory to the end of the process,
 * and have handlers and stacks of their own. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0:handle_segv=0:handle_sigbus=0:use_sigaltstack=0";
}

static bool reap_all(void)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG | __WALL)) > 0)
		;
	return pid < 0 && errno == ECHILD;
}

bool test_end_descendants(void)
{
	int64_t end = test_now_ns() + test_wait_ms() * 1000000ll;
	pid_t v[4096];

	while (!reap_all()) {
		size_t n = test_descendants(v, ARRAY_SIZE(v));

		for (size_t i = 0; i < n; i++)
			kill(v[i], SIGKILL);
		if (test_now_ns() > end)
			return false;
		test_sleep_ms(1);
	}
	return true;
}

char *test_status(pid_t pid, const char *key)
{
	char path[64], *text, *line, *save, *value = NULL;
	size_t len = strlen(key);

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	text = test_read(path, NULL);
	for (line = text ? strtok_r(text, "\n", &save) : NULL; line && !value;
	     line = strtok_r(NULL, "\n", &save))
		if (!strncmp(line, key, len) && line[len] == ':')
			value = strdup(line + len + 1 + strspn(line + len + 1, " \t"));
	free(text);
	return value;
}

pid_t test_inner_pid(pid_t pid)
{
	char *numbers = test_status(pid, "NSpid"), *last;
	pid_t inner = 0;

	if (numbers) {
		last = strrchr(numbers, '\t');
		inner = atoi(last ? last + 1 : numbers);
	}
	free(numbers);
	return inner;
}

pid_t test_child_with_inner_pid(pid_t inner)
{
	pid_t v[4096];
	size_t n = test_descendants(v, ARRAY_SIZE(v));

	for (size_t i = 0; i < n; i++)
		if (test_inner_pid(v[i]) == inner)
			return v[i];
	return 0;
}

void test_become_user(void)
{
	if (getuid() != 0)
		return;
	if (setgroups(0, NULL) < 0 || setresgid(TEST_UID, TEST_UID, TEST_UID) < 0 ||
	    setresuid(TEST_UID, TEST_UID, TEST_UID) < 0) {
		perror("cannot become an ordinary user");
		exit(99);
	}
	/* The change made us undumpable, and /proc/self root's; an exec of anything undoes it, we
	 * stay. */
	prctl(PR_SET_DUMPABLE, 1);
}
