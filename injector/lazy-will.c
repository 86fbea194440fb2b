/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last will of server and keeper. When both are killed at once nobody holds the userfaultfds
 * any more, and absent pages read as zeroes: before that the kernel kills the tree. It does so by
 * signal-driven I/O, with SIGKILL in place of SIGIO, when a pipe loses its last writer. A process
 * that ends lets go of its files from the highest number down (Linux 4.3): the writing end stands
 * above the reading ends, one for each process of the tree, and these above all userfaultfds.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "injector/freeze.h"
#include "injector/job.h"
#include "injector/lazy.h"

#define LOWEST 256 /* userfaultfds of processes that are forked later are below */
#define MS 1000000ull
#define LOOKS 5 /* after a fork, for the child is not there yet, each later than the one before */

/* Kills PID when the writing end is gone. -1: it has ended, or there is no more room. */
static int make_end(const struct ckpt_lazy_job *l, pid_t pid)
{
	char path[40];
	int end;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", l->will_read);
	CKPT_FD low = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	end = low < 0 ? -1 : fcntl(low, F_DUPFD_CLOEXEC, l->will_lowest);
	if (end < 0)
		return -1;
	if (end < l->will_write && !fcntl(end, F_SETOWN, pid) && !fcntl(end, F_SETSIG, SIGKILL) &&
	    !fcntl(end, F_SETFL, O_NONBLOCK | O_ASYNC))
		return end;
	close(end);
	return -1;
}

void ckpt_lazy_make_will(struct ckpt_lazy_job *l)
{
	const struct ckpt_snapshot *snap = l->job->plan->snap;
	int ends[2];

	l->will_read = l->will_write = -1;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return;
	l->will_read = ends[0];
	l->will_lowest = LOWEST + 2 * (int)snap->n_tasks;
	l->will_write = fcntl(ends[1], F_DUPFD_CLOEXEC,
			      l->will_lowest + (int)snap->n_tasks + CKPT_LAZY_FORKED);
	close(ends[1]);
	for (size_t i = 0; l->will_write >= 0 && i < l->n_mm; i++)
		l->mm[i].will = make_end(l, snap->tasks[l->mm[i].task - 1]->pid);
}

/* ---- processes that the tree has forked since ---- */

void ckpt_lazy_forked(struct ckpt_lazy_job *l)
{
	l->looks = LOOKS;
	l->look_at = ckpt_now_ns() + MS;
}

static bool is_named(const struct ckpt_lazy_job *l, pid_t pid)
{
	const struct ckpt_snapshot *snap = l->job->plan->snap;

	for (size_t i = 0; i < snap->n_tasks; i++)
		if (snap->tasks[i]->pid == pid)
			return true;
	for (size_t i = 0; i < l->n_forked; i++)
		if (l->forked[i].pid == pid)
			return true;
	return false;
}

void ckpt_lazy_name_forked(struct ckpt_lazy_job *l)
{
	static pid_t v[CKPT_LAZY_FAMILY];
	size_t n;

	if (!l->looks || ckpt_now_ns() < l->look_at)
		return;
	l->look_at = ckpt_now_ns() + (MS << 2 * (LOOKS - --l->looks));
	n = ckpt_lazy_family(l, v);
	for (size_t i = 0; i < n && l->n_forked < CKPT_LAZY_FORKED; i++) {
		if (is_named(l, v[i]))
			continue;
		l->forked[l->n_forked] = (struct ckpt_lazy_forked){ v[i], make_end(l, v[i]) };
		l->n_forked += l->forked[l->n_forked].will >= 0;
	}
}

/* Nothing is absent any more. */
void ckpt_lazy_end_will(struct ckpt_lazy_job *l)
{
	for (size_t i = 0; i < l->n_forked; i++)
		ckpt_close_fd(&l->forked[i].will);
	l->n_forked = 0;
}
