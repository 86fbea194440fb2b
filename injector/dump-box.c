/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A dump of what was restored in a box (box.c). A child enters the namespaces and dumps from
 * inside. It lives in the box then and dies with the box' init as soon as the tree is killed, so it
 * reports before that: problems and result through a pipe.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "injector/box.h"
#include "injector/dump.h"
#include "injector/ptrace.h"

#define TEXT 1024

/* What comes through the pipe: problems and losses, then one end. */
struct message {
	enum { PROBLEM, LOSS, END } what;
	enum ckpt_code number;
	char text[TEXT];
	struct ckpt_err err; /* END */
	struct ckpt_dump_stats stats;
	int result;
};

/* ---- is it in a box? ---- */

/* The last number in the line "NSpid:" of status is that in the innermost namespace. */
static pid_t inner_pid(pid_t pid, pid_t *ppidp, char *name, size_t size)
{
	char path[32], line[256];
	pid_t inner = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "Name:\t", 6))
			snprintf(name, size, "%.*s", (int)strcspn(line + 6, "\n"), line + 6);
		else if (!strncmp(line, "PPid:", 5))
			*ppidp = atoi(line + 5);
		else if (!strncmp(line, "NSpid:", 6))
			inner = atoi(strrchr(line, '\t') + 1);
	}
	if (f)
		fclose(f);
	return inner;
}

/* 1: it is in the same one as we are, 0: in another one, -1: we are not told. */
static int same_namespace(pid_t pid, const char *name)
{
	char path[48], own[32];
	struct stat a, b;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, name);
	snprintf(own, sizeof(own), "/proc/self/ns/%s", name);
	return stat(path, &a) < 0 || stat(own, &b) < 0 ? -1 : a.st_ino == b.st_ino;
}

/* Up to the init of the namespace: if that is one of ours, and not of the namespace that we are in,
 * its number; else 0. The kernel shows more of it than of a process that is not dumpable. */
static pid_t box_of(pid_t pid)
{
	if (same_namespace(pid, "pid") == 1)
		return 0;
	for (int i = 0; i < 10000 && pid > 0; i++) {
		char name[32] = "";
		pid_t parent = 0, inner = inner_pid(pid, &parent, name, sizeof(name));

		if (inner == 1)
			return !strcmp(name, CKPT_BOX_NAME) && !same_namespace(pid, "pid") ? pid :
											     0;
		if (!inner)
			return 0;
		pid = parent;
	}
	return 0;
}

/* ---- the child inside ---- */

static void send(int channel, const struct message *m)
{
	while (write(channel, m, sizeof(*m)) < 0 && errno == EINTR)
		;
}

static void send_text(int channel, int what, enum ckpt_code number, const char *text)
{
	struct message m = { .what = what, .number = number };

	snprintf(m.text, sizeof(m.text), "%s", text);
	send(channel, &m);
}

struct inside {
	int channel;
	bool ended;
};

static void send_end(struct inside *in, const struct ckpt_dump_stats *stats, int result,
		     const struct ckpt_err *err)
{
	struct message m = { .what = END, .result = result, .err = *err, .stats = *stats };

	if (in->ended)
		return;
	in->ended = true;
	for (size_t i = 0; i < stats->n_losses; i++)
		send_text(in->channel, LOSS, CKPT_E_NONE, stats->losses[i]);
	if (stats->note)
		send_text(in->channel, LOSS, CKPT_E_NONE, stats->note);
	m.stats.note = NULL;
	m.stats.losses = NULL;
	m.stats.n_losses = 0;
	send(in->channel, &m);
}

static void committed(void *arg, const struct ckpt_dump_stats *stats)
{
	struct ckpt_err none = CKPT_ERR_INIT;

	send_end(arg, stats, 0, &none);
}

