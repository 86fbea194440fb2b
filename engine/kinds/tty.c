/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Terminals whose other end is outside: a shell's, or that of script(1) and the like. If the tree
 * has the leader of the terminal's session it opens the terminal again by its path; otherwise
 * (--shell-job) the terminal that ckpt itself has as standard input takes its place, and is asked
 * to be in the state the old one was in.
 */
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/capture/collect.h"
#include "engine/capture/path.h"
#include "engine/model/object.h"
#include "engine/plan/host.h"
#include "engine/plan/path.h"
#include "engine/plan/site.h"
#include "proto/tty.pb-c.h"

#define CTTY makedev(5, 0)   /* /dev/tty: whatever terminal controls who opens it */
#define MASTER makedev(5, 2) /* /dev/ptmx */
#define PTS 136              /* .. 143 */
#define N_PTS 8

/* Consoles, serial lines, virtual and pseudo terminals (Documentation/admin-guide/devices.txt). */
static bool match(const struct ckpt_probe *probe)
{
	unsigned int n = major(probe->st.st_rdev);

	return S_ISCHR(probe->st.st_mode) && !probe->path_only &&
	       (n == 2 || n == 3 || n == 4 || n == 5 || (n >= 128 && n < PTS + N_PTS) || n == 166 ||
		n == 188 || n == 204 || n == 229);
}

/* As TIOCGDEV and /proc/PID/stat show it. */
static dev_t decode(uint32_t dev)
{
	return makedev(dev >> 8 & 0xfff, (dev & 0xff) | (dev >> 12 & 0xfff00));
}

/* The Nth field of /proc/PID/stat, from 1; those before the third are of no use here. */
static int stat_field(const char *text, unsigned int n, int64_t *valuep, struct ckpt_err *err)
{
	const char *at = strrchr(text, ')');

	for (unsigned int i = 2; at && i < n; i++) {
		at = strchr(at, ' ');
		at += at != NULL;
	}
	return at && ckpt_parse_i64(&at, 10, valuep) ?
		       0 :
		       ckpt_fail(err, -EBADMSG, "stat: no field %u", n);
}

/* The session that the terminal controls, as seen from the task that has it; and its foreground
 * group. */
static int collect_session(struct ckpt_collect *c, Ckpt__Tty *t, struct ckpt_err *err)
{
	int64_t session, dev, foreground;
	char *text;
	int r = ckpt_proc_text(c, "stat", &text, NULL, err);

	if (r >= 0)
		r = stat_field(text, 6, &session, err);
	if (r >= 0)
		r = stat_field(text, 7, &dev, err);
	if (r >= 0)
		r = stat_field(text, 8, &foreground, err);
	if (r < 0 || (uint32_t)dev != t->device)
		return r;
	t->has_session = true;
	t->session = session;
	t->has_foreground = foreground > 0;
	t->foreground = foreground > 0 ? foreground : 0;
	return 0;
}

static int collect_state(struct ckpt_collect *c, Ckpt__Tty *t, struct ckpt_err *err)
{
	struct termios2 *termios = ckpt_new(c->arena, struct termios2);
	struct winsize size;
	int line = 0, exclusive = 0;

	if (ioctl(c->fd, TCGETS2, termios) < 0 || ioctl(c->fd, TIOCGWINSZ, &size) < 0)
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -errno,
				   "terminal %s: it has been hung up", c->probe->link);
	if (ioctl(c->fd, TIOCGETD, &line) == 0 && line)
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
				   "terminal %s: it has line discipline %d", c->probe->link, line);
	if (ioctl(c->fd, TIOCGEXCL, &exclusive) == 0 && exclusive)
		ckpt_lost(c, "process %d: terminal %s: that nobody else may open it (TIOCEXCL)",
			  c->pid, t->path);
	t->has_termios = t->has_rows = t->has_columns = true;
	t->termios = (ProtobufCBinaryData){ sizeof(*termios), (void *)termios };
	t->rows = size.ws_row;
	t->columns = size.ws_col;
	return 0;
}

