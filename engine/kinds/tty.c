/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Terminals. Of a pair whose master is in the tree both ends are made here, under the number they
 * had; the leader of its session takes it by engine/kinds/ctty.c. Of others the other end is
 * outside: a shell's, or that of script(1) and the like. If the tree has the leader of the
 * terminal's session it opens the terminal again by its path; otherwise (--shell-job) the terminal
 * that ckpt itself has as standard input takes its place, and is asked to be in the state the old
 * one was in.
 */
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/capture/tty.h"
#include "engine/model/object.h"
#include "engine/plan/site.h"
#include "engine/plan/tty.h"

#define LARGE_FILE 0100000 /* the kernel's O_LARGEFILE, which open(2) adds by itself */
#define MAX_PTYS 4096      /* held at a time to come to a number */

/* Consoles, serial lines, virtual and pseudo terminals (Documentation/admin-guide/devices.txt). */
static bool match(const struct ckpt_probe *probe)
{
	unsigned int n = major(probe->st.st_rdev);

	return S_ISCHR(probe->st.st_mode) && !probe->path_only &&
	       (n == 2 || n == 3 || n == 4 || n == 5 || (n >= 128 && n < 144) || n == 166 ||
		n == 188 || n == 204 || n == 229);
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	return ckpt_tty_collect(c, (void *)msg, err);
}

/* ---- pairs ---- */

static int set_size(int fd, const Ckpt__Tty *t)
{
	struct winsize size = { .ws_row = t->rows, .ws_col = t->columns };

	return ioctl(fd, TIOCSWINSZ, &size);
}

/* The kernel gives the lowest number that is free. */
static int open_numbered(const char *path, int flags, int number, struct ckpt_err *err)
{
	int held[MAX_PTYS], n = 0, found = -1, code = EBUSY;

	while (n < MAX_PTYS && found < 0) {
		int at = -1, fd = open(path, flags | O_NOCTTY | O_CLOEXEC);

		if (fd < 0 || ioctl(fd, TIOCGPTN, &at) < 0)
			code = errno;
		if (fd >= 0 && at == number)
			found = fd;
		else if (fd >= 0)
			held[n++] = fd;
		if (fd < 0 || at < 0 || at > number)
			break;
	}
	for (int i = 0; i < n; i++)
		close(held[i]);
	if (found >= 0)
		return found;
	return ckpt_refuse(err, CKPT_E_TERMINAL_TAKEN, -code,
			   "terminal /dev/pts/%d: cannot be had: %s", number, strerror(code));
}

