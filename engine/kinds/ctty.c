/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The controlling terminal of a session whose master is in the tree: the leader takes it before it
 * forks, since children inherit it; the foreground group is set when there are groups. Other
 * terminals are taken by who opens them (tty.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/capture/tty.h"
#include "engine/model/object.h"
#include "engine/plan/site.h"
#include "engine/plan/tty.h"
#include "proto/ctty.pb-c.h"

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Ctty *m = (void *)msg;
	struct ckpt_tty_use use;
	int r;

	if (getsid(c->pid) != c->pid)
		return 1;
	r = ckpt_tty_use(c, &use, err);
	if (r < 0 || !use.device)
		return r < 0 ? r : 1;
	m->device = use.device;
	m->has_foreground = use.foreground > 0;
	m->foreground = use.foreground > 0 ? use.foreground : 0;
	return 0;
}

static bool is_open(const struct ckpt_snapshot *snap, uint32_t device)
{
	for (size_t i = 0; i < snap->n_objects; i++)
		if (snap->objects[i]->kind->message == &ckpt__tty__descriptor &&
		    ((const Ckpt__Tty *)snap->objects[i]->msg)->device == device)
			return true;
	return false;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const struct ckpt_snapshot *snap = ckpt_planner_snapshot(p);
	const struct ckpt_task *task = ckpt_snapshot_task(snap, obj->task);
	const Ckpt__Ctty *m = (const void *)obj->msg;

	if (m->foreground > INT_MAX || !task || task->pid != task->sid)
		return ckpt_fail(err, -EBADMSG, "ctty: bad state");
	if (!is_open(snap, m->device))
		ckpt_loss(p,
			  "process %d: its controlling terminal, which nobody in the tree has open",
			  task->pid);
	return 0;
}

static int open_terminal(struct ckpt_site *site, const struct ckpt_object *master,
			 struct ckpt_err *err)
{
	int bank = site->ops->fd_of(site, master->id, err), fd;

	if (bank < 0)
		return bank;
	fd = ioctl(bank, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? ckpt_fail(err, -errno, "tty %u: cannot open the other end", master->id) :
			fd;
}

static int control(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Ctty *m = (const void *)obj->msg;
	const struct ckpt_object *master = ckpt_tty_master(site->snap, m->device);

	if (!master)
		return 0;
	CKPT_FD fd = open_terminal(site, master, err);
	if (fd >= 0 && ioctl(fd, TIOCSCTTY, 0) < 0)
		return ckpt_fail(err, -errno, "tty %u: cannot control session %d", master->id,
				 getpid());
	return fd < 0 ? fd : 0;
}

/* A group that has nobody in it any more cannot be set. */
static int attach(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Ctty *m = (const void *)obj->msg;
	const struct ckpt_object *master = ckpt_tty_master(site->snap, m->device);
	int group = m->foreground, r = 0;
	sigset_t stop, old;

	if (!master || !group)
		return 0;
	CKPT_FD fd = open_terminal(site, master, err);
	if (fd < 0)
		return fd;
	sigemptyset(&stop);
	sigaddset(&stop, SIGTTOU);
	sigprocmask(SIG_BLOCK, &stop, &old);
	if (ioctl(fd, TIOCSPGRP, &group) < 0 && errno != ESRCH)
		r = ckpt_fail(err, -errno, "tty %u: cannot put group %d into the foreground",
			      master->id, group);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return r;
}

const struct ckpt_kind ckpt_kind_ctty = {
	.name = "ctty",
	.scope = CKPT_PER_TASK,
	.message = &ckpt__ctty__descriptor,
	.collect = collect,
	.plan = plan,
	.control = control,
	.attach = attach,
};
