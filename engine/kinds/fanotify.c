/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fanotify(7): groups and their marks on files, mounts and file systems. As with inotify, marks are
 * made last and events that wait are lost by name. Who decides about accesses of others is refused:
 * while it stands still, so does whoever touches its files, ckpt too.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "engine/base/text.h"
#include "engine/base/cleanup.h"
#include "engine/capture/collect.h"
#include "engine/capture/watched.h"
#include "engine/model/object.h"
#include "engine/plan/path.h"
#include "engine/plan/site.h"
#include "proto/fanotify.pb-c.h"

#define LINE "fanotify "
#define KEEPS_IGNORING FAN_MARK_IGNORED_SURV_MODIFY
#define EVICTABLE 0x200 /* FAN_MARK_EVICTABLE, Linux 5.19 */
#define IGNORE 0x400    /* FAN_MARK_IGNORE, Linux 6.0 */
#define PERMISSION \
	(FAN_OPEN_PERM | FAN_ACCESS_PERM | FAN_OPEN_EXEC_PERM | 0x00100000ull /* pre-access */)

static bool match(const struct ckpt_probe *probe)
{
	return ckpt_probe_anon(probe, "fanotify");
}

/* What a line of fdinfo is about: an inode, a mount or a file system. */
static const char *find_path(struct ckpt_collect *c, const char *line, Ckpt__FanotifyMark *k)
{
	struct ckpt_watched id;
	uint64_t number;
	mode_t mode = S_IFDIR;
	const char *path = NULL;

	if (ckpt_watched_number(line, " mnt_id:", &number)) {
		k->type = CKPT__FANOTIFY_MARK__TYPE__MOUNT;
		path = ckpt_watched_mount(c, number, 0);
	} else if (ckpt_watched_parse(line, &id)) {
		k->type = CKPT__FANOTIFY_MARK__TYPE__INODE;
		path = ckpt_watched_path(c, &id, &mode);
	} else if (ckpt_watched_number(line, " sdev:", &number)) {
		k->type = CKPT__FANOTIFY_MARK__TYPE__FILESYSTEM;
		path = ckpt_watched_mount(c, 0, makedev(number >> 20, number & 0xfffff));
	}
	k->has_mode = true;
	k->mode = mode;
	return path;
}

static int collect_mark(struct ckpt_collect *c, const char *line, Ckpt__FanotifyMark *k,
			struct ckpt_err *err)
{
	uint64_t flags, mask, ignored;
	const char *path = find_path(c, line, k);

	if (!ckpt_watched_number(line, " mflags:", &flags) ||
	    !ckpt_watched_number(line, " mask:", &mask) ||
	    !ckpt_watched_number(line, " ignored_mask:", &ignored))
		return ckpt_fail(err, -EBADMSG, "fanotify: cannot understand \"%.*s\"",
				 (int)strcspn(line, "\n"), line);
	if (mask & PERMISSION)
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
				   "fanotify: it decides about what others open or read");
	if (!path)
		return ckpt_refuse(err, CKPT_E_WATCH_LOST, -ENOENT,
				   "fanotify: no path leads to what it watches: %.*s",
				   (int)strcspn(line, "\n"), line);
	k->path = (char *)path;
	k->has_flags = k->has_mask = k->has_ignored = true;
	k->flags = flags & (KEEPS_IGNORING | EVICTABLE | IGNORE);
	k->mask = mask;
	k->ignored = ignored;
	return 0;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Fanotify *m = (void *)msg;
	uint64_t flags = 0, event_flags = 0;
	int queued = 0;
	char *text;
	int r = ckpt_fdinfo(c, &text, err);

	if (r < 0)
		return r;
	m->marks = ckpt_alloc(c->arena, ckpt_count_text(text, LINE) * sizeof(*m->marks));
	for (const char *at = text; (at = strstr(at, LINE)); at++) {
		Ckpt__FanotifyMark *k;

		if (ckpt_watched_number(at, "fanotify flags:", &flags)) {
			ckpt_watched_number(at, " event-flags:", &event_flags);
			continue;
		}
		k = ckpt_new(c->arena, Ckpt__FanotifyMark);
		ckpt__fanotify_mark__init(k);
		r = collect_mark(c, at, k, err);
		if (r < 0)
			return r;
		m->marks[m->n_marks++] = k;
	}
	m->flags = flags;
	m->event_flags = event_flags;
	if (!ioctl(c->fd, FIONREAD, &queued) && queued)
		ckpt_lost(c, "process %d: fd %d: fanotify: %d bytes of events that nobody has read",
			  c->pid, c->number, queued);
	return 0;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Fanotify *m = (const void *)obj->msg;

	for (size_t i = 0; i < m->n_marks; i++) {
		const Ckpt__FanotifyMark *k = m->marks[i];
		struct stat st;

		if (!ckpt_path_sane(k->path) || k->mask & PERMISSION ||
		    (unsigned int)k->type > CKPT__FANOTIFY_MARK__TYPE__FILESYSTEM ||
		    k->flags & ~(KEEPS_IGNORING | EVICTABLE | IGNORE))
			return ckpt_fail(err, -EBADMSG, "fanotify %u: bad mark", obj->id);
		ckpt_path_here(p, obj, k->path, k->mode, O_PATH, &st);
	}
	return 0;
}

static int create(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Fanotify *m = (const void *)obj->msg;
	int fd = fanotify_init(m->flags, m->event_flags);

	(void)site;
	if (fd >= 0)
		return fd;
	if (errno == EPERM)
		return ckpt_refuse(err, CKPT_E_PRIVILEGE, -EPERM,
				   "fanotify %u: it wants CAP_SYS_ADMIN", obj->id);
	return ckpt_fail(err, -errno, "fanotify %u: cannot create", obj->id);
}

static int add(int fd, const Ckpt__FanotifyMark *k)
{
	static const unsigned int types[] = { 0, FAN_MARK_MOUNT, FAN_MARK_FILESYSTEM };
	unsigned int flags = FAN_MARK_ADD | types[k->type] | (k->flags & EVICTABLE);
	unsigned int way = k->flags & IGNORE ? IGNORE : FAN_MARK_IGNORED_MASK;
	CKPT_FD look = ckpt_path_look(k->path);
	char link[40];

	if (look < 0)
		return look;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", look);
	if (k->mask && fanotify_mark(fd, flags, k->mask, AT_FDCWD, link) < 0)
		return -errno;
	if (k->ignored && fanotify_mark(fd, flags | way | (k->flags & KEEPS_IGNORING), k->ignored,
					AT_FDCWD, link) < 0)
		return -errno;
	return 0;
}

static int attach(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Fanotify *m = (const void *)obj->msg;
	int fd = site->ops->fd_of(site, obj->id, err), r = 0;

	if (fd < 0)
		return fd;
	for (size_t i = 0; i < m->n_marks; i++)
		if ((r = add(fd, m->marks[i])) < 0)
			return ckpt_fail(err, r, "fanotify %u: cannot mark %s", obj->id,
					 m->marks[i]->path);
	return 0;
}

const struct ckpt_kind ckpt_kind_fanotify = {
	.name = "fanotify",
	.scope = CKPT_PER_FILE,
	.message = &ckpt__fanotify__descriptor,
	.match = match,
	.collect = collect,
	.plan = plan,
	.create = create,
	.attach = attach,
};
