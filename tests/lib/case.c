/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target's side of a case. It talks with the harness by files of the run's folder: ready.N and
 * verdict.N are written by process N of the story (0 is the root), "go" lets the checks begin.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "tests/lib/case.h"

#define ABANDONED_NS 180000000000ll /* no harness lives that long */

static char dir[256];
static int me; /* index of this process in the story */
static bool checking;
static int64_t gap_ns;

const char *case_dir(void)
{
	return dir;
}

int64_t case_gap_ns(void)
{
	return gap_ns;
}

static void verdict(const char *text)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/verdict.%d", dir, me);
	if (!test_write(path, "%s\n", text))
		_exit(98);
}

void case_fail(const char *fmt, ...)
{
	char text[1024] = "not ok - ";
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + 9, sizeof(text) - 9, fmt, ap);
	va_end(ap);
	if (!checking)
		strncat(text, " (in setup)", sizeof(text) - strlen(text) - 1);
	verdict(text);
	_exit(1);
}

void case_skip(const char *fmt, ...)
{
	char text[1024] = "skip - ";
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + 7, sizeof(text) - 7, fmt, ap);
	va_end(ap);
	verdict(text);
	_exit(77);
}

static bool appeared(const char *name)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

/* By raw sleeps: an early return is nothing to worry about, and no other state is touched. */
static void wait_for(const char *name)
{
	int64_t start = test_now_ns(), last = start, now = start;

	while (!appeared(name) && now - start < ABANDONED_NS) {
		struct timespec t = { 0, 2000000 };

		nanosleep(&t, NULL);
		now = test_now_ns();
		if (now - last > gap_ns)
			gap_ns = now - last;
		last = now;
	}
	if (!appeared(name))
		_exit(97);
}

static void live(void (*setup)(void), void (*check)(void))
{
	char path[300];

	if (setup)
		setup();
	snprintf(path, sizeof(path), "%s/ready.%d", dir, me);
	if (!test_write(path, "%d\n", getpid()))
		_exit(96);
	wait_for("go");
	checking = true;
	if (check)
		check();
	verdict("ok");
	wait_for("end");
	_exit(0);
}

/* Numbers are given out by creating files, since children may have children. */
static int next_index(void)
{
	char path[300];

	for (int i = 1; i < 1000; i++) {
		int fd;

		snprintf(path, sizeof(path), "%s/child.%d", dir, i);
		fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
		if (fd < 0)
			continue;
		close(fd);
		return i;
	}
	case_fail("too many children");
}

pid_t case_child(void (*setup)(void), void (*check)(void))
{
	int index = next_index();
	char name[32];
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		me = index;
		live(setup, check);
	}
	snprintf(name, sizeof(name), "ready.%d", index);
	if (!EVENTUALLY(appeared(name) || test_proc_state(pid, NULL) == 'Z') || !appeared(name))
		case_fail("child %d did not become ready", index);
	return pid;
}

void case_blocked(pid_t pid, pid_t tid, long nr)
{
	char path[64], want[32], *text;
	bool there = false;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid ? pid : getpid(),
		 tid ? tid : pid);
	snprintf(want, sizeof(want), "%ld ", nr);
	for (int i = 0; i < 5000 && !there; i++) {
		text = test_read(path, NULL);
		there = text && !strncmp(text, want, strlen(want));
		free(text);
		if (!there)
			test_sleep_ms(1);
	}
	if (!there)
		case_fail("thread %d does not reach system call %ld", tid, nr);
}

int case_target(const char *folder, const struct story *story)
{
	snprintf(dir, sizeof(dir), "%s", folder);
	live(story->setup, story->check);
	return 0;
}
