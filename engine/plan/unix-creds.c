/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is at the other end of a Unix socket (SO_PEERCRED) is who made a pair, connected or listened:
 * those calls are made as that process. A listener's own are told to all that connect later.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/model/object.h"
#include "engine/plan/actor.h"
#include "engine/plan/host.h"
#include "engine/plan/path.h"
#include "engine/plan/unix.h"

#define GROUPS_MAX 65536 /* NGROUPS_MAX */

static struct ckpt_actor actor(const Ckpt__UnixCreds *c)
{
	if (!c)
		return (struct ckpt_actor){ .uid = -1 };
	return (struct ckpt_actor){ c->pid, c->uid, c->gid, c->groups, c->n_groups };
}

/* ---- plan ---- */

bool ckpt_unix_creds_sane(const Ckpt__UnixCreds *c)
{
	return !c || (c->pid >= 0 && c->n_groups <= GROUPS_MAX);
}

bool ckpt_unix_creds_equal(const Ckpt__UnixCreds *a, const Ckpt__UnixCreds *b)
{
	return a && b && a->pid == b->pid && a->uid == b->uid && a->gid == b->gid;
}

static bool may_have_pid(const struct ckpt_snapshot *snap, const struct ckpt_host *host, pid_t pid)
{
	for (size_t i = 0; i < snap->n_tasks; i++)
		if (snap->tasks[i]->pid == pid)
			return true;
	if (host->box)
		return pid != 1;
	return pid > 0 && kill(pid, 0) < 0 && errno == ESRCH;
}

static bool may_have_ids(const struct ckpt_host *host, const Ckpt__UnixCreds *c)
{
	bool any = !host->box && ckpt_host_has_cap(host, CAP_SETUID) &&
		   ckpt_host_has_cap(host, CAP_SETGID);

	return any || (c->uid == host->uid && c->gid == host->gid);
}

void ckpt_unix_plan_creds(struct ckpt_planner *p, const struct ckpt_object *obj,
			  const Ckpt__UnixCreds *c)
{
	const struct ckpt_host *host = ckpt_planner_host(p);
	char who[CKPT_WHO];
	bool pid, ids;

	if (!host || !c)
		return;
	pid = may_have_pid(ckpt_planner_snapshot(p), host, c->pid);
	ids = may_have_ids(host, c);
	if (!pid || !ids)
		ckpt_loss(p,
			  "%ssocket:[%llu]: its peer was process %d, uid %u, gid %u "
			  "(SO_PEERCRED): will be told as another one: %s",
			  ckpt_path_who(p, obj, who, sizeof(who)),
			  (unsigned long long)obj->file.ino, c->pid, c->uid, c->gid,
			  !ids ? "this restore may not have those ids" :
				 "that number cannot be had here");
}

/* ---- restore ---- */

struct call {
	int fd, backlog, type;
	int *pair;
	const struct ckpt_unix_name *name;
	int from;
};

static int act_as(const Ckpt__UnixCreds *c, int (*fn)(void *arg, struct ckpt_err *err),
		  struct call *call, pid_t *pidp, struct ckpt_err *err)
{
	struct ckpt_actor as = actor(c);

	if (pidp)
		*pidp = getpid();
	return ckpt_actor_is_us(&as) ? fn(call, err) : ckpt_act_as(&as, fn, call, pidp, err);
}

static int do_listen(void *arg, struct ckpt_err *err)
{
	const struct call *c = arg;

	return listen(c->fd, c->backlog) < 0 ? ckpt_fail(err, -errno, "cannot listen") : 0;
}

int ckpt_unix_listen(int fd, int backlog, const Ckpt__UnixCreds *as, struct ckpt_err *err)
{
	return act_as(as, do_listen, &(struct call){ .fd = fd, .backlog = backlog }, NULL, err);
}

static int do_connect(void *arg, struct ckpt_err *err)
{
	const struct call *c = arg;

	return ckpt_unix_connect(c->fd, c->name, err);
}

int ckpt_unix_connect_as(int fd, const struct ckpt_unix_name *name, const Ckpt__UnixCreds *as,
			 pid_t *pidp, struct ckpt_err *err)
{
	return act_as(as, do_connect, &(struct call){ .fd = fd, .name = name }, pidp, err);
}

static int do_pair(void *arg, struct ckpt_err *err)
{
	const struct call *c = arg;

	return socketpair(AF_UNIX, c->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, c->pair) < 0 ?
		       ckpt_fail(err, -errno, "cannot create a pair") :
		       0;
}

int ckpt_unix_pair(int type, int fd[2], const Ckpt__UnixCreds *as, struct ckpt_err *err)
{
	return act_as(as, do_pair, &(struct call){ .type = type, .pair = fd }, NULL, err);
}

/* A file system that nobody sees becomes the root; it goes with its last user. */
static int go_nowhere(void)
{
	CKPT_FD fs = fsopen("tmpfs", FSOPEN_CLOEXEC); /* Linux 5.2 */
	CKPT_FD root = -1;

	if (fs < 0 || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	root = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	return root < 0 || fchdir(root) < 0 || chroot(".") < 0 ? -errno : 0;
}

static void make_folders(const struct ckpt_unix_name *name)
{
	char path[CKPT_UNIX_NAME_MAX + 1] = { 0 };

	memcpy(path, name->name, name->len);
	for (char *s = strchr(path + 1, '/'); s; s = strchr(s + 1, '/')) {
		*s = '\0';
		mkdir(path, 0700);
		*s = '/';
	}
}

static int do_name(void *arg, struct ckpt_err *err)
{
	const struct call *c = arg;
	bool abstract = !c->name->name[0];
	int r = abstract ? 0 : go_nowhere();

	if (r < 0)
		return ckpt_fail(err, r, "cannot make a place for a name");
	if (!abstract)
		make_folders(c->name);
	r = ckpt_unix_bind_only(c->fd, c->name);
	if (r < 0 && !(abstract && r == -EADDRINUSE))
		return ckpt_fail(err, r, "cannot give it a name");
	return c->from < 0 ? 0 : ckpt_unix_connect(c->from, c->name, err);
}

static int act_nowhere(struct call *call, struct ckpt_err *err)
{
	struct ckpt_actor any = { .uid = -1 };

	return ckpt_act_as(&any, do_name, call, NULL, err);
}

int ckpt_unix_bind_unseen(int fd, const struct ckpt_unix_name *name, struct ckpt_err *err)
{
	const struct ckpt_unix_name alone = { .name = name->name, .len = name->len };

	return act_nowhere(&(struct call){ .fd = fd, .from = -1, .name = &alone }, err);
}

int ckpt_unix_name_closed(int fd, const Ckpt__Unix *m, int from, struct ckpt_err *err)
{
	struct ckpt_unix_name name = { .name = m->peer_name.data, .len = m->peer_name.len };

	return act_nowhere(&(struct call){ .fd = fd, .from = from, .name = &name }, err);
}
