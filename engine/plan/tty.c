/* SPDX-License-Identifier: Apache-2.0 */
#include <asm/termbits.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "engine/plan/host.h"
#include "engine/plan/path.h"
#include "engine/plan/tty.h"

/* By the message: an object that was refused at the dump has a kind without functions. */
static const Ckpt__Tty *message_of(const struct ckpt_object *obj)
{
	return obj->kind->message == &ckpt__tty__descriptor ? (const void *)obj->msg : NULL;
}

const struct ckpt_object *ckpt_tty_master(const struct ckpt_snapshot *snap, uint32_t device)
{
	for (size_t i = 0; device && i < snap->n_objects; i++) {
		const Ckpt__Tty *t = message_of(snap->objects[i]);

		if (t && t->pty && t->pty->master && t->device == device)
			return snap->objects[i];
	}
	return NULL;
}

bool ckpt_tty_unread(const struct ckpt_object *obj)
{
	const Ckpt__Tty *t = message_of(obj);

	return t && t->unread;
}

const struct ckpt_task *ckpt_tty_leader(const struct ckpt_snapshot *snap, const Ckpt__Tty *t)
{
	for (size_t i = 0; t->has_session && i < snap->n_tasks; i++)
		if (snap->tasks[i]->pid == (pid_t)t->session &&
		    snap->tasks[i]->sid == snap->tasks[i]->pid)
			return snap->tasks[i];
	return NULL;
}

/* Only the leader of the session can open /dev/tty before it has children. */
bool ckpt_tty_with_master(const struct ckpt_snapshot *snap, const struct ckpt_object *obj)
{
	const Ckpt__Tty *t = message_of(obj);
	const struct ckpt_task *leader = ckpt_tty_leader(snap, t);

	return !t->hung_up && !(t->alias && leader && leader->id == obj->task);
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
	if (stat(t->path, &st) < 0 || !S_ISCHR(st.st_mode) ||
	    st.st_rdev != ckpt_tty_decode(t->device))
		ckpt_problem(p, CKPT_E_NO_TERMINAL, "%sterminal %s: is not there any more", who,
			     t->path);
}

static void plan_outside(struct ckpt_planner *p, const struct ckpt_object *obj, const Ckpt__Tty *t)
{
	const struct ckpt_host *host = ckpt_planner_host(p);
	const struct ckpt_task *leader = ckpt_tty_leader(ckpt_planner_snapshot(p), t);
	char who[CKPT_WHO];

	ckpt_path_who(p, obj, who, sizeof(who));
	if (!ckpt_planner_opts(p)->shell_job && (!leader || !host))
		ckpt_problem(p, CKPT_E_SHELL_JOB,
			     "%sterminal %s: its other end is outside of the tree", who, t->path);
	else if (leader)
		plan_own(p, obj, t, leader);
	else if (host && !host->stdin_is_tty)
		ckpt_problem(
			p, CKPT_E_NO_TERMINAL,
			"%sterminal %s: standard input is no terminal that could take its place",
			who, t->path);
	if (t->exclusive)
		ckpt_loss(p, "%sterminal %s: that nobody else may open it (TIOCEXCL)", who,
			  t->path);
}

static bool has_slave(const struct ckpt_snapshot *snap, const struct ckpt_object *master)
{
	for (size_t i = 0; i < snap->n_objects; i++) {
		const Ckpt__Tty *t = message_of(snap->objects[i]);

		if (t && snap->objects[i] != master && t->device == message_of(master)->device)
			return true;
	}
	return false;
}

static void plan_master(struct ckpt_planner *p, const struct ckpt_object *obj, const Ckpt__Tty *t)
{
	int number = ckpt_tty_pts(ckpt_tty_decode(t->device));
	char who[CKPT_WHO], path[40];
	struct stat st;

	ckpt_path_who(p, obj, who, sizeof(who));
	snprintf(path, sizeof(path), "/dev/pts/%d", number);
	if (!t->pty->closed && !has_slave(ckpt_planner_snapshot(p), obj))
		ckpt_loss(p, "%sterminal %s: whoever has it open outside of the tree", who, path);
	if (!ckpt_planner_host(p))
		return;
	ckpt_path_here(p, obj, t->path, S_IFCHR, obj->file.flags, &st);
	if (lstat(path, &st) == 0)
		ckpt_problem(p, CKPT_E_TERMINAL_TAKEN, "%sterminal %s: the number is taken", who,
			     path);
}

/* Both ends are in the tree. */
static void plan_inside(struct ckpt_planner *p, const struct ckpt_object *obj, const Ckpt__Tty *t,
			const struct ckpt_object *master)
{
	char who[CKPT_WHO];

	ckpt_path_who(p, obj, who, sizeof(who));
	if (t->unread)
		ckpt_problem(p, CKPT_E_TERMINAL_DATA,
			     "%sterminal %s: %u bytes in it have not been read yet", who, t->path,
			     t->unread);
	if (obj == master) {
		plan_master(p, obj, t);
		return;
	}
	if (!ckpt_tty_with_master(ckpt_planner_snapshot(p), obj)) {
		ckpt_made_by_task(p);
		return;
	}
	ckpt_comes_with(p, master->id);
	if (t->alias)
		ckpt_loss(p, "%sterminal %s: that it was opened as /dev/tty", who, t->path);
}

int ckpt_tty_plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Tty *t = message_of(obj);
	const struct ckpt_object *master;

	if ((!t->hung_up && !ckpt_path_sane(t->path)) ||
	    (t->has_termios && t->termios.len != sizeof(struct termios2)) ||
	    t->foreground > INT32_MAX || t->rows > UINT16_MAX || t->columns > UINT16_MAX ||
	    (t->pty && (t->pty->mode & ~07777u || ckpt_tty_pts(ckpt_tty_decode(t->device)) < 0)))
		return ckpt_fail(err, -EBADMSG, "tty %u: bad path, state or size", obj->id);
	if (t->hung_up)
		return 0;
	master = ckpt_tty_master(ckpt_planner_snapshot(p), t->device);
	if (master && obj != master && t->pty && t->pty->master)
		return ckpt_fail(err, -EBADMSG, "tty %u: a second master", obj->id);
	if (master && master->kind->create)
		plan_inside(p, obj, t, master);
	else if (!master)
		plan_outside(p, obj, t);
	return 0;
}
