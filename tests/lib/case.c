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

#define GAP_NS 50000000             /* nobody waits as long for his turn, on a quiet machine */
#define WAITS_IN 65536              /* of its stack */
#define ABANDONED_NS 180000000000ll /* no harness lives that long */

/* A page of its own: what is in it changes while the process waits. */
static union {
	struct {
		char dir[256];
		int me; /* index of this process in the story */
		bool checking;
		int64_t gap_ns;
	};
	char page[4096];
} self __attribute__((aligned(4096)));

const char *case_dir(void)
{
	return self.dir;
}

int64_t case_gap_ns(void)
{
	return self.gap_ns;
}

static void verdict(const char *text)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/verdict.%d", self.dir, self.me);
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
	if (!self.checking)
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

	snprintf(path, sizeof(path), "%s/%s", self.dir, name);
	return access(path, F_OK) == 0;
}

/* By raw sleeps: an early return is nothing to worry about, and no other state is touched. */
static int64_t wait_once(int64_t last)
{
	struct timespec t = { 0, 2000000 };
	int64_t now;

	nanosleep(&t, NULL);
	now = test_now_ns();
	if (now - last > GAP_NS)
		self.gap_ns += now - last;
	return now;
}

static void wait_for(const char *name)
{
	int64_t start = test_now_ns(), last = start;

	while (!appeared(name) && last - start < ABANDONED_NS)
		last = wait_once(last);
	if (!appeared(name))
		_exit(97);
}

/* What it uses of its stack while it waits, and where it keeps notes, is told to the harness. */
static void live(void (*setup)(void), void (*check)(void))
{
	char path[300];
	uintptr_t end;

	if (setup)
		setup();
	wait_once(test_now_ns()); /* the first time, symbols are bound */
	appeared("go");
	snprintf(path, sizeof(path), "%s/ready.%d", self.dir, self.me);
	end = (uintptr_t)__builtin_frame_address(0);
	if (!test_write(path, "%d %lx-%lx %lx-%lx %lx-%lx\n", getpid(), (uintptr_t)&self,
			(uintptr_t)(&self + 1), end - WAITS_IN, end, (uintptr_t)&errno,
			(uintptr_t)(&errno + 1)))
		_exit(96);
	wait_for("go");
	self.checking = true;
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

		snprintf(path, sizeof(path), "%s/child.%d", self.dir, i);
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
		self.me = index;
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
	snprintf(self.dir, sizeof(self.dir), "%s", folder);
	live(story->setup, story->check);
	return 0;
}
