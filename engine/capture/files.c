/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every descriptor of every task, and which of them are the same open file. What fdinfo and stat
 * say tells most of them apart; kcmp(2), which orders files, is asked only within a class of
 * equals.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/capture/fds-ahead.h"
#include "engine/capture/path.h"
#include "engine/capture/state.h"

#define MAX_HELD 6912
#ifndef F_GETOWNER_UIDS
#define F_GETOWNER_UIDS 17 /* Linux 3.7 */
#endif

/* One descriptor while it is sorted in. */
struct found {
	struct ckpt_capture_task *t;
	bool flying; /* it is ours, and was in a queue of T */
	const struct ckpt_look *look;
	bool has_pos;
	struct ckpt_probe probe;
	struct ckpt_fd_extra extra;
	int fd; /* a duplicate */
};

uint32_t ckpt_file_hash(uint64_t a, uint64_t b)
{
	uint64_t h = (a * 0x9e3779b97f4a7c15ull ^ b) * 0xff51afd7ed558ccdull;

	return (h ^ h >> 32) % CKPT_FILE_BUCKETS;
}

void *ckpt_capture_grow(struct ckpt_arena *arena, void *v, size_t n, size_t *roomp, size_t size)
{
	void *bigger;

	if (n < *roomp)
		return v;
	*roomp = *roomp ? 2 * *roomp : 16;
	bigger = ckpt_alloc(arena, *roomp * size);
	if (n)
		memcpy(bigger, v, n * size);
	return bigger;
}

struct ckpt_capture_file *ckpt_capture_file_add(struct ckpt_capture *c,
						const struct ckpt_kind *kind,
						const struct ckpt_probe *probe)
{
	struct ckpt_capture_file *f = ckpt_new(c->arena, struct ckpt_capture_file);

	f->fd = f->flying = -1;
	f->obj = ckpt_new(c->arena, struct ckpt_object);
	f->obj->id = c->n_files + 1;
	f->obj->kind = kind;
	f->obj->file.dev = probe->st.st_dev;
	f->obj->file.ino = probe->st.st_ino;
	f->probe = *probe;
	f->probe.link = ckpt_strdup(c->arena, probe->link);
	c->files = ckpt_capture_grow(c->arena, c->files, c->n_files, &c->files_room,
				     sizeof(c->files[0]));
	c->files[c->n_files++] = f;
	return f;
}

void ckpt_capture_file_hold(struct ckpt_capture *c, struct ckpt_capture_file *f, int *fdp)
{
	if (c->n_held == c->max_held || *fdp < 0)
		return;
	c->n_held++;
	f->fd = ckpt_take_fd(fdp);
}

void ckpt_capture_files_end(struct ckpt_capture *c)
{
	for (size_t i = 0; i < c->n_files; i++)
		ckpt_close_fd(&c->files[i]->fd);
	for (size_t i = 0; i < c->n_files; i++)
		ckpt_close_fd(&c->files[i]->flying);
}

static struct ckpt_file_class *find_class(struct ckpt_capture *c, const struct found *d)
{
	const struct stat *st = &d->probe.st;
	uint32_t flags = d->look->info.flags & ~O_CLOEXEC;
	uint32_t h = ckpt_file_hash(st->st_dev ^ (uint64_t)flags << 32 ^ d->look->info.id << 20,
				    st->st_ino ^ d->look->info.pos << 20);
	struct ckpt_file_class *k;

	for (k = c->class_of[h]; k; k = k->next) {
		if (k->dev == st->st_dev && k->ino == st->st_ino && k->pos == d->look->info.pos &&
		    k->flags == flags && k->mode == st->st_mode && k->id == d->look->info.id)
			return k;
	}
	k = ckpt_new(c->arena, struct ckpt_file_class);
	*k = (struct ckpt_file_class){ .dev = st->st_dev,
				       .ino = st->st_ino,
				       .pos = d->look->info.pos,
				       .flags = flags,
				       .mode = st->st_mode,
				       .id = d->look->info.id,
				       .next = c->class_of[h] };
	c->class_of[h] = k;
	return k;
}

/* The file that D refers to, if it has been seen; otherwise NULL, and *ATP is where it goes in its
 * class. */
