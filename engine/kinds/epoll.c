/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epoll(7). The kernel knows an entry by file and number; the number may be closed or used for
 * something else by now, so that what it refers to is asked with kcmp(2). The entries are added
 * again in the task that has the numbers.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/plan.h"
#include "engine/plan/site.h"
#include "proto/epoll.pb-c.h"

/* All that is left of the events of an entry with EPOLLONESHOT that has fired. */
#define PRIVATE ((uint32_t)(EPOLLONESHOT | EPOLLET | EPOLLWAKEUP | EPOLLEXCLUSIVE))
#define ANY_EVENT (EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLERR | EPOLLHUP)

struct params { /* struct epoll_params, Linux 6.9 */
	uint32_t busy_usecs;
	uint16_t busy_budget;
	uint8_t prefer_busy, pad;
};
#define SET_PARAMS _IOW(0x8a, 1, struct params)
#define GET_PARAMS _IOR(0x8a, 2, struct params)

static bool match(const struct ckpt_probe *probe)
{
	return ckpt_probe_anon(probe, "eventpoll");
}

/* One line of fdinfo: "tfd:        5 events:       19 data:                5  pos:0 ino:2b sdev:e"
 */
static bool parse_line(const char *line, Ckpt__EpollTarget *t)
{
	uint64_t events, data;
	int64_t number;

	line += strlen("tfd:");
	if (!ckpt_parse_i64(&line, 10, &number) || number < 0 || number > INT_MAX)
		return false;
	line += strspn(line, " ");
	if (strncmp(line, "events:", 7))
		return false;
	line += 7;
	if (!ckpt_parse_u64(&line, 16, &events) || events > UINT32_MAX)
		return false;
	line += strspn(line, " ");
	if (strncmp(line, "data:", 5))
		return false;
	line += 5;
	if (!ckpt_parse_u64(&line, 16, &data))
		return false;
	t->number = number;
	t->events = events;
	t->data = data;
	return true;
}

/* Any descriptor of the task PID that is the file of the entry. */
static uint32_t search_task(struct ckpt_collect *c, const Ckpt__EpollTarget *t, uint32_t off,
			    pid_t pid)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;
	int fd = c->src->ops->open_proc(c->src, pid, "fd", &ignored);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	uint32_t found = 0;

	if (!dir && fd >= 0)
		close(fd);
	for (struct dirent *e = dir ? readdir(dir) : NULL; e && !found; e = readdir(dir)) {
		int number = atoi(e->d_name);

		if (e->d_name[0] != '.' && ckpt_object_of_fd(c, pid, number) &&
		    ckpt_epoll_target_is(c, t->number, off, pid, number))
			found = ckpt_object_of_fd(c, pid, number);
	}
	if (dir)
		closedir(dir);
	return found;
}

static uint32_t search_tree(struct ckpt_collect *c, const Ckpt__EpollTarget *t, uint32_t off)
{
	uint32_t found = search_task(c, t, off, c->pid);
	DIR *proc = found ? NULL : opendir("/proc");

	for (struct dirent *e = proc ? readdir(proc) : NULL; e && !found; e = readdir(proc)) {
		pid_t pid = atoi(e->d_name);

		if (pid > 0 && pid != c->pid && ckpt_pid_in_tree(c, pid))
			found = search_task(c, t, off, pid);
	}
	if (proc)
		closedir(proc);
	return found;
}

/* Entries of one number (with different files) are told apart by their order. */
static uint32_t find_target(struct ckpt_collect *c, const Ckpt__Epoll *m,
			    const Ckpt__EpollTarget *t)
{
	uint32_t object = ckpt_object_of_fd(c, c->pid, t->number), off = 0;

	for (size_t i = 0; i < m->n_targets; i++)
		off += m->targets[i]->number == t->number;
	if (object && ckpt_epoll_target_is(c, t->number, off, c->pid, t->number))
		return object;
	return search_tree(c, t, off);
}

/* How it polls network devices. */
static void collect_params(struct ckpt_collect *c, Ckpt__Epoll *m)
{
	struct params params = { 0 };

	if (ioctl(c->fd, GET_PARAMS, &params) < 0)
		return;
	m->has_busy_usecs = m->busy_usecs = params.busy_usecs;
	m->has_busy_budget = m->busy_budget = params.busy_budget;
	m->has_prefer_busy = m->prefer_busy = params.prefer_busy;
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Epoll *m = (void *)msg;
	char *text;
	int r = ckpt_fdinfo(c, &text, err);

	if (r < 0)
		return r;
	collect_params(c, m);
	m->targets = ckpt_alloc(c->arena, ckpt_count_text(text, "tfd:") * sizeof(*m->targets));
	for (const char *at = text; (at = strstr(at, "tfd:")); at++) {
		Ckpt__EpollTarget *t;

		if (at != text && at[-1] != '\n')
			continue;
		t = ckpt_new(c->arena, Ckpt__EpollTarget);
		ckpt__epoll_target__init(t);
		if (!parse_line(at, t))
			return ckpt_fail(err, -EBADMSG, "epoll: cannot understand \"%.80s\"", at);
		t->object = find_target(c, m, t);
		if (!t->object)
			return ckpt_refuse(
				err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
				"epoll: it watches a file, added as "
				"descriptor %u, that no process of the tree has open any more",
				t->number);
		m->targets[m->n_targets++] = t;
	}
	return 0;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Epoll *m = (const void *)obj->msg;
	const struct ckpt_snapshot *snap = ckpt_planner_snapshot(p);

	for (size_t i = 0; i < m->n_targets; i++) {
		const struct ckpt_object *target =
			ckpt_snapshot_object(snap, m->targets[i]->object);

		if (m->targets[i]->number > INT_MAX)
			return ckpt_fail(err, -EBADMSG, "epoll %u: bad descriptor %u", obj->id,
					 m->targets[i]->number);
		if (!target || target == obj || target->kind->scope != CKPT_PER_FILE)
			return ckpt_fail(err, -EBADMSG, "epoll %u: object %u cannot be watched",
					 obj->id, m->targets[i]->object);
	}
	return 0;
}

