/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the keeper of memory that comes later gets it. A userfaultfd is of the process that makes it:
 * tasks make theirs while they are still ours, with our privilege, and send them to the keeper,
 * which is there before they are.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/plan/lazy.h"
#include "injector/job.h"
#include "injector/lazy.h"

#define EVENTS                                                                            \
	(UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE | \
	 UFFD_FEATURE_EVENT_UNMAP)

struct note {
	uint32_t task;
	char room[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
	struct iovec iov;
	struct msghdr msg;
};

static void init_note(struct note *n)
{
	memset(n, 0, sizeof(*n));
	n->iov = (struct iovec){ &n->task, sizeof(n->task) };
	n->msg.msg_iov = &n->iov;
	n->msg.msg_iovlen = 1;
	n->msg.msg_control = n->room;
	n->msg.msg_controllen = sizeof(n->room);
}

static int open_channel(struct ckpt_job *job, struct ckpt_lazy_job *l, struct ckpt_err *err)
{
	int ends[2], theirs = job->plan->lazy_channel;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return ckpt_fail(err, -errno, "cannot make a socket");
	l->mine = ends[0];
	l->theirs = theirs;
	if (theirs < 0 || dup3(ends[1], theirs, O_CLOEXEC) < 0)
		ckpt_fail(err, theirs < 0 ? -EMFILE : -errno, "cannot keep a socket");
	close(ends[1]);
	return err->code;
}

int ckpt_lazy_open(struct ckpt_job *job, const struct ckpt_image *img,
		   const struct ckpt_restore_run *run, bool *needed, struct ckpt_err *err)
{
	const struct ckpt_plan *plan = job->plan;
	struct ckpt_lazy_job *l = ckpt_new(job->arena, struct ckpt_lazy_job);

	if (!plan->opts->lazy)
		return 0;
	for (size_t i = 0; i < plan->snap->n_tasks; i++)
		l->to_come += ckpt_lazy_task(plan, plan->snap->tasks[i]);
	if (!l->to_come)
		return 0;
	l->job = job;
	l->img = img;
	l->detached = run->detached || run->sibling;
	l->dirfd = run->dirfd;
	l->control = l->mine = l->theirs = -1;
	l->needed = needed;
	job->lazy = l;
	if (!ckpt_lazy_reserve(l, l->to_come))
		return ckpt_fail(err, -ENOMEM, "no memory for %zu address spaces", l->to_come);
	return plan->opts->lazy == CKPT_LAZY_SERVE ? open_channel(job, l, err) : 0;
}

/* ---- in a task ---- */

static int send_fd(int channel, uint32_t task, int fd)
{
	struct note n;
	struct cmsghdr *c;

	init_note(&n);
	n.task = task;
	c = CMSG_FIRSTHDR(&n.msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(channel, &n.msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int ckpt_lazy_send(struct ckpt_job *job, const struct ckpt_task *task, struct ckpt_err *err)
{
	struct uffdio_api api = { .api = UFFD_API, .features = EVENTS };
	int number = job->plan->opts->lazy == CKPT_LAZY_SERVE ? job->plan->uffd[task->id - 1] : -1;
	int r;

	if (!job->lazy || job->plan->opts->lazy != CKPT_LAZY_SERVE ||
	    !ckpt_lazy_task(job->plan, task))
		return 0;
	CKPT_FD fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0)
		return ckpt_refuse(err, CKPT_E_LAZY_PRIVILEGE, -errno,
				   "process %d: page faults cannot be served (userfaultfd(2)): %s",
				   task->pid, strerror(errno));
	if (number < 0 || dup3(fd, number, O_CLOEXEC) < 0)
		return ckpt_fail(err, -EMFILE, "process %d: cannot keep a userfaultfd", task->pid);
	r = send_fd(job->plan->lazy_channel, task->id, fd);
	return r < 0 ? ckpt_fail(err, r, "process %d: cannot send a userfaultfd", task->pid) : 0;
}

/* ---- in the keeper ---- */

static void add_run(void *arg, const struct ckpt_run *run)
{
	struct ckpt_lazy_mm *mm = arg;

	if (!ckpt_absent_add(&mm->absent, *run))
		mm->uffd = -1;
}

static int add_task(struct ckpt_lazy_job *l, uint32_t id, int uffd, struct ckpt_err *err)
{
	struct ckpt_lazy_mm *mm = &l->mm[l->n_mm++];

	*mm = (struct ckpt_lazy_mm){ .uffd = uffd, .task = id, .will = -1 };
	ckpt_lazy_each(l->job->plan, l->job->plan->snap->tasks[id - 1], add_run, mm);
	return mm->uffd < 0 ? ckpt_fail(err, -ENOMEM, "no memory for the list of absent pages") : 0;
}

static int receive(struct ckpt_lazy_job *l, struct ckpt_err *err)
{
	struct cmsghdr *c;
	struct note n;
	int fd;

	init_note(&n);
	if (recvmsg(l->mine, &n.msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) != sizeof(n.task))
		return ckpt_fail(err, -errno, "cannot receive a userfaultfd");
	c = CMSG_FIRSTHDR(&n.msg);
	if (!c || c->cmsg_type != SCM_RIGHTS || !n.task || n.task > l->job->plan->snap->n_tasks ||
	    l->n_mm == l->to_come)
		return ckpt_fail(err, -EBADMSG, "cannot receive a userfaultfd");
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return add_task(l, n.task, fd, err);
}

int ckpt_lazy_collect(struct ckpt_lazy_job *l, struct ckpt_err *err)
{
	struct pollfd p[2] = { { l->mine, POLLIN, 0 }, { l->control, POLLIN, 0 } };
	int r = 0;

	while (r >= 0 && l->n_mm < l->to_come) {
		if (poll(p, 2, -1) < 0)
			continue;
		if (p[1].revents)
			return -ECANCELED; /* the coordinator has come to an end, and says why */
		r = receive(l, err);
	}
	ckpt_close_fd(&l->mine);
	l->mine = -1;
	return r;
}

/* ---- in the coordinator ---- */

static int share(struct ckpt_lazy_job *l, struct ckpt_err *err)
{
	size_t size = CKPT_LAZY_SLOTS * (size_t)CKPT_CHUNK;
	uint8_t *slots =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (slots == MAP_FAILED)
		return ckpt_fail(err, -errno, "cannot map %zu bytes", size);
	for (size_t i = 0; i < CKPT_LAZY_SLOTS; i++) {
		l->slot[i] = slots + i * CKPT_CHUNK;
		l->chunk[i] = UINT64_MAX;
	}
	l->msg = ckpt_alloc(l->job->arena, CKPT_LAZY_BATCH * sizeof(*l->msg));
	l->pidfd = ckpt_alloc(l->job->arena, l->job->plan->snap->n_tasks * sizeof(*l->pidfd));
	return 0;
}

int ckpt_lazy_start(struct ckpt_job *job, struct ckpt_err *err)
{
	struct ckpt_lazy_job *l = job->lazy;
	int ends[2], r;
	pid_t pid;

	if (!l)
		return 0;
	r = share(l, err);
	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return ckpt_fail(err, -errno, "cannot make a socket");
	l->control = ends[0];
	pid = ckpt_numbers_fork(job->plan->snap);
	if (pid == 0)
		ckpt_lazy_keep(l);
	if (pid < 0)
		ckpt_fail(err, -errno, "cannot fork");
	close(ends[0]);
	l->control = ends[1];
	ckpt_close_fd(&l->mine);
	l->mine = -1;
	return err->code;
}

int ckpt_lazy_await_ms(struct ckpt_job *job, unsigned int ms, struct ckpt_err *err)
{
	struct ckpt_lazy_job *l = job->lazy;
	struct pollfd p = { l->control, POLLIN, 0 };
	struct ckpt_err theirs;
	ssize_t n;

	ckpt_close_fd(&l->theirs); /* all tasks that need it have it from here on */
	l->theirs = -1;
	if (poll(&p, 1, ms) <= 0)
		return 0;
	n = recv(l->control, &theirs, sizeof(theirs), 0);
	if (n == sizeof(theirs)) {
		*err = theirs;
		return err->code;
	}
	return n == 1 ? 1 :
			ckpt_fail(err, -ECHILD,
				  "the process that brings in memory later does not start");
}

void ckpt_lazy_over(struct ckpt_lazy_job *l, struct ckpt_err *err)
{
	struct ckpt_err theirs;
	ssize_t n;

	if (!l)
		return;
	while (err->code && l->control >= 0 &&
	       (n = recv(l->control, &theirs, sizeof(theirs), MSG_DONTWAIT)) > 0)
		if (n == sizeof(theirs))
			*err = theirs;
	if (l->control >= 0)
		close(l->control);
	free(l->poll);
	free(l->mm);
}
