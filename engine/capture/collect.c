/* SPDX-License-Identifier: Apache-2.0 */
/* What a kind may ask while it collects. Without a capture behind it (unit tests of kinds) it gets
 * the plain answers. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/creds.h"
#include "engine/base/label.h"
#include "engine/base/text.h"
#include "engine/capture/state.h"

struct ckpt_collect ckpt_collect_of(struct ckpt_capture *c, pid_t pid, pid_t tid)
{
	return (struct ckpt_collect){
		.src = c->src,
		.arena = c->arena,
		.capture = c,
		.pid = pid,
		.tid = tid,
		.number = -1,
		.fd = -1,
		.shell_job = c->opts->shell_job,
		.tcp_close = c->opts->tcp_close,
		.skip_in_flight = c->opts->skip_in_flight,
		.policy = c->opts->files,
	};
}

int ckpt_proc_text(struct ckpt_collect *c, const char *name, char **textp, size_t *lenp,
		   struct ckpt_err *err)
{
	const char *known;
	size_t len;

	known = c->capture && c->tid == c->pid ?
			ckpt_capture_read_ahead(c->capture, c->pid, name, &len) :
			NULL;
	if (known) {
		*textp = memcpy(ckpt_alloc(c->arena, len + 1), known, len + 1);
		if (lenp)
			*lenp = len;
		return 0;
	}
	CKPT_FD fd = c->src->ops->open_proc(c->src, c->tid, name, err);

	if (fd < 0)
		return fd;
	return ckpt_in(err, ckpt_read_all(c->arena, fd, textp, lenp, err), "%s", name);
}

uint64_t ckpt_kernel_flags(struct ckpt_collect *c)
{
	for (size_t i = 0; c->capture && i < c->capture->n_tasks; i++)
		if (c->capture->tasks[i].frozen->pid == c->pid)
			return c->capture->tasks[i].stat.flags;
	return 0;
}

static struct ckpt_status *status_of(struct ckpt_capture *cap, pid_t tid)
{
	struct ckpt_status **slot = &cap->status[(uint32_t)tid % CKPT_FILE_BUCKETS], *s;

	for (s = *slot; s && s->tid != tid; s = s->next)
		;
	if (s)
		return s;
	s = ckpt_new(cap->arena, struct ckpt_status);
	s->tid = tid;
	s->next = *slot;
	return *slot = s;
}

void ckpt_status_keep(struct ckpt_capture *cap, pid_t tid, char *text)
{
	struct ckpt_status *s = status_of(cap, tid);

	s->text = text;
	s->creds = NULL;
}

void ckpt_must_not_call(struct ckpt_capture *cap, pid_t tid)
{
	status_of(cap, tid)->silent = true;
}

bool ckpt_may_call(struct ckpt_capture *cap, pid_t tid)
{
	const struct ckpt_status *s = status_of(cap, tid);

	return s->text && !s->silent;
}

int ckpt_status_text(struct ckpt_collect *c, const char **textp, struct ckpt_err *err)
{
	struct ckpt_status *s = c->capture ? status_of(c->capture, c->tid) : NULL;
	char *text;
	int r;

	if (s && s->text) {
		*textp = s->text;
		return 0;
	}
	/* /proc/TID is the thread, though it is not listed. */
	r = ckpt_proc_text(c, "status", &text, NULL, err);
	if (r < 0)
		return r;
	if (s)
		ckpt_status_keep(c->capture, c->tid, text);
	*textp = text;
	return 0;
}

int ckpt_status_creds(struct ckpt_collect *c, struct ckpt_creds **credsp, struct ckpt_err *err)
{
	struct ckpt_status *s = c->capture ? status_of(c->capture, c->tid) : NULL;
	struct ckpt_creds *creds;
	const char *text;
	int r;

	if (s && s->creds) {
		*credsp = s->creds;
		return 0;
	}
	creds = ckpt_new(c->arena, struct ckpt_creds);
	r = ckpt_status_text(c, &text, err);
	if (r >= 0)
		r = ckpt_creds_parse(c->arena, text, creds, err);
	if (r >= 0 && s)
		s->creds = creds;
	*credsp = creds;
	return r;
}

static const struct ckpt_task *task_of(const struct ckpt_capture *cap, pid_t pid)
{
	for (size_t i = 0; cap && i < cap->n_tasks; i++) {
		if (cap->tasks[i].frozen->pid == pid)
			return cap->tasks[i].task;
	}
	return NULL;
}

static int compare_number(const void *key, const void *element)
{
	int a = *(const int *)key, b = ((const struct ckpt_fd *)element)->number;

	return a < b ? -1 : a > b;
}

uint32_t ckpt_object_of_fd(struct ckpt_collect *c, pid_t pid, int number)
{
	const struct ckpt_task *task = task_of(c->capture, pid);
	const struct ckpt_fd *fd;

	if (!task || !task->n_fds)
		return 0;
	fd = bsearch(&number, task->fds, task->n_fds, sizeof(task->fds[0]), compare_number);
	return fd ? fd->object : 0;
}

