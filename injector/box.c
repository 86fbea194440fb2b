/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User, pid and mount namespaces made by an ordinary user; uid and gid are mapped to themselves.
 * The init of the box is this program: it restores, then reaps until nothing is left. A /proc of
 * its own keeps /proc/self right.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/plan/plan.h"
#include "injector/box.h"

struct report {
	struct ckpt_err err; /* code 0: it runs */
	int status;          /* second report: how the root ended */
};

static int write_text(const char *path, const char *text, struct ckpt_err *err)
{
	CKPT_FD fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return ckpt_fail(err, -errno, "%s: cannot write", path);
	return 0;
}

/* In the init, which is born inside: the maps, and mounts of its own. */
static int settle(uid_t uid, gid_t gid, struct ckpt_err *err)
{
	char map[64];
	int r = write_text("/proc/self/setgroups", "deny", err);

	snprintf(map, sizeof(map), "%u %u 1", uid, uid);
	if (r >= 0)
		r = write_text("/proc/self/uid_map", map, err);
	snprintf(map, sizeof(map), "%u %u 1", gid, gid);
	if (r >= 0)
		r = write_text("/proc/self/gid_map", map, err);
	if (r < 0)
		return r;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return ckpt_fail(err, -errno, "mounts: cannot make them private");
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return ckpt_fail(err, -errno, "/proc: cannot mount that of the namespace");
	return 0;
}

static void send_report(int channel, const struct report *rep)
{
	while (write(channel, rep, sizeof(*rep)) < 0 && errno == EINTR)
		;
}

/* Standard streams of the caller must not be held open for as long as the program lives. */
static void let_go_of_caller(int channel, bool detached)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; null >= 0 && fd < 3; fd++)
		dup2(null, fd);
	if (detached)
		close(channel);
}

static void __attribute__((noreturn))
init_main(const struct ckpt_plan *plan, const struct ckpt_image *img,
	  const struct ckpt_restore_run *run, struct ckpt_arena *arena, int channel, uid_t uid,
	  gid_t gid)
{
	struct report rep = { .err = CKPT_ERR_INIT };
	pid_t root = plan->snap->tasks[0]->pid, pid;
	int status;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	prctl(PR_SET_NAME, CKPT_BOX_NAME, 0, 0, 0);
	signal(SIGPIPE, SIG_IGN);
	if (!run->plan.shell_job) /* the caller's session must not keep a member for as long as the
				     box lives */
		setsid();
	if (settle(uid, gid, &rep.err) >= 0)
		ckpt_restore_here(plan, img, run, arena, &rep.err);
	if (!rep.err.code)
		prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
	send_report(channel, &rep);
	if (rep.err.code)
		_exit(1);
	let_go_of_caller(channel, run->detached);
	while ((pid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		if (pid != root)
			continue;
		rep.status = status;
		if (!run->detached)
			send_report(channel, &rep);
	}
	_exit(WIFEXITED(rep.status) ? WEXITSTATUS(rep.status) : 128 + WTERMSIG(rep.status));
}

/* The root is the child of the init that has the number of the snapshot inside. */
static pid_t find_root(pid_t init, pid_t inside)
{
	char name[64], text[4096], *next;
	ssize_t n;

	snprintf(name, sizeof(name), "/proc/%d/task/%d/children", init, init);
	CKPT_FD fd = open(name, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	for (char *p = text;; p = next) {
		pid_t pid = strtol(p, &next, 10);
		char status[64], *line = NULL;
		size_t room = 0;
		pid_t last = 0;
		FILE *f;

		if (next == p)
			return 0;
		snprintf(status, sizeof(status), "/proc/%d/status", pid);
		f = fopen(status, "re");
		while (f && getline(&line, &room, f) > 0)
			if (!strncmp(line, "NSpid:", 6))
				last = atoi(strrchr(line, '\t'));
		free(line);
		if (f)
			fclose(f);
		if (last == inside)
			return pid;
	}
}

static int read_report(struct ckpt_box *box, struct report *rep, struct ckpt_err *err)
{
	ssize_t n;

	while ((n = read(box->channel, rep, sizeof(*rep))) < 0 && errno == EINTR)
		;
	if (n != sizeof(*rep))
		return ckpt_fail(err, n < 0 ? -errno : -ECHILD,
				 "the init of the namespace ended without a report");
	return 0;
}

int ckpt_box_restore(struct ckpt_box *box, const struct ckpt_plan *plan,
		     const struct ckpt_image *img, const struct ckpt_restore_run *run,
		     struct ckpt_arena *arena, struct ckpt_err *err)
{
	struct clone_args ca = {
		.flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS |
			 (plan->ipc_namespace ? CLONE_NEWIPC : 0) |
			 (run->sibling ? CLONE_PARENT : 0),
		.exit_signal = run->sibling ? 0 : SIGCHLD,
	};
	struct report rep;
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int ends[2], r;
	long pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return ckpt_fail(err, -errno, "cannot make a pipe");
	pid = syscall(SYS_clone3, &ca, sizeof(ca));
	if (pid == 0) {
		close(ends[0]);
		init_main(plan, img, run, arena, ends[1], uid, gid);
	}
	close(ends[1]);
	box->channel = ends[0];
	box->init = pid;
	if (pid < 0)
		return ckpt_refuse(
			err, CKPT_E_PRIVILEGE, -errno,
			"pids may not be chosen here, and a user namespace cannot be made: %s",
			strerror(errno));
	r = read_report(box, &rep, err);
	if (r >= 0 && rep.err.code) {
		*err = rep.err;
		r = err->code;
	}
	if (r < 0) {
		if (!run->sibling)
			waitpid(pid, NULL, __WALL);
		return r;
	}
	box->root = find_root(box->init, plan->snap->tasks[0]->pid);
	return 0;
}

int ckpt_box_wait(struct ckpt_box *box, int *statusp, struct ckpt_err *err)
{
	struct report rep;
	int r = read_report(box, &rep, err);

	*statusp = r < 0 ? 0 : rep.status;
	return r;
}
