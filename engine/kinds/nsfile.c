/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Namespaces as files. What is kept is a process of the tree that lives in it: its namespace is
 * what the file refers to afterwards, also where a restore has made new ones.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "engine/base/cleanup.h"
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/plan.h"
#include "engine/plan/site.h"
#include "proto/nsfile.pb-c.h"

#define NSFS_MAGIC 0x6e736673

static const char *const names[] = {
	"cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "time_for_children",
	"user",   "uts",
};
#define N_NAMES (sizeof(names) / sizeof(names[0]))

static bool match(const struct ckpt_probe *probe)
{
	return probe->fs_magic == NSFS_MAGIC && strstr(probe->link, ":[");
}

/* The name by which process PID is in the namespace; NULL: it is not. */
static const char *name_in(struct ckpt_collect *c, pid_t pid)
{
	for (size_t i = 0; i < N_NAMES; i++) {
		struct ckpt_err ignored = CKPT_ERR_INIT;
		char path[32], link[64];

		snprintf(path, sizeof(path), "ns/%s", names[i]);
		if (c->src->ops->read_link(c->src, pid, path, link, sizeof(link), &ignored) > 0 &&
		    !strcmp(link, c->probe->link))
			return names[i];
	}
	return NULL;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Nsfile *m = (void *)msg;
	const char *name = name_in(c, c->pid);
	DIR *proc = name ? NULL : opendir("/proc");

	m->pid = c->pid;
	for (struct dirent *e = proc ? readdir(proc) : NULL; e && !name; e = readdir(proc)) {
		pid_t pid = atoi(e->d_name);

		if (pid > 0 && ckpt_pid_in_tree(c, pid)) {
			name = name_in(c, pid);
			m->pid = pid;
		}
	}
	if (proc)
		closedir(proc);
	if (!name)
		return ckpt_refuse(err, CKPT_E_NAMESPACE, -EOPNOTSUPP,
				   "%s: a namespace that no process of the tree is in",
				   c->probe->link);
	m->name = (char *)name;
	return 0;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Nsfile *m = (const void *)obj->msg;
	const struct ckpt_snapshot *snap = ckpt_planner_snapshot(p);
	bool task = false, name = false;

	for (size_t i = 0; i < snap->n_tasks; i++)
		task |= snap->tasks[i]->pid == (pid_t)m->pid;
	for (size_t i = 0; i < N_NAMES; i++)
		name |= !strcmp(m->name, names[i]);
	if (!task || !name)
		return ckpt_fail(err, -EBADMSG, "nsfile %u: bad process or name", obj->id);
	ckpt_made_last(p);
	return 0;
}

static int create(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Nsfile *m = (const void *)obj->msg;
	char path[64];
	int fd;

	(void)site;
	snprintf(path, sizeof(path), "/proc/%u/ns/%s", m->pid, m->name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 ? fd : ckpt_fail(err, -errno, "%s: cannot open", path);
}

const struct ckpt_kind ckpt_kind_nsfile = {
	.name = "nsfile",
	.scope = CKPT_PER_FILE,
	.message = &ckpt__nsfile__descriptor,
	.match = match,
	.collect = collect,
	.plan = plan,
	.create = create,
};