static int create(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Epoll *m = (const void *)obj->msg;
	struct params params = { m->busy_usecs, m->busy_budget, m->prefer_busy, 0 };
	CKPT_FD fd = epoll_create1(EPOLL_CLOEXEC);

	(void)site;
	if (fd < 0)
		return ckpt_fail(err, -errno, "epoll %u: cannot create", obj->id);
	if ((m->busy_usecs || m->busy_budget || m->prefer_busy) &&
	    ioctl(fd, SET_PARAMS, &params) < 0)
		return ckpt_fail(err, -errno, "epoll %u: cannot set how it polls", obj->id);
	return ckpt_take_fd(&fd);
}

static bool has_fired(const Ckpt__EpollTarget *t)
{
	return t->events & EPOLLONESHOT && !(t->events & ~PRIVATE);
}

/* The kernel adds EPOLLERR and EPOLLHUP to what it is given, which one that has fired must not
 * report. So it is made to fire: most files are ready for something. Where this one is ready for
 * nothing there is no more to be done. */
static int add(int epoll, const Ckpt__EpollTarget *t)
{
	struct epoll_event ev = { .events = t->events, .data.u64 = t->data }, got;

	if (!has_fired(t))
		return epoll_ctl(epoll, EPOLL_CTL_ADD, t->number, &ev);
	ev.events |= ANY_EVENT;
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, t->number, &ev) < 0)
		return -1;
	if (epoll_wait(epoll, &got, 1, 0) == 1)
		return 0;
	ev.events = t->events;
	return epoll_ctl(epoll, EPOLL_CTL_MOD, t->number, &ev);
}

/* Puts FD at the number for a moment; what is there, of the task or of the bank, comes back. */
static int add_elsewhere(int epoll, int fd, const Ckpt__EpollTarget *t)
{
	int number = t->number, flags = fcntl(number, F_GETFD), r, code;
	CKPT_FD aside = flags < 0 ? -1 : fcntl(number, F_DUPFD_CLOEXEC, 0);

	if ((flags >= 0 && aside < 0) || dup3(fd, number, O_CLOEXEC) < 0)
		return -1;
	r = add(epoll, t);
	code = errno;
	if (aside < 0)
		close(number);
	else if (dup3(aside, number, flags & FD_CLOEXEC ? O_CLOEXEC : 0) < 0)
		return -1;
	errno = code;
	return r;
}

static bool is_at_number(const struct ckpt_site *site, const Ckpt__EpollTarget *t)
{
	for (size_t i = 0; i < site->task->n_fds; i++)
		if (site->task->fds[i].number == (int)t->number)
			return site->task->fds[i].object == t->object;
	return false;
}

static int add_target(struct ckpt_site *site, const struct ckpt_object *obj,
		      const Ckpt__EpollTarget *t, struct ckpt_err *err)
{
	int epoll = site->ops->fd_of(site, obj->id, err), fd, r;

	if (epoll < 0)
		return epoll;
	if (is_at_number(site, t)) {
		r = add(epoll, t);
	} else {
		fd = site->ops->fd_of(site, t->object, err);
		if (fd < 0)
			return fd;
		r = fd == (int)t->number ? add(epoll, t) : add_elsewhere(epoll, fd, t);
	}
	return r < 0 ? ckpt_fail(err, -errno, "epoll %u: cannot add fd %u", obj->id, t->number) : 0;
}

/* Those that have to fire go first: nobody else must be taken from the queue meanwhile. */
static int attach(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Epoll *m = (const void *)obj->msg;

	for (int fired = 1; fired >= 0; fired--)
		for (size_t i = 0; i < m->n_targets; i++) {
			int r = has_fired(m->targets[i]) == fired ?
					add_target(site, obj, m->targets[i], err) :
					0;

			if (r < 0)
				return r;
		}
	return 0;
}

const struct ckpt_kind ckpt_kind_epoll = {
	.name = "epoll",
	.scope = CKPT_PER_FILE,
	.message = &ckpt__epoll__descriptor,
	.match = match,
	.collect = collect,
	.plan = plan,
	.create = create,
	.attach = attach,
};
