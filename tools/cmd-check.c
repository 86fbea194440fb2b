/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ckpt check: what this machine can do, feature by feature, each found out by
 * trying it; with -t whether a process tree can be dumped, and every reason why not.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/model/kind.h"
#include "tools/ckpt.h"

static int check_tree(struct ckpt_tool *t)
{
	const struct ckpt_dump_opts opts = {
		.pid = t->opts.tree,
		.dirfd = -1,
		.dir = "",
		.shell_job = t->opts.shell_job,
		.file_locks = t->opts.file_locks,
		.tcp_close = t->opts.tcp_close,
		.skip_in_flight = t->opts.skip_in_flight,
		.rules = &t->rules,
		.timeout_s = t->opts.timeout,
		.files = ckpt_tool_file_policy(&t->opts),
		.log = &t->log,
	};
	int r = ckpt_dump_check(&opts, t->arena, &t->problems, &t->err);

	if (r < 0)
		return r;
	if (t->problems.n)
		return -EINVAL;
	ckpt_print(STDOUT_FILENO, "process %d can be dumped\n", t->opts.tree);
	return 0;
}

struct tally {
	const char *only; /* a feature's name, NULL: all */
	unsigned int n_probed, n_missing, n_needed_missing;
};

static void row(struct tally *tally, const char *name, bool needed, int r, const char *more)
{
	tally->n_probed++;
	if (r < 0) {
		tally->n_missing++;
		tally->n_needed_missing += needed;
	}
	ckpt_print(STDOUT_FILENO, "%-8s %-*s%s\n", r < 0 ? "missing" : "ok", *more ? 31 : 0, name,
		   more);
}

static void probe_all(const struct ckpt_feature *f, struct ckpt_feature_site *site,
		      struct tally *tally)
{
	for (; f->name; f++) {
		char why[256];
		int r;

		site->detail[0] = 0;
		/* A later one may build on it: it is tried even where nobody asks. */
		r = f->probe(site);
		if (tally->only && strcmp(tally->only, f->name))
			continue;
		if (r < 0)
			snprintf(why, sizeof(why), "%s%s (%s)", f->needed ? "NEEDED: " : "",
				 f->cost, strerrordesc_np(-r));
		row(tally, f->name, f->needed, r, r < 0 ? why : site->detail);
	}
}

static void probe_kinds(struct tally *tally)
{
	for (unsigned int i = 0; i < ckpt_n_kinds; i++) {
		struct ckpt_err err = CKPT_ERR_INIT;
		char name[40];

		snprintf(name, sizeof(name), "kind %s", ckpt_kinds[i]->name);
		if (!ckpt_kinds[i]->supported || (tally->only && strcmp(tally->only, name)))
			continue;
		row(tally, name, false, ckpt_kinds[i]->supported(&err), err.text);
	}
}

/* Sleeps until it is killed, at the latest with us. */
static pid_t start_child(void)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

static int check_machine(struct ckpt_tool *t)
{
	struct ckpt_feature_site site = { .pidfd = -1 };
	struct tally tally = { .only = t->opts.feature };
	CKPT_FD event = eventfd(0, EFD_CLOEXEC);

	site.eventfd = event;
	site.child = start_child();
	if (event < 0 || site.child < 0)
		return ckpt_fail(&t->err, -errno, "check: cannot start a child to try things on");
	probe_all(ckpt_features_target, &site, &tally);
	kill(site.child, SIGKILL);
	waitpid(site.child, NULL, __WALL);
	if (site.pidfd >= 0)
		close(site.pidfd);
	probe_all(ckpt_features_own, &site, &tally);
	probe_kinds(&tally);
	if (!tally.n_probed)
		return ckpt_refuse(&t->err, CKPT_E_NONE, -EINVAL,
				   "%s: cannot probe: there is no such feature (see `ckpt check`)",
				   t->opts.feature);
	if (t->opts.feature)
		return tally.n_missing ? 3 : 0;
	if (tally.n_needed_missing)
		ckpt_print(STDOUT_FILENO,
			   "this machine cannot dump and restore: %u needed features are missing\n",
			   tally.n_needed_missing);
	else
		ckpt_print(STDOUT_FILENO, "this machine can dump and restore\n");
	return tally.n_needed_missing ? 3 : 0;
}

int ckpt_cmd_check(struct ckpt_tool *t)
{
	return t->opts.tree ? check_tree(t) : check_machine(t);
}