static void __attribute__((noreturn)) inside_main(const struct ckpt_dump_opts *opts, pid_t inner,
						  bool check, struct ckpt_arena *arena, int channel)
{
	struct ckpt_problems problems = { .arena = arena };
	struct inside in = { .channel = channel };
	struct ckpt_dump_opts mine = *opts;
	struct ckpt_dump_stats stats = { 0 };
	struct ckpt_err err = CKPT_ERR_INIT;
	int r;

	prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0); /* a dump that is asked to stop takes all back */
	mine.pid = inner;
	mine.committed = committed;
	mine.committed_arg = &in;
	r = check ? ckpt_dump_check(&mine, arena, &problems, &err) :
		    ckpt_dump(&mine, arena, &stats, &problems, &err);
	for (size_t i = 0; i < problems.n; i++)
		send_text(channel, PROBLEM, problems.v[i].number, problems.v[i].text);
	send_end(&in, &stats, r, &err);
	_exit(0);
}

/* Enters; the pid namespace is that of children only, hence one more fork. */
static void __attribute__((noreturn))
enter_main(const struct ckpt_dump_opts *opts, pid_t inner, bool check, int pidfd,
	   struct ckpt_arena *arena, int channel)
{
	struct inside in = { .channel = channel };
	struct ckpt_dump_stats stats = { 0 };
	struct ckpt_err err = CKPT_ERR_INIT;
	int ipc = same_namespace(opts->pid, "ipc") ? 0 : CLONE_NEWIPC;
	pid_t pid = -1;

	if (setns(pidfd, CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | ipc) < 0)
		ckpt_refuse(&err, CKPT_E_NAMESPACE, -errno,
			    "process %d: its namespaces cannot be entered: %s", opts->pid,
			    strerror(errno));
	else if ((pid = fork()) < 0)
		ckpt_fail(&err, -errno, "cannot fork into the namespaces of process %d", opts->pid);
	if (pid == 0)
		inside_main(opts, inner, check, arena, channel);
	if (pid < 0)
		send_end(&in, &stats, err.code, &err);
	prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
	close(channel);
	waitpid(pid, NULL, 0);
	_exit(0);
}

/* ---- the caller ---- */

static int receive(int channel, struct ckpt_arena *arena, struct ckpt_dump_stats *stats,
		   struct ckpt_problems *problems, struct ckpt_err *err)
{
	const char **losses = NULL;
	struct message m;
	size_t n = 0, room = 0;

	for (;;) {
		ssize_t got = read(channel, &m, sizeof(m));

		if (got < 0 && errno == EINTR)
			continue;
		if (got != sizeof(m))
			return ckpt_fail(
				err, got < 0 ? -errno : -ECHILD,
				"the dump inside of the namespaces ended without a report");
		m.text[TEXT - 1] = '\0';
		if (m.what == PROBLEM) {
			ckpt_problem_add(problems, m.number, "%s", m.text);
		} else if (m.what == LOSS) {
			losses = ckpt_grow(arena, losses, n, &room, 8, sizeof(*losses));
			losses[n++] = ckpt_strdup(arena, m.text);
		} else {
			break;
		}
	}
	*stats = m.stats;
	stats->losses = losses;
	stats->n_losses = n;
	*err = m.err;
	return m.result;
}

int ckpt_dump_in_box(const struct ckpt_dump_opts *opts, bool check, struct ckpt_arena *arena,
		     struct ckpt_dump_stats *stats, struct ckpt_problems *problems,
		     struct ckpt_err *err)
{
	uint64_t start = ckpt_now_ns();
	char name[32];
	pid_t ppid, inner, pid, init = box_of(opts->pid);
	int ends[2], r;

	if (!init)
		return 1;
	inner = inner_pid(opts->pid, &ppid, name, sizeof(name));
	CKPT_FD pidfd = syscall(SYS_pidfd_open, init, 0);
	if (pidfd < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return ckpt_fail(err, -errno, "process %d: cannot be opened", opts->pid);
	if (!problems->arena)
		problems->arena = arena;
	pid = fork();
	if (pid == 0) {
		close(ends[0]);
		enter_main(opts, inner, check, pidfd, arena, ends[1]);
	}
	close(ends[1]);
	r = pid < 0 ? ckpt_fail(err, -errno, "cannot fork") :
		      receive(ends[0], arena, stats, problems, err);
	close(ends[0]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	stats->total_ns = ckpt_now_ns() - start;
	return r;
}