/* The path of what /dev/tty stands for. */
static char *path_of(struct ckpt_collect *c, dev_t dev)
{
	char path[64], link[256];
	const char *name;
	ssize_t n;

	if (major(dev) >= PTS && major(dev) < PTS + N_PTS) {
		snprintf(path, sizeof(path), "/dev/pts/%u",
			 minor(dev) + ((major(dev) - PTS) << 20));
		return ckpt_strdup(c->arena, path);
	}
	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u", major(dev), minor(dev));
	n = readlink(path, link, sizeof(link) - 1);
	link[n > 0 ? n : 0] = '\0';
	name = strrchr(link, '/');
	snprintf(path, sizeof(path), "/dev/%.50s", name ? name + 1 : "tty");
	return ckpt_strdup(c->arena, path);
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Tty *t = (void *)msg;
	dev_t dev = c->probe->st.st_rdev;
	unsigned int real;
	const char *path;
	int r;

	if (dev == MASTER || major(dev) == 2 || (major(dev) >= 128 && major(dev) < PTS))
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
				   "terminal %s: pty master: a process of the tree is "
				   "the terminal of others",
				   c->probe->link);
	if (c->flags & O_PATH)
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
				   "terminal %s: it is open as a path only (O_PATH)",
				   c->probe->link);
	if (ioctl(c->fd, TIOCGDEV, &real) < 0)
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -errno,
				   "terminal %s: it has been hung up", c->probe->link);
	t->device = real;
	t->has_alias = t->alias = dev == CTTY;
	if (!t->alias && ckpt_path_of(c, &path) != CKPT_PATH_SAME)
		return ckpt_refuse(err, CKPT_E_DELETED_FILE, -ENOENT,
				   "terminal %s: it is not at its path any more", path);
	t->path = t->alias ? path_of(c, decode(real)) : (char *)path;
	if (!c->shell_job)
		return ckpt_refuse(err, CKPT_E_SHELL_JOB, -ENOTTY,
				   "terminal %s: its other end is outside of the tree", t->path);
	r = collect_state(c, t, err);
	return r < 0 ? r : collect_session(c, t, err);
}

/* The task that leads the session of the terminal. */
static const struct ckpt_task *leader_of(const struct ckpt_snapshot *snap, const Ckpt__Tty *t)
{
	for (size_t i = 0; t->has_session && i < snap->n_tasks; i++)
		if (snap->tasks[i]->pid == (pid_t)t->session &&
		    snap->tasks[i]->sid == snap->tasks[i]->pid)
			return snap->tasks[i];
	return NULL;
}

