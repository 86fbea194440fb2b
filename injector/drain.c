/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/clocks.h"
#include "engine/base/fd-of.h"
#include "engine/plan/tty.h"
#include "injector/drain.h"

#define AT_MOST_NS 200000000ull
#define NAP_NS 20000

static void add(struct ckpt_drain *d, pid_t pid, int number)
{
	int fd = ckpt_fd_of(pid, number);

	if (fd >= 0)
		d->fd[d->n++] = fd;
}

void ckpt_drain_open(struct ckpt_drain *d, const struct ckpt_snapshot *snap)
{
	d->n = 0;
	for (size_t i = 0; snap && i < snap->n_tasks; i++) {
		const struct ckpt_task *task = snap->tasks[i];

		for (size_t k = 0; k < task->n_fds && d->n < CKPT_DRAIN_MAX; k++) {
			const struct ckpt_object *obj =
				ckpt_snapshot_object(snap, task->fds[k].object);

			if (obj && obj->task == task->id && ckpt_tty_unread(obj))
				add(d, task->pid, task->fds[k].number);
		}
	}
}

void ckpt_drain_close(struct ckpt_drain *d)
{
	while (d->n)
		close(d->fd[--d->n]);
}

static bool is_empty(const struct ckpt_drain *d)
{
	for (size_t i = 0; i < d->n; i++) {
		int unread;

		if (ioctl(d->fd[i], FIONREAD, &unread) == 0 && unread)
			return false;
	}
	return true;
}

void ckpt_drain_await(const struct ckpt_drain *d)
{
	uint64_t until = ckpt_now_ns() + AT_MOST_NS;

	while (d && !is_empty(d) && ckpt_now_ns() < until)
		nanosleep(&(struct timespec){ .tv_nsec = NAP_NS }, NULL);
}
