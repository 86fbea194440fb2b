/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors in flight: open files that wait in the queue of a Unix socket (SCM_RIGHTS), maybe
 * nowhere else. Peeking gives us duplicates, which become files of the capture; a socket among them
 * has a queue in turn.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include "engine/base/cleanup.h"
#include "engine/capture/state.h"
#include "engine/capture/unix-queue.h"

static struct ckpt_capture_task *task_of(struct ckpt_capture *c, pid_t pid)
{
	for (size_t i = 0; i < c->n_tasks; i++)
		if (c->tasks[i].frozen->pid == pid)
			return &c->tasks[i];
	return NULL;
}

static bool is_listening(int fd)
{
	socklen_t len = sizeof(int);
	int on = 0;

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) == 0 && on;
}

/* The message keeps the descriptors that are not needed, to be closed with the queue. */
static int add_rights(struct ckpt_capture *c, struct ckpt_capture_task *t,
		      struct ckpt_unix_message *m, struct ckpt_err *err)
{
	int r = 0;

	m->objects = ckpt_alloc(c->arena, (m->n_rights + 1) * sizeof(*m->objects));
	m->n_objects = m->n_rights;
	for (size_t i = 0; r >= 0 && i < m->n_rights; i++)
		r = ckpt_capture_flying(c, t, &m->rights[i], &m->objects[i], err);
	return r;
}

static int look_into(struct ckpt_capture *c, struct ckpt_capture_file *f, struct ckpt_err *err)
{
	struct ckpt_capture_task *t = task_of(c, f->pid);
	struct ckpt_unix_queue *q = ckpt_new(c->arena, struct ckpt_unix_queue);
	CKPT_FD own = -1;
	int fd = f->fd, r = 0;

	if (fd < 0) {
		r = ckpt_capture_file_open(c, f, &own, err);
		fd = own;
	}
	if (r < 0 || !t || is_listening(fd))
		return r;
	r = ckpt_unix_peek(c->arena, fd, f->probe.type, q, err);
	if (r < 0)
		ckpt_in(err, r, "%s: fd %d: %s", t->who, f->number, f->probe.link);
	for (size_t i = 0; r >= 0 && i < q->n; i++)
		r = add_rights(c, t, &q->v[i], err);
	ckpt_unix_queue_close(q);
	f->queue = q;
	return ckpt_capture_problem(c, r, err);
}

int ckpt_capture_in_flight(struct ckpt_capture *c, struct ckpt_err *err)
{
	int r = 0;

	/* There are more of them while we go on. */
	for (size_t i = 0; r >= 0 && i < c->n_files; i++) {
		struct ckpt_capture_file *f = c->files[i];

		if (f->probe.domain == AF_UNIX && !f->probe.path_only && !f->rule)
			r = look_into(c, f, err);
	}
	return r;
}

const struct ckpt_unix_queue *ckpt_unix_queue_seen(const struct ckpt_collect *c)
{
	const struct ckpt_capture *cap = c->capture;

	return cap && c->object && c->object <= cap->n_files ? cap->files[c->object - 1]->queue :
							       NULL;
}

bool ckpt_unix_seen_elsewhere(const struct ckpt_collect *c, const void *name, size_t len)
{
	const struct ckpt_capture *cap = c->capture;

	for (size_t i = 0; cap && i < cap->n_files; i++) {
		const struct ckpt_unix_queue *q = cap->files[i]->queue;

		for (size_t k = 0; q && q->of_any && k < q->n; k++)
			if (q->v[k].from_len == len && !memcmp(q->v[k].from, name, len))
				return true;
	}
	return false;
}