static int find_file(struct ckpt_capture *c, const struct ckpt_file_class *k, const struct found *d,
		     size_t *atp, struct ckpt_capture_file **filep, struct ckpt_err *err)
{
	size_t low = 0, high = k->n;

	*filep = NULL;
	while (low < high) {
		size_t mid = (low + high) / 2;
		const struct ckpt_capture_file *f = k->v[mid];
		bool flew = f->origin == CKPT_FROM_FLIGHT;
		int order = c->src->ops->compare(c->src, d->flying ? getpid() : d->t->frozen->pid,
						 flew ? getpid() : f->pid, KCMP_FILE,
						 d->look->number, flew ? f->flying : f->number);

		if (order < 0)
			return ckpt_fail(err, order, "cannot compare with fd %d of process %d",
					 f->number, f->pid);
		if (!order) {
			*filep = k->v[mid];
			return 0;
		}
		if (order == 1)
			high = mid;
		else
			low = mid + 1;
	}
	*atp = low;
	return 0;
}

static void class_insert(struct ckpt_capture *c, struct ckpt_file_class *k, size_t at,
			 struct ckpt_capture_file *f)
{
	k->v = ckpt_capture_grow(c->arena, k->v, k->n, &k->room, sizeof(k->v[0]));
	memmove(k->v + at + 1, k->v + at, (k->n - at) * sizeof(k->v[0]));
	k->v[at] = f;
	k->n++;
}

/* Who gets a signal when something can be read, and which. */
static void ask_owner(int fd, struct ckpt_fd_extra *x)
{
	struct f_owner_ex owner = { 0 };
	uid_t ids[2] = { -1, -1 };

	if (x->flags & O_PATH)
		return;
	x->signal = fcntl(fd, F_GETSIG);
	if (x->signal < 0)
		x->signal = 0;
	if (fcntl(fd, F_GETOWN_EX, &owner) < 0)
		owner.pid = 0;
	x->has_owner = x->flags & O_ASYNC || x->signal || owner.pid;
	if (!x->has_owner)
		return;
	x->owner_type = owner.type;
	x->owner = owner.pid;
	fcntl(fd, F_GETOWNER_UIDS, ids);
	x->uid = ids[0];
	x->euid = ids[1];
}

static int too_long(struct ckpt_err *err)
{
	return ckpt_refuse(err, CKPT_E_LONG_PATH, -ENAMETOOLONG, "its path has more than %d bytes",
			   PATH_MAX);
}

/* A link that was read before the freeze may be that of another file by now. */
static int confirm_link(struct ckpt_capture *c, struct found *d, struct ckpt_err *err)
{
	const struct ckpt_look *look = d->look;
	char name[32], link[PATH_MAX + 16];
	int r;

	if (ckpt_look_holds(look, &d->probe.st)) {
		d->probe.link_leads = look->leads && ckpt_same_file(&look->there, &d->probe.st);
		return 0;
	}
	snprintf(name, sizeof(name), "fd/%d", look->number);
	r = c->src->ops->read_link(c->src, d->t->frozen->pid, name, link, sizeof(link), err);
	if (r < 0 && r != -ENAMETOOLONG)
		return r;
	d->probe.link = r < 0 ? ckpt_long_path(c->arena, d->fd) : ckpt_strdup(c->arena, link);
	return d->probe.link ? 0 : too_long(err);
}

static int probe(struct ckpt_capture *c, struct found *d, struct ckpt_err *err)
{
	const struct ckpt_look *look = d->look;
	int r;

	d->probe.path_only = look->info.flags & O_PATH;
	if (d->flying)
		d->fd = fcntl(look->number, F_DUPFD_CLOEXEC, 0);
	else
		d->fd = c->src->ops->dup_fd(c->src, d->t->frozen->pid, look->number, err);
	if (d->fd < 0)
		return d->flying ? ckpt_fail(err, -errno, "cannot duplicate") : d->fd;
	d->probe.link = look->link ? look->link : ckpt_long_path(c->arena, d->fd);
	if (!d->probe.link)
		return too_long(err);
	r = ckpt_probe_fill(c, d->fd, &d->probe, err);
	if (r < 0)
		return r;
	r = confirm_link(c, d, err);
	if (r < 0)
		return r;
	d->extra = (struct ckpt_fd_extra){ .number = look->number,
					   .flags = look->info.flags & ~O_CLOEXEC,
					   .locked = look->info.lock[0] };
	ask_owner(d->fd, &d->extra);
	if (look->info.lock[0] && !c->opts->file_locks)
		ckpt_problem_add(c->problems, CKPT_E_FILE_LOCK,
				 "%s: fd %d: %s: a lock (%s) is held", d->t->who, d->look->number,
				 d->probe.link, d->look->info.lock);
	/* Files on disk have a position always; for devices it depends. */
	d->has_pos = !(d->look->info.flags & O_PATH) &&
		     (S_ISREG(d->probe.st.st_mode) || S_ISDIR(d->probe.st.st_mode) ||
		      lseek(d->fd, 0, SEEK_CUR) >= 0);
	return 0;
}