/* By path, as the terminal that it was. */
static void plan_own(struct ckpt_planner *p, const struct ckpt_object *obj, const Ckpt__Tty *t,
		     const struct ckpt_task *leader)
{
	struct stat st;
	char who[CKPT_WHO];

	ckpt_path_who(p, obj, who, sizeof(who));
	if (obj->task != leader->id)
		ckpt_problem(
			p, CKPT_E_FILE_KIND,
			"%sterminal %s: it controls the session of process %d, which did not open "
			"it itself",
			who, t->path, leader->pid);
	ckpt_made_by_task(p);
	if (!ckpt_planner_host(p))
		return;
	if (stat(t->path, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != decode(t->device))
		ckpt_problem(p, CKPT_E_NO_TERMINAL, "%sterminal %s: is not there any more", who,
			     t->path);
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Tty *t = (const void *)obj->msg;
	const struct ckpt_host *host = ckpt_planner_host(p);
	const struct ckpt_task *leader = leader_of(ckpt_planner_snapshot(p), t);
	char who[CKPT_WHO];

	if (!ckpt_path_sane(t->path) ||
	    (t->has_termios && t->termios.len != sizeof(struct termios2)) ||
	    t->foreground > INT32_MAX || t->rows > UINT16_MAX || t->columns > UINT16_MAX)
		return ckpt_fail(err, -EBADMSG, "tty %u: bad path, state or size", obj->id);
	if (leader) {
		plan_own(p, obj, t, leader);
		return 0;
	}
	if (!host)
		return 0;
	ckpt_path_who(p, obj, who, sizeof(who));
	if (!ckpt_planner_opts(p)->shell_job)
		ckpt_problem(p, CKPT_E_SHELL_JOB, "%sterminal %s: it was a shell's", who, t->path);
	else if (!host->stdin_is_tty)
		ckpt_problem(
			p, CKPT_E_NO_TERMINAL,
			"%sterminal %s: standard input is no terminal that could take its place",
			who, t->path);
	return 0;
}

static int open_terminal(const char *path, uint32_t flags, struct ckpt_err *err)
{
	CKPT_FD fd = open(path, (flags & O_ACCMODE) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return ckpt_fail(err, -errno, "terminal %s: cannot open", path);
	if (!isatty(fd))
		return ckpt_refuse(err, CKPT_E_NO_TERMINAL, -ENOTTY, "terminal %s: it is none",
				   path);
	return ckpt_take_fd(&fd);
}

/* In the leader, which has no terminal yet when it comes to the first of them. */
static int create_own(const struct ckpt_object *obj, const Ckpt__Tty *t, struct ckpt_err *err)
{
	CKPT_FD fd = open_terminal(t->path, t->alias ? O_RDWR : obj->file.flags, err);
	pid_t session = -1;
	unsigned int dev;

	if (fd < 0)
		return fd;
	if (ioctl(fd, TIOCGDEV, &dev) < 0 || dev != t->device)
		return ckpt_refuse(err, CKPT_E_NO_TERMINAL, -ENODEV,
				   "terminal %s: it is another one now", t->path);
	if ((ioctl(fd, TIOCGSID, &session) < 0 || session != getsid(0)) &&
	    ioctl(fd, TIOCSCTTY, 0) < 0)
		return ckpt_refuse(err, CKPT_E_NO_TERMINAL, -errno,
				   "terminal %s: it controls another session now", t->path);
	if (!t->alias)
		return ckpt_take_fd(&fd);
	return open_terminal("/dev/tty", obj->file.flags, err);
}

static int create(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Tty *t = (const void *)obj->msg;

	if (leader_of(site->snap, t))
		return create_own(obj, t, err);
	/* A restore that left its session has no /dev/tty, but its input is the same terminal. */
	if (t->alias) {
		int fd = open_terminal("/dev/tty", obj->file.flags, err);

		if (fd != -ENXIO)
			return fd;
	}
	return open_terminal("/proc/self/fd/0", obj->file.flags, err);
}

/* 1: the group is made anew; -1: it was the shell's and is now that of ckpt, in the foreground
 * anyway; 0: neither. */
static int find_group(const struct ckpt_snapshot *snap, pid_t group)
{
	int found = 0;

	for (size_t i = 0; i < snap->n_tasks && found <= 0; i++)
		if (snap->tasks[i]->pid == group)
			found = 1;
		else if (snap->tasks[i]->pgid == group)
			found = -1;
	return found;
}

/* A window has the size that its owner gave it; where nobody did, programs get what they saw. */
static int set_state(int fd, const Ckpt__Tty *t)
{
	struct winsize size;

	if (t->has_termios && ioctl(fd, TCSETS2, t->termios.data) < 0)
		return -1;
	if (t->rows && t->columns && ioctl(fd, TIOCGWINSZ, &size) == 0 && !size.ws_row &&
	    !size.ws_col) {
		size.ws_row = t->rows;
		size.ws_col = t->columns;
		return ioctl(fd, TIOCSWINSZ, &size);
	}
	return 0;
}

/* Only a job that had the terminal gets it: one in the background must not change what the
 * foreground sees. All of it would stop a process that is in the background still, as this one is.
 */
static int attach(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Tty *t = (const void *)obj->msg;
	int group = t->foreground, found = find_group(site->snap, group);
	int fd = site->ops->fd_of(site, obj->id, err), r = 0;
	sigset_t stop, old;

	if (fd < 0)
		return fd;
	if (!t->has_session || !found || site->task->sid != (pid_t)t->session)
		return 0;
	sigemptyset(&stop);
	sigaddset(&stop, SIGTTOU);
	sigprocmask(SIG_BLOCK, &stop, &old);
	/* A session of the restore's own, without this terminal (-S, a daemon), gets no foreground
	 * group. */
	if (found > 0 && ioctl(fd, TIOCSPGRP, &group) < 0 && errno != ENOTTY)
		r = ckpt_fail(err, -errno, "terminal %s: cannot put group %d into the foreground",
			      t->path, group);
	else if (set_state(fd, t) < 0)
		r = ckpt_fail(err, -errno, "terminal %s: cannot set its state", t->path);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return r;
}

const struct ckpt_kind ckpt_kind_tty = {
	.name = "tty",
	.scope = CKPT_PER_FILE,
	.message = &ckpt__tty__descriptor,
	.match = match,
	.collect = collect,
	.plan = plan,
	.create = create,
	.attach = attach,
};
