/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each run of pages is cut at the chunks of the pages file; sorted by their place in it, those of a
 * chunk follow each other. Several may want the same pages.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/fd-of.h"
#include "engine/plan/lazy.h"
#include "injector/fill.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1 /* Linux 5.11 */
#endif
#define THREADS_MAX 8

int ckpt_fill_offer(const struct ckpt_job *job, const struct ckpt_task *task, struct ckpt_err *err)
{
	struct uffdio_api api = { .api = UFFD_API };

	if (job->plan->lazy != CKPT_LAZY_FILL || !ckpt_lazy_task(job->plan, task))
		return 0;
	CKPT_FD fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0 ||
	    dup3(fd, job->plan->uffd[task->id - 1], O_CLOEXEC) < 0)
		return ckpt_fail(err, -errno, "process %d: cannot make a userfaultfd", task->pid);
	return 0;
}

static uint32_t count_tasks(const struct ckpt_plan *plan)
{
	uint32_t n = 0;

	for (size_t i = 0; i < plan->snap->n_tasks; i++)
		n += ckpt_lazy_task(plan, plan->snap->tasks[i]);
	return n;
}

bool ckpt_fill_await_ms(const struct ckpt_job *job, unsigned int ms)
{
	return ckpt_gate_await_ms(&job->gates->mapped, count_tasks(job->plan), ms);
}

struct piece {
	uint64_t offset, len; /* of the pages, all in one chunk */
	uint64_t at;
	const struct ckpt_task *task;
};

struct fill {
	const struct ckpt_plan *plan;
	struct ckpt_arena *arena;
	const struct ckpt_task *task; /* whose pieces are added */
	int *uffd;                    /* by task id - 1; -1: none */
	struct piece *piece;
	size_t n, room;
	pthread_mutex_t lock;
	struct ckpt_err err; /* the first one, under LOCK */
};

static void add(void *arg, const struct ckpt_run *run)
{
	struct fill *f = arg;
	uint64_t len = run->n_pages * CKPT_PAGE;

	for (uint64_t done = 0, n; done < len; done += n) {
		uint64_t offset = run->offset + done, rest = CKPT_CHUNK - offset % CKPT_CHUNK;

		n = len - done < rest ? len - done : rest;
		f->piece = ckpt_grow(f->arena, f->piece, f->n, &f->room, 256, sizeof(*f->piece));
		f->piece[f->n++] = (struct piece){ offset, n, run->at + done, f->task };
	}
}

static int by_offset(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	return (x->offset > y->offset) - (x->offset < y->offset);
}

/* The first one from OFFSET on. */
static size_t first_from(const struct fill *f, uint64_t offset)
{
	size_t low = 0, high = f->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (f->piece[mid].offset < offset)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int copy(struct fill *f, const struct ckpt_task *task, uint64_t at, const char *from,
		uint64_t len)
{
	for (uint64_t done = 0; done < len;) {
		struct uffdio_copy c = { .dst = at + done,
					 .src = (uintptr_t)from + done,
					 .len = len - done };
		int code = ioctl(f->uffd[task->id - 1], UFFDIO_COPY, &c) < 0 ? -errno : 0;

		if (c.copy > 0)
			done += c.copy;
		else if (code && code != -EAGAIN) {
			pthread_mutex_lock(&f->lock);
			if (!f->err.code)
				ckpt_fail(&f->err, code, "process %d: page %#llx: cannot fill",
					  task->pid, (unsigned long long)c.dst);
			pthread_mutex_unlock(&f->lock);
			return code;
		}
	}
	return 0;
}

static int put(void *arg, uint64_t offset, const void *data, size_t len)
{
	struct fill *f = arg;
	uint64_t end = offset + len;
	size_t i = first_from(f, offset - offset % CKPT_CHUNK);
	int r = 0;

	for (; r >= 0 && i < f->n && f->piece[i].offset < end; i++) {
		const struct piece *p = &f->piece[i];
		uint64_t from = p->offset > offset ? p->offset : offset,
			 to = p->offset + p->len < end ? p->offset + p->len : end;

		if (from < to)
			r = copy(f, p->task, p->at + (from - p->offset),
				 (const char *)data + (from - offset), to - from);
	}
	return r;
}

static int open_all(struct fill *f, struct ckpt_err *err)
{
	const struct ckpt_snapshot *snap = f->plan->snap;

	for (size_t i = 0; i < snap->n_tasks; i++) {
		f->task = snap->tasks[i];
		if (!ckpt_lazy_task(f->plan, f->task))
			continue;
		f->uffd[i] = ckpt_fd_of(f->task->pid, f->plan->uffd[i]);
		if (f->uffd[i] < 0)
			return ckpt_fail(err, -errno, "process %d: cannot get its userfaultfd",
					 f->task->pid);
		ckpt_lazy_each(f->plan, f->task, add, f);
	}
	if (f->n)
		qsort(f->piece, f->n, sizeof(*f->piece), by_offset);
	return 0;
}

int ckpt_fill(struct ckpt_job *job, const struct ckpt_image *img, const bool *which,
	      struct ckpt_err *err)
{
	struct fill f = { .plan = job->plan,
			  .arena = job->arena,
			  .lock = PTHREAD_MUTEX_INITIALIZER };
	size_t n = job->plan->snap->n_tasks;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int r;

	f.uffd = ckpt_alloc(job->arena, n * sizeof(*f.uffd));
	memset(f.uffd, -1, n * sizeof(*f.uffd));
	r = open_all(&f, err);
	if (r >= 0)
		r = ckpt_image_put_chunks(img, which,
					  cpus < 1           ? 1 :
					  cpus > THREADS_MAX ? THREADS_MAX :
							       (unsigned int)cpus,
					  put, &f, err);
	for (size_t i = 0; i < n; i++)
		ckpt_close_fd(&f.uffd[i]);
	if (f.err.code)
		*err = f.err;
	else if (r >= 0)
		ckpt_gate_arrive(&job->gates->filled);
	return err->code ? err->code : r;
}
