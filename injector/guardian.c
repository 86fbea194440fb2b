/* SPDX-License-Identifier: Apache-2.0 */
/*
 * While a restore lets its processes go one by one, the death of ckpt would end those that are
 * still tied to it and leave the others. This process sees it (the pipe ends) and ends all of them,
 * unless the whole tree was on its own already.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>
#include <sys/wait.h>
#include "injector/job.h"

static void __attribute__((noreturn)) guard(struct ckpt_job *job, int fd)
{
	const struct ckpt_snapshot *snap = job->plan->snap;
	char c;

	setsid(); /* what is sent to our group is for ckpt */
	if (fd > 0)
		close_range(0, fd - 1, 0);
	close_range(fd + 1, ~0u, 0);
	while (read(fd, &c, 1) < 0 && errno == EINTR)
		;
	if (!__atomic_load_n(&job->gates->decided, __ATOMIC_SEQ_CST))
		for (size_t i = 0; i < snap->n_tasks; i++)
			if (job->slots[i].born)
				kill(snap->tasks[i]->pid, SIGKILL);
	_exit(0);
}

int ckpt_guardian_start(struct ckpt_job *job, struct ckpt_err *err)
{
	int ends[2];
	pid_t pid;

	if (getpid() == 1) /* with the init of a box all of it ends */
		return 0;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return ckpt_fail(err, -errno, "cannot make a pipe");
	pid = ckpt_numbers_fork(job->plan->snap);
	if (pid == 0) {
		close(ends[1]);
		guard(job, ends[0]);
	}
	if (pid < 0)
		ckpt_fail(err, -errno, "cannot fork");
	close(ends[0]);
	if (pid < 0) {
		close(ends[1]);
		return err->code;
	}
	job->guardian = pid;
	job->guarded = ends[1];
	return 0;
}

void ckpt_guardian_end(struct ckpt_job *job)
{
	if (!job->guardian)
		return;
	close(job->guarded);
	waitpid(job->guardian, NULL, 0);
	job->guardian = 0;
}