/* Named once, not for every task that has inherited it. */
static struct ckpt_capture_file *unclaimed_file(struct ckpt_capture *c, const struct found *d)
{
	char what[PATH_MAX + 80];

	ckpt_probe_describe(&d->probe, what, sizeof(what));
	ckpt_problem_add(c->problems, CKPT_E_FILE_KIND,
			 "%s: fd %d: %.800s: this kind of file cannot be dumped", d->t->who,
			 d->look->number, what);
	return ckpt_new(c->arena, struct ckpt_capture_file);
}

static void keep_names(struct ckpt_object *obj, const struct ckpt_probe *probe, uint32_t mount)
{
	obj->file.link = probe->link;
	obj->file.rdev = probe->st.st_rdev;
	obj->file.mount = mount;
	obj->file.domain = probe->domain > 0 ? probe->domain : 0;
	obj->file.type = probe->domain > 0 ? probe->type : 0;
}

/* That the user keeps it out of the image. */
static const struct ckpt_rule *find_rule(struct ckpt_capture *c, const struct found *d,
					 const struct ckpt_kind *kind)
{
	struct ckpt_object obj = { .id = c->n_files + 1,
				   .file = { .dev = d->probe.st.st_dev,
					     .ino = d->probe.st.st_ino } };

	if (!c->opts->rules || !c->opts->rules->n)
		return NULL;
	keep_names(&obj, &d->probe, d->look->info.mount);
	return ckpt_rules_match(c->opts->rules, &obj, kind ? kind->name : "", d->t->frozen->pid,
				d->look->number);
}

/* A file that has not been seen yet. Without an object if no kind wants it, which is a problem and
 * has been added. */
static int new_file(struct ckpt_capture *c, struct found *d, struct ckpt_capture_file **filep,
		    struct ckpt_err *err)
{
	const struct ckpt_rule *rule;
	const struct ckpt_kind *kind;
	struct ckpt_capture_file *f;
	const char *was;
	int r = ckpt_probe_kind(&d->probe, &kind, err);

	if (r < 0)
		return r;
	rule = d->flying ? NULL : find_rule(c, d, kind);
	was = kind ? kind->name : "";
	if (rule)
		kind = ckpt_kind_find("external");
	f = kind ? ckpt_capture_file_add(c, kind, &d->probe) : unclaimed_file(c, d);
	f->rule = rule;
	f->was = was;
	f->origin = CKPT_FROM_FD;
	f->pid = d->t->frozen->pid;
	f->number = d->look->number;
	f->fdinfo = d->look->text ? ckpt_strdup(c->arena, d->look->text) : NULL;
	*filep = f;
	if (d->flying) {
		f->origin = CKPT_FROM_FLIGHT;
		f->number = -1;
	}
	if (!kind)
		return 0;
	f->obj->task = d->t->task->id;
	keep_names(f->obj, &f->probe, d->look->info.mount);
	f->obj->file.flags = d->look->info.flags & ~O_CLOEXEC;
	f->obj->file.has_pos = d->has_pos;
	f->obj->file.pos = d->has_pos ? d->look->info.pos : 0;
	if (!d->flying)
		ckpt_capture_file_hold(c, f, &d->fd);
	return 0;
}

static void add_extra(struct ckpt_capture *c, const struct found *d)
{
	struct ckpt_capture_task *t = d->t;

	if (!d->extra.locked && !d->extra.has_owner)
		return;
	t->extra = ckpt_capture_grow(c->arena, t->extra, t->n_extra, &t->extra_room,
				     sizeof(t->extra[0]));
	t->extra[t->n_extra++] = d->extra;
}

/* Which file it is, a new one or one that was seen before. */
static int sort_in(struct ckpt_capture *c, struct found *d, struct ckpt_capture_file **filep,
		   struct ckpt_err *err)
{
	struct ckpt_file_class *k;
	size_t at = 0;
	int r = probe(c, d, err);

	if (r < 0)
		return r;
	k = find_class(c, d);
	r = find_file(c, k, d, &at, filep, err);
	if (r < 0 || *filep)
		return r;
	r = new_file(c, d, filep, err);
	if (r < 0)
		return r;
	if (d->flying)
		(*filep)->flying = d->look->number;
	class_insert(c, k, at, *filep);
	d->extra.first = true;
	return 0;
}

