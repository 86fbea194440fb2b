/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers that are being given back. Since Linux 6.15 a thread is out of sight, and its process has
 * ended to whoever waits for it, before its number can be had again; where the processors are busy
 * that takes its time. A restore right after the dump would find it taken by nobody.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "injector/job.h"

#define AWAIT_MS 2000
#define TRIES 10000

/* F_SETOWN looks for the number and not for who has it. */
static bool is_nobodys(int fd, pid_t tid)
{
	return fcntl(fd, F_SETOWN, tid) == 0 && kill(tid, 0) < 0 && errno == ESRCH;
}

static bool is_wanted(const struct ckpt_snapshot *snap, pid_t pid)
{
	for (size_t t = 0; t < snap->n_tasks; t++) {
		const struct ckpt_task *task = snap->tasks[t];

		if (task->pid == pid || task->sid == pid || task->pgid == pid)
			return true;
		for (size_t i = 0; i < task->n_threads; i++)
			if (task->threads[i].tid == pid)
				return true;
	}
	return false;
}

pid_t ckpt_numbers_fork(const struct ckpt_snapshot *snap)
{
	for (int i = 0; i < TRIES; i++) {
		pid_t pid = fork();

		if (pid == 0 && ckpt_numbers_are_wanted(snap))
			_exit(1);
		if (pid <= 0 || !is_wanted(snap, pid))
			return pid;
		waitpid(pid, NULL, 0);
	}
	errno = EAGAIN;
	return -1;
}

bool ckpt_numbers_are_wanted(const struct ckpt_snapshot *snap)
{
	return is_wanted(snap, getpid());
}

void ckpt_numbers_await(const struct ckpt_snapshot *snap)
{
	struct timespec ms = { 0, 1000000 };
	CKPT_FD fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int left = AWAIT_MS;

	for (size_t t = 0; fd >= 0 && t < snap->n_tasks; t++) {
		const struct ckpt_task *task = snap->tasks[t];

		for (; left && is_nobodys(fd, task->pid); left--)
			nanosleep(&ms, NULL);
		for (size_t i = 1; i < task->n_threads; i++)
			for (; left && is_nobodys(fd, task->threads[i].tid); left--)
				nanosleep(&ms, NULL);
	}
}