bool ckpt_epoll_target_is(struct ckpt_collect *c, int tfd, uint32_t off, pid_t pid, int number)
{
	struct kcmp_epoll_slot slot = { .efd = c->number, .tfd = tfd, .toff = off };

	return c->src->ops->compare(c->src, pid, c->pid, KCMP_EPOLL_TFD, number,
				    (uintptr_t)&slot) == 0;
}

bool ckpt_written_in_tree(struct ckpt_collect *c)
{
	const struct ckpt_capture *cap = c->capture;

	for (size_t i = 0; cap && i < cap->n_files; i++) {
		const struct ckpt_capture_file *f = cap->files[i];

		if (f->probe.st.st_dev == c->probe->st.st_dev &&
		    f->probe.st.st_ino == c->probe->st.st_ino &&
		    (f->obj->file.flags & O_ACCMODE) != O_RDONLY && !(f->obj->file.flags & O_PATH))
			return true;
	}
	return false;
}

bool ckpt_pid_in_tree(struct ckpt_collect *c, pid_t pid)
{
	return task_of(c->capture, pid) != NULL;
}

bool ckpt_fs_is_apart(struct ckpt_collect *c)
{
	for (size_t i = 0; c->capture && i < c->capture->n_tasks; i++) {
		const struct ckpt_capture_task *t = &c->capture->tasks[i];

		for (size_t k = 0; t->frozen->pid == c->pid && k < t->n_apart; k++)
			if (t->apart[k] == c->tid)
				return true;
	}
	return !c->capture && c->src->ops->compare &&
	       c->src->ops->compare(c->src, c->pid, c->tid, KCMP_FS, 0, 0) > 0;
}

bool ckpt_tid_in_tree(struct ckpt_collect *c, pid_t tid)
{
	for (size_t i = 0; c->capture && i < c->capture->n_tasks; i++) {
		const struct ckpt_frozen *f = c->capture->tasks[i].frozen;

		for (size_t k = 0; k < f->n_tids; k++)
			if (f->tids[k] == tid)
				return true;
	}
	return false;
}

bool ckpt_group_in_tree(struct ckpt_collect *c, pid_t group)
{
	for (size_t i = 0; c->capture && i < c->capture->n_tasks; i++)
		if (c->capture->tasks[i].task->pgid == group)
			return true;
	return false;
}

const struct ckpt_fd_extra *ckpt_fd_extras(struct ckpt_collect *c, size_t *np)
{
	*np = 0;
	for (size_t i = 0; c->capture && i < c->capture->n_tasks; i++)
		if (c->capture->tasks[i].frozen->pid == c->pid) {
			*np = c->capture->tasks[i].n_extra;
			return c->capture->tasks[i].extra;
		}
	return NULL;
}

int ckpt_call(struct ckpt_collect *c, long nr, const uint64_t arg[6], int buf_arg, void *buf,
	      size_t buf_len, int64_t *retp, struct ckpt_err *err)
{
	struct ckpt_call call = { .nr = nr, .buf_arg = buf_arg, .buf = buf, .buf_len = buf_len };
	int r;

	*retp = 0;
	if (c->capture && !ckpt_may_call(c->capture, c->tid))
		return ckpt_refuse(err, CKPT_E_SECCOMP, -EPERM, "it runs under seccomp");
	if (arg)
		memcpy(call.arg, arg, sizeof(call.arg));
	r = c->src->ops->call(c->src, c->tid, &call, err);
	*retp = call.ret;
	return r;
}

void ckpt_has_content(struct ckpt_collect *c, uint64_t size)
{
	if (!c->capture)
		return;
	c->capture->object->has_content = true;
	c->capture->object->content_size = size;
}

static void add_lost(struct ckpt_capture *cap, const char *text)
{
	struct ckpt_snapshot *snap = cap->snap;

	for (size_t i = 0; i < snap->n_lost; i++) {
		if (!strcmp(snap->lost[i], text))
			return;
	}
	snap->lost = ckpt_capture_grow(cap->arena, snap->lost, snap->n_lost, &cap->lost_room,
				       sizeof(snap->lost[0]));
	snap->lost[snap->n_lost++] = ckpt_strdup(cap->arena, text);
}

void ckpt_capture_lost(struct ckpt_capture *cap, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	add_lost(cap, text);
}

void ckpt_lost(struct ckpt_collect *c, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (c->capture)
		add_lost(c->capture, text);
}

int64_t ckpt_once(struct ckpt_collect *c, int64_t (*ask)(void))
{
	struct ckpt_capture *cap = c->capture;
	size_t i = 0;

	if (!cap)
		return ask();
	while (i < CKPT_ONCE_MAX && cap->once[i].ask && cap->once[i].ask != ask)
		i++;
	if (i == CKPT_ONCE_MAX)
		return ask();
	if (!cap->once[i].ask) {
		cap->once[i].answer = ask();
		cap->once[i].ask = ask;
	}
	return cap->once[i].answer;
}

static int64_t cpus_online(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN);
}

long ckpt_cpus_online(struct ckpt_collect *c)
{
	return ckpt_once(c, cpus_online);
}

bool ckpt_has_labels(struct ckpt_collect *c)
{
	struct ckpt_capture *cap = c->capture;

	if (!cap)
		return true;
	if (!cap->asked_label) {
		cap->label = ckpt_label_own(cap->arena);
		cap->asked_label = true;
	}
	return cap->label;
}