static int add_fd(struct ckpt_capture *c, struct found *d, size_t *roomp, struct ckpt_err *err)
{
	struct ckpt_task *task = d->t->task;
	struct ckpt_capture_file *f;
	int r = sort_in(c, d, &f, err);

	if (r < 0)
		return r;
	if (!f->obj)
		return 0;
	add_extra(c, d);
	task->fds =
		ckpt_capture_grow(c->arena, task->fds, task->n_fds, roomp, sizeof(task->fds[0]));
	task->fds[task->n_fds++] = (struct ckpt_fd){
		.number = d->look->number,
		.cloexec = d->look->info.flags & O_CLOEXEC,
		.object = f->obj->id,
	};
	return 0;
}

/* What /proc shows of a descriptor of ours. */
static int look_at_ours(struct ckpt_capture *c, int fd, struct ckpt_look *look,
			struct ckpt_err *err)
{
	char path[64], link[PATH_MAX + 16], *text;
	ssize_t n;
	int r;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return ckpt_fail(err, -errno, "%s: cannot read the link", path);
	link[n] = '\0';
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	CKPT_FD info = open(path, O_RDONLY | O_CLOEXEC);
	if (info < 0)
		return ckpt_fail(err, -errno, "%s: cannot open", path);
	r = ckpt_read_all(c->arena, info, &text, NULL, err);
	if (r < 0)
		return ckpt_in(err, r, "%s", path);
	*look = (struct ckpt_look){ .number = fd,
				    .link = ckpt_strdup(c->arena, link),
				    .text = text };
	return ckpt_fdinfo_parse(text, &look->info, err);
}

int ckpt_capture_flying(struct ckpt_capture *c, struct ckpt_capture_task *t, int *fdp,
			uint32_t *idp, struct ckpt_err *err)
{
	struct ckpt_look look;
	struct found d = { .t = t, .flying = true, .look = &look, .fd = -1 };
	struct ckpt_capture_file *f;
	int r = look_at_ours(c, *fdp, &look, err);

	if (r >= 0)
		r = sort_in(c, &d, &f, err);
	ckpt_close_fd(&d.fd);
	if (r < 0)
		return ckpt_in(err, r, "%s: a descriptor in flight", t->who);
	*idp = f->obj ? f->obj->id : 0;
	if (f->flying == *fdp)
		*fdp = -1;
	if (f->origin == CKPT_FROM_FLIGHT && (d.extra.locked || d.extra.has_owner))
		ckpt_problem_add(c->problems, CKPT_E_IN_FLIGHT,
				 "%s: %s: it is in flight (SCM_RIGHTS) with %s", t->who, look.link,
				 d.extra.locked ? "a lock" : "an owner for signals");
	return 0;
}

static int compare_numbers(const void *a, const void *b)
{
	const struct ckpt_fd *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

static int add_looked(struct ckpt_capture *c, struct ckpt_capture_task *t,
		      const struct ckpt_look *look, size_t n, size_t *roomp, struct ckpt_err *err)
{
	for (size_t i = 0; i < n; i++) {
		struct found d = { .t = t, .look = &look[i], .fd = -1 };
		int r = look[i].code;

		if (r < 0)
			r = ckpt_fail(err, r, "%s", look[i].what);
		else
			r = add_fd(c, &d, roomp, err);
		ckpt_close_fd(&d.fd);
		ckpt_in(err, r, "%s: fd %d", t->who, look[i].number);
		r = ckpt_capture_problem(c, r, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int task_files(struct ckpt_capture *c, struct ckpt_capture_task *t, struct ckpt_err *err)
{
	struct ckpt_fd_batch batch;
	size_t room = 0;
	int r = ckpt_fd_batch_open(&batch, c, t->frozen, err);

	while (r >= 0) {
		const struct ckpt_look *look;
		size_t n = ckpt_fd_batch_next(&batch, &look);

		if (!n)
			break;
		r = add_looked(c, t, look, n, &room, err);
	}
	ckpt_fd_batch_close(&batch);
	if (t->task->n_fds)
		qsort(t->task->fds, t->task->n_fds, sizeof(t->task->fds[0]), compare_numbers);
	return r;
}

int ckpt_capture_files(struct ckpt_capture *c, struct ckpt_err *err)
{
	c->max_held = ckpt_fds_to_keep(4, MAX_HELD);
	for (size_t i = 0; i < c->n_tasks; i++) {
		int r = 0;

		if (!c->tasks[i].frozen->zombie)
			r = task_files(c, &c->tasks[i], err);
		if (r >= 0)
			r = ckpt_capture_go_on(c, err);
		if (r < 0)
			return r;
	}
	return 0;
}
