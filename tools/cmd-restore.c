/* SPDX-License-Identifier: Apache-2.0 */
/* ckpt restore: brings a process tree back. Without -d it ends as the root of the tree ends. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tools/net.h"

static void started(const struct ckpt_restore_stats *stats, void *arg)
{
	struct ckpt_tool *t = arg;

	ckpt_bar_end(t);
	ckpt_report_notes(stats->losses, stats->n_losses);
	ckpt_report_restore(t, stats);
}

/* Standard output is for answers: what is said goes with the messages. */
static int be_handed(struct ckpt_tool *t, struct ckpt_restore_run *run, struct ckpt_handover *h)
{
	if (strcmp(t->opts.images_dir, "standard input") || !run->detached)
		return ckpt_refuse(&t->err, CKPT_E_USAGE, -EINVAL,
				   "--handover: only with -D - and -d");
	h->to = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	if (h->to < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		return ckpt_fail(&t->err, -errno, "standard output: cannot use it");
	run->handover = h;
	return 0;
}

/* The memory comes by way of the one that waits in the work folder. */
static int be_lent(struct ckpt_tool *t, struct ckpt_restore_run *run, struct ckpt_handover *h)
{
	if (t->opts.handover || !strcmp(t->opts.images_dir, "standard input") ||
	    run->plan.lazy == CKPT_LAZY_MAP)
		return ckpt_refuse(&t->err, CKPT_E_USAGE, -EINVAL,
				   "--lazy-pages: only with an image in a folder, not --lazy=map");
	h->to = h->from = ckpt_net_connect_at(t, ckpt_work_path(t, CKPT_LAZY_SOCKET));
	if (h->to < 0) {
		t->err.number = CKPT_E_LENDER;
		return h->to;
	}
	signal(SIGPIPE, SIG_IGN); /* who went away is an error of write(2) */
	h->where = "ckpt lazy-pages";
	run->handover = h;
	run->lent = true;
	run->plan.lazy = CKPT_LAZY_SERVE;
	return 0;
}

int ckpt_cmd_restore(struct ckpt_tool *t)
{
	struct ckpt_restore_run run = {
		.dirfd = t->dirfd,
		.dir = t->opts.images_dir,
		.detached = t->opts.detached,
		.sibling = t->opts.sibling,
		.pidfile = t->opts.pidfile ? ckpt_work_path(t, t->opts.pidfile) : NULL,
		.log = &t->log,
	};
	struct ckpt_handover handover = { .from = t->dirfd, .where = "the sender" };
	const char *unused =
		"--auto-dedup: a restore uses no image up: remove it when it is done with";
	struct ckpt_restore_stats stats = { 0 };
	int r = ckpt_tool_restore_opts(t, &run.plan);

	if (t->opts.auto_dedup)
		ckpt_report_notes(&unused, 1);
	if (r >= 0 && t->opts.handover)
		r = be_handed(t, &run, &handover);
	if (r >= 0 && t->opts.lazy_pages)
		r = be_lent(t, &run, &handover);
	if (r < 0)
		return r;
	ckpt_bar_begin(t, "restoring");
	r = ckpt_restore(&run, t->arena, &stats, started, t, &t->problems, &t->err);
	ckpt_bar_end(t);
	if (r < 0)
		return r;
	if (run.detached)
		return 0;
	return WIFSIGNALED(stats.exit_status) ? 128 + WTERMSIG(stats.exit_status) :
						WEXITSTATUS(stats.exit_status);
}