/* O_CLOEXEC would stay visible among the flags of the file. */
static int open_peer(int master, uint32_t flags, struct ckpt_err *err)
{
	int fd = ioctl(master, TIOCGPTPEER,
		       (flags & (O_ACCMODE | LARGE_FILE)) | O_NONBLOCK | O_NOCTTY);

	if (fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return ckpt_fail(err, -errno, "terminal: cannot open the other end");
	return fd;
}

static int put_peers(struct ckpt_site *site, const struct ckpt_object *obj, const Ckpt__Tty *t,
		     int master, struct ckpt_err *err)
{
	for (size_t i = 0; i < site->snap->n_objects; i++) {
		const struct ckpt_object *o = site->snap->objects[i];
		const Ckpt__Tty *other = (const void *)o->msg;
		int r;

		if (o->kind != obj->kind || o == obj || other->device != t->device ||
		    !ckpt_tty_with_master(site->snap, o))
			continue;
		r = open_peer(master, o->file.flags, err);
		if (r >= 0)
			r = site->ops->put(site, o->id, r, err);
		if (r < 0)
			return ckpt_in(err, r, "tty %u", o->id);
	}
	return 0;
}

/* Nobody but us has it yet: no signal comes of a new size. */
static int create_master(struct ckpt_site *site, const struct ckpt_object *obj, const Ckpt__Tty *t,
			 struct ckpt_err *err)
{
	CKPT_FD fd = open_numbered(t->path, obj->file.flags & O_ACCMODE,
				   ckpt_tty_pts(ckpt_tty_decode(t->device)), err);
	int unlocked = 0, packet = t->pty->packet, r = 0;

	if (fd < 0)
		return fd;
	if (ioctl(fd, TIOCSPTLCK, &unlocked) < 0 || ioctl(fd, TIOCPKT, &packet) < 0 ||
	    (t->has_termios && ioctl(fd, TCSETS2, t->termios.data) < 0) || set_size(fd, t) < 0)
		return ckpt_fail(err, -errno, "tty %u: cannot set its state", obj->id);
	if (t->pty->closed) {
		CKPT_FD peer = open_peer(fd, O_RDWR, err);

		r = peer;
	}
	if (r >= 0)
		r = put_peers(site, obj, t, fd, err);
	return r < 0 ? r : ckpt_take_fd(&fd);
}

/* What has been hung up stays so. Nobody opens it by its number any more, which may be another's by
 * now: any will do then. */
static int create_hung_up(const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Tty *t = (const void *)obj->msg;
	struct ckpt_err taken = CKPT_ERR_INIT;
	CKPT_FD master = open_numbered("/dev/ptmx", O_RDWR,
				       ckpt_tty_pts(ckpt_tty_decode(t->device)), &taken);
	int unlocked = 0;

	if (master < 0)
		master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlocked) < 0)
		return ckpt_fail(err, -errno, "tty %u: cannot open /dev/ptmx", obj->id);
	return open_peer(master, obj->file.flags, err);
}

/* Owner and permissions of its node, which only the ends that are not masters show. */
static int link_up(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Tty *t = (const void *)obj->msg;
	int fd = site->ops->fd_of(site, obj->id, err);
	struct stat st;

	if (fd < 0)
		return fd;
	if (!t->pty || !t->pty->has_mode || !ckpt_tty_master(site->snap, t->device))
		return 0;
	if (fstat(fd, &st) < 0)
		return ckpt_fail(err, -errno, "tty %u: cannot look", obj->id);
	/* EPERM, and EINVAL for ids that this user namespace has not: it is ours then, as all of
	 * the tree. */
	if ((st.st_uid != t->pty->uid || st.st_gid != t->pty->gid) &&
	    fchown(fd, t->pty->uid, t->pty->gid) < 0 && errno != EPERM && errno != EINVAL)
		return ckpt_fail(err, -errno, "tty %u: cannot give it to its owner", obj->id);
	if ((st.st_mode & 07777) != t->pty->mode && fchmod(fd, t->pty->mode) < 0)
		return ckpt_fail(err, -errno, "tty %u: cannot set its mode", obj->id);
	return 0;
}

/* When nobody has to open it any more. */
static int finish_pty(const struct ckpt_object *obj, const Ckpt__Tty *t, int fd,
		      struct ckpt_err *err)
{
	int locked = 1;

	if (t->exclusive && ioctl(fd, TIOCEXCL) < 0)
		return ckpt_fail(err, -errno, "tty %u: cannot make it exclusive", obj->id);
	if (t->pty->locked && ioctl(fd, TIOCSPTLCK, &locked) < 0)
		return ckpt_fail(err, -errno, "tty %u: cannot lock it", obj->id);
	return 0;
}

/* ---- those whose other end is outside ---- */

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

	if (t->hung_up)
		return create_hung_up(obj, err);
	if (t->pty && t->pty->master)
		return create_master(site, obj, t, err);
	if (ckpt_tty_master(site->snap, t->device))
		return open_terminal("/dev/tty", obj->file.flags, err);
	if (ckpt_tty_leader(site->snap, t))
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
	if (ckpt_tty_master(site->snap, t->device))
		return finish_pty(obj, t, fd, err);
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
	.plan = ckpt_tty_plan,
	.create = create,
	.link = link_up,
	.attach = attach,
};
