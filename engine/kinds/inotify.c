/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inotify(7). The kernel knows inodes, not paths; those are found by their handles. The watches are
 * added last of all, when nothing of what a restore does to files is seen by them. Events that
 * nobody has read can be read by nobody else, and are lost by name.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include "engine/base/text.h"
#include "engine/base/cleanup.h"
#include "engine/capture/collect.h"
#include "engine/capture/watched.h"
#include "engine/model/object.h"
#include "engine/plan/path.h"
#include "engine/plan/site.h"
#include "proto/inotify.pb-c.h"

#define MASK (IN_ALL_EVENTS | IN_ONESHOT | IN_EXCL_UNLINK)
#ifndef INOTIFY_IOC_SETNEXTWD
#define INOTIFY_IOC_SETNEXTWD _IOW('I', 0, int32_t) /* Linux 4.16 */
#endif
#define LINE "inotify wd:"

static bool match(const struct ckpt_probe *probe)
{
	return !strcmp(probe->link, "anon_inode:inotify") || ckpt_probe_anon(probe, "inotify");
}

static int collect_watch(struct ckpt_collect *c, const char *line, Ckpt__InotifyWatch *w,
			 struct ckpt_err *err)
{
	struct ckpt_watched id;
	uint64_t wd, mask;
	mode_t mode;

	if (!ckpt_watched_number(line, " wd:", &wd) ||
	    !ckpt_watched_number(line, " mask:", &mask) || !ckpt_watched_parse(line, &id))
		return ckpt_fail(err, -EBADMSG, "inotify: cannot understand \"%.*s\"",
				 (int)strcspn(line, "\n"), line);
	w->wd = wd;
	w->mask = mask & MASK;
	w->path = (char *)ckpt_watched_path(c, &id, &mode);
	w->has_mode = w->path != NULL;
	if (w->path) {
		w->mode = mode;
		return 0;
	}
	w->object = ckpt_watched_object(c, &id);
	w->has_object = w->object != 0;
	if (w->object)
		return 0;
	return ckpt_refuse(err, CKPT_E_WATCH_LOST, -ENOENT,
			   "inotify: watch %u: no path leads to what it watches (inode %llu of "
			   "device %u:%u)",
			   w->wd, (unsigned long long)id.ino, (unsigned int)(id.dev >> 8 & 0xfff),
			   (unsigned int)(id.dev & 0xff));
}

static int by_wd(const void *a, const void *b)
{
	uint32_t x = (*(Ckpt__InotifyWatch *const *)a)->wd,
		 y = (*(Ckpt__InotifyWatch *const *)b)->wd;

	return x < y ? -1 : x > y;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Inotify *m = (void *)msg;
	int queued = 0;
	char *text;
	int r = ckpt_fdinfo(c, &text, err);

	if (r < 0)
		return r;
	m->watches = ckpt_alloc(c->arena, ckpt_count_text(text, LINE) * sizeof(*m->watches));
	for (const char *at = text; (at = strstr(at, LINE)); at++) {
		Ckpt__InotifyWatch *w = ckpt_new(c->arena, Ckpt__InotifyWatch);

		ckpt__inotify_watch__init(w);
		r = collect_watch(c, at, w, err);
		if (r < 0)
			return r;
		m->watches[m->n_watches++] = w;
	}
	if (m->n_watches)
		qsort(m->watches, m->n_watches, sizeof(*m->watches), by_wd);
	if (!ioctl(c->fd, FIONREAD, &queued) && queued)
		ckpt_lost(c, "process %d: fd %d: inotify: %d bytes of events that nobody has read",
			  c->pid, c->number, queued);
	return 0;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Inotify *m = (const void *)obj->msg;
	const struct ckpt_snapshot *snap = ckpt_planner_snapshot(p);
	uint32_t last = 0;

	for (size_t i = 0; i < m->n_watches; i++) {
		const Ckpt__InotifyWatch *w = m->watches[i];
		const struct ckpt_object *file = ckpt_snapshot_object(snap, w->object);
		struct stat st;

		if (w->wd <= last || w->wd > INT_MAX || w->mask & ~MASK ||
		    !(w->mask & IN_ALL_EVENTS))
			return ckpt_fail(err, -EBADMSG, "inotify %u: bad watch %u", obj->id, w->wd);
		last = w->wd;
		if (w->path ? !ckpt_path_sane(w->path) :
			      !file || file->kind->scope != CKPT_PER_FILE)
			return ckpt_fail(err, -EBADMSG, "inotify %u: watch %u: bad path or object",
					 obj->id, w->wd);
		if (w->path)
			ckpt_path_here(p, obj, w->path, w->mode, 0, &st);
	}
	return 0;
}

static int create(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	int fd = inotify_init1(IN_CLOEXEC);

	(void)site;
	return fd >= 0 ? fd : ckpt_fail(err, -errno, "inotify %u: cannot create", obj->id);
}

static int add(struct ckpt_site *site, int fd, const Ckpt__InotifyWatch *w, struct ckpt_err *err)
{
	CKPT_FD look = w->path ? ckpt_path_look(w->path) : -1;
	int file = w->path ? look : site->ops->fd_of(site, w->object, err);
	int32_t next = w->wd;
	char link[40];
	const char *path = w->path ? w->path : link;
	int wd;

	if (file < 0)
		return w->path ? ckpt_fail(err, file, "inotify: cannot watch %s", path) : file;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
	if (ioctl(fd, INOTIFY_IOC_SETNEXTWD, next) < 0)
		return ckpt_refuse(err, CKPT_E_KERNEL_FEATURE, -errno,
				   "inotify: the numbers of watches cannot be chosen here");
	wd = inotify_add_watch(fd, link, w->mask);
	if (wd < 0)
		return ckpt_fail(err, -errno, "inotify: cannot watch %s", path);
	if (wd != next)
		return ckpt_fail(err, -EEXIST, "inotify: %s: the watch has number %d instead of %d",
				 path, wd, next);
	return 0;
}

static int attach(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Inotify *m = (const void *)obj->msg;
	int fd = site->ops->fd_of(site, obj->id, err), r = fd;

	for (size_t i = 0; r >= 0 && i < m->n_watches; i++)
		r = add(site, fd, m->watches[i], err);
	return r < 0 ? r : 0;
}

const struct ckpt_kind ckpt_kind_inotify = {
	.name = "inotify",
	.scope = CKPT_PER_FILE,
	.message = &ckpt__inotify__descriptor,
	.match = match,
	.collect = collect,
	.plan = plan,
	.create = create,
	.attach = attach,
};
