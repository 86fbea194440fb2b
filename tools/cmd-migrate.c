/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ckpt migrate: a live dump whose stream goes into a restore at the other side, by ssh or whatever
 * else reaches it. The tree ends here only when it runs there (injector/handover.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "tools/ckpt.h"

#define END_MS 5000 /* for the other side, which has said its last word */
#define PATIENCE 6  /* with it, compared with --timeout: there is a network in between */

extern char **environ;

/* The process that reaches the other side. */
struct carrier {
	pid_t pid;
	int to, from; /* its standard input and output */
	const char *where;
};

static const char *remote_command(struct ckpt_tool *t)
{
	const struct ckpt_options *o = &t->opts;
	const char *name = o->remote_ckpt ? o->remote_ckpt : "ckpt";
	const char *more = o->remote_options ? o->remote_options : "";
	size_t size = strlen(name) + strlen(more) + 64;
	char *text = ckpt_alloc(t->arena, size);

	snprintf(text, size, "%s restore -D - -d --handover -v0%s %s", name,
		 o->shell_job ? " -j" : "", more);
	return text;
}

static int spawn(struct ckpt_tool *t, struct carrier *c, char *const *argv)
{
	posix_spawn_file_actions_t actions;
	int in[2], out[2], r;

	if (pipe2(in, O_CLOEXEC) < 0)
		return ckpt_fail(&t->err, -errno, "cannot make a pipe");
	if (pipe2(out, O_CLOEXEC) < 0) {
		close(in[0]);
		close(in[1]);
		return ckpt_fail(&t->err, -errno, "cannot make a pipe");
	}
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
	r = posix_spawnp(&c->pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(in[0]);
	close(out[1]);
	c->to = in[1];
	c->from = out[0];
	return r ? ckpt_fail(&t->err, -r, "%s: cannot run", argv[0]) : 0;
}

/* A network that is gone without a word must not keep the tree frozen. */
static int reach(struct ckpt_tool *t, struct carrier *c)
{
	char *command = (char *)remote_command(t);
	char *const ssh[] = { "ssh",
			      "-o",
			      "ServerAliveInterval=5",
			      "-o",
			      "ServerAliveCountMax=3",
			      "--",
			      (char *)c->where,
			      command,
			      NULL };
	size_t size = (t->opts.via ? strlen(t->opts.via) : 0) + 8;
	char *script = ckpt_alloc(t->arena, size);
	char *const shell[] = { "sh", "-c", script, "sh", command, NULL };

	if (!t->opts.via)
		return spawn(t, c, ssh);
	snprintf(script, size, "%s \"$1\"", t->opts.via);
	return spawn(t, c, shell);
}

/* Its standard input ends; whatever it does not end for ends it. */
static void part(struct carrier *c)
{
	static const int last[] = { SIGTERM, SIGKILL };
	CKPT_FD pidfd = c->pid ? pidfd_open(c->pid, 0) : -1;
	struct pollfd end = { .fd = pidfd, .events = POLLIN };

	ckpt_close_fd(&c->to);
	for (size_t i = 0; i < 2 && c->pid && pidfd >= 0 && poll(&end, 1, END_MS) == 0; i++)
		kill(c->pid, last[i]);
	if (c->pid)
		waitpid(c->pid, NULL, 0);
	ckpt_close_fd(&c->from);
}

static int read_words(struct ckpt_tool *t, struct carrier *c)
{
	const struct ckpt_options *o = &t->opts;
	char *end;
	long pid;

	errno = 0;
	pid = strtol(o->words[0], &end, 10);
	if (errno || *end || pid <= 0 || pid > INT_MAX)
		return ckpt_refuse(&t->err, CKPT_E_USAGE, -EINVAL,
				   "migrate: \"%s\" is not a process number", o->words[0]);
	t->opts.tree = pid;
	if ((o->n_words == 2) == (o->via != NULL))
		return ckpt_refuse(&t->err, CKPT_E_USAGE, -EINVAL,
				   "migrate: where to? a host, or a way --via");
	c->where = o->via ? "the other side" : o->words[1];
	return 0;
}

static int migrate(struct ckpt_tool *t, const struct carrier *c)
{
	struct ckpt_handover handover = { .to = c->to, .from = c->from, .where = c->where };
	struct ckpt_dump_opts opts;

	signal(SIGPIPE, SIG_IGN); /* who went away is an error of write(2) */
	t->opts.images_dir = c->where;
	t->dirfd = fcntl(c->to, F_DUPFD_CLOEXEC, 3);
	if (t->dirfd < 0)
		return ckpt_fail(&t->err, -errno, "%s: cannot use the pipe to it", c->where);
	opts = ckpt_tool_dump_opts(t);
	opts.live = true;
	handover.patience_s = PATIENCE * opts.timeout_s;
	opts.handover = &handover;
	return ckpt_tool_dump(t, &opts, "migrating", c->where);
}

int ckpt_cmd_migrate(struct ckpt_tool *t)
{
	struct carrier c = { .to = -1, .from = -1 };
	int r = read_words(t, &c);

	if (r >= 0)
		r = reach(t, &c);
	if (r >= 0)
		r = migrate(t, &c);
	ckpt_close_fd(&t->dirfd);
	t->dirfd = -1;
	part(&c);
	return r;
}
