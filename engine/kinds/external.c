/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open files that a rule of the user is about (engine/model/rules.h): what they were is of no
 * interest, the rule says what they become. The capture and the planner put this kind in the place
 * of the one that would have claimed them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/capture/socket.h"
#include "engine/model/object.h"
#include "engine/model/rules.h"
#include "engine/plan/path.h"
#include "engine/plan/site.h"
#include "proto/external.pb-c.h"

#define NOT_OPENED_WITH (O_CREAT | O_EXCL | O_TRUNC)

static bool match(const struct ckpt_probe *probe)
{
	(void)probe;
	return false;
}

static void keep_name(struct ckpt_collect *c, int (*ask)(int, struct sockaddr *, socklen_t *),
		      ProtobufCBinaryData *name, protobuf_c_boolean *hasp)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);

	if (ask(c->fd, (void *)&a, &len) < 0 || len > sizeof(a))
		return;
	*hasp = true;
	name->len = len;
	name->data = memcpy(ckpt_alloc(c->arena, len), &a, len);
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__External *m = (void *)msg;

	m->kind = (char *)c->was;
	m->action = (char *)c->rule->action_text;
	if (c->rule->action.act == CKPT_ACT_FAIL)
		return ckpt_refuse(err, CKPT_E_RULE_FAILS, -ECANCELED, "%s: rule \"%s\" refuses it",
				   c->probe->link, c->rule->text);
	if (c->rule->action.act == CKPT_ACT_FD)
		m->action = (char *)"";
	if (c->probe->domain < 0)
		return 0;
	keep_name(c, getsockname, &m->name, &m->has_name);
	keep_name(c, getpeername, &m->peer, &m->has_peer);
	return ckpt_socket_collect(c, true, &m->socket, err);
}

/* ---- plan ---- */

static bool is_socket(const struct ckpt_object *obj)
{
	return obj->file.domain > 0;
}

static bool is_pipe(const struct ckpt_object *obj)
{
	return obj->file.link && !strncmp(obj->file.link, "pipe:[", 6);
}

static bool is_terminal(const struct ckpt_object *obj)
{
	return obj->file.link && obj->file.rdev &&
	       (!strncmp(obj->file.link, "/dev/pts/", 9) ||
		!strncmp(obj->file.link, "/dev/tty", 8));
}

static bool is_mapped(const struct ckpt_snapshot *snap, uint32_t id)
{
	for (size_t i = 0; i < snap->n_tasks; i++) {
		const Ckpt__Mm *mm = snap->tasks[i]->mm;

		for (size_t j = 0; mm && j < mm->n_areas; j++)
			if (mm->areas[j]->file == id || mm->exe == id)
				return true;
	}
	return false;
}

static int cannot(const struct ckpt_object *obj, const char *action, const char *why,
		  struct ckpt_err *err)
{
	return ckpt_refuse(err, CKPT_E_RULE_CANNOT, -EINVAL, "%s: rule \"%s\": %s",
			   obj->file.link ? obj->file.link : "?", action, why);
}

static int plan_here(struct ckpt_planner *p, const struct ckpt_object *obj, const char *action,
		     const struct ckpt_action *a, struct ckpt_err *err)
{
	struct stat st;

	if (a->act == CKPT_ACT_NONE) {
		char who[CKPT_WHO];

		ckpt_problem(p, CKPT_E_EXTERNAL, "%s%s: it was left out of the image",
			     ckpt_path_who(p, obj, who, sizeof(who)),
			     obj->file.link ? obj->file.link : "?");
	}
	if (a->act == CKPT_ACT_FD && fcntl(a->fd, F_GETFD) < 0)
		return cannot(obj, action, "ckpt has no such descriptor", err);
	if (a->act == CKPT_ACT_PATH && stat(a->path, &st) < 0)
		return cannot(obj, action, "there is no such file", err);
	return 0;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__External *m = (const void *)obj->msg;
	struct ckpt_action a;
	int r = 0;

	if (!ckpt_action_parse(m->action, &a) || (m->socket && !ckpt_socket_sane(m->socket)) ||
	    m->peer.len > sizeof(struct sockaddr_storage))
		return ckpt_fail(err, -EBADMSG, "external %u: bad rule", obj->id);
	if (a.act == CKPT_ACT_FAIL)
		return ckpt_refuse(err, CKPT_E_RULE_FAILS, -ECANCELED, "%s: a rule refuses it",
				   obj->file.link ? obj->file.link : "?");
	if (a.act == CKPT_ACT_CLOSE && !is_socket(obj) && !is_pipe(obj) && !is_terminal(obj))
		r = cannot(obj, m->action, "only a socket, pipe or terminal has another end", err);
	else if (a.act == CKPT_ACT_RECONNECT && !m->has_peer)
		r = cannot(
			obj, m->action,
			"it is no socket with a peer that has a name, or the dump was not given the rule",
			err);
	else if ((a.act == CKPT_ACT_DROP || a.act == CKPT_ACT_CLOSE) &&
		 is_mapped(ckpt_planner_snapshot(p), obj->id))
		r = cannot(obj, m->action, "it is mapped", err);
	if (r < 0 || !ckpt_planner_host(p))
		return r;
	return plan_here(p, obj, m->action, &a, err);
}

/* ---- create ---- */

/* A descriptor for the other direction of a pipe or terminal is made from it. */
static int take_given(const struct ckpt_object *obj, int fd, struct ckpt_err *err)
{
	int has = fcntl(fd, F_GETFL), want = obj->file.flags & O_ACCMODE, r;
	char link[40];

	if (has >= 0 &&
	    (is_socket(obj) || (has & O_ACCMODE) == O_RDWR || (has & O_ACCMODE) == want)) {
		r = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	} else {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		r = open(link, want | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	}
	return r < 0 ? ckpt_fail(err, -errno, "descriptor %d: cannot take it", fd) : r;
}

static int connect_to(const struct ckpt_object *obj, const void *peer, socklen_t len,
		      struct ckpt_err *err)
{
	const Ckpt__External *m = (const void *)obj->msg;
	const struct sockaddr *any = peer;
	CKPT_FD fd = socket(any->sa_family, obj->file.type | SOCK_CLOEXEC, 0);

	if (fd < 0 || (m->socket && ckpt_socket_set(fd, m->socket, err) < 0))
		return err->code ? err->code : ckpt_fail(err, -errno, "cannot make a socket");
	if (connect(fd, peer, len) < 0)
		return ckpt_fail(err, -errno, "%s: cannot connect again",
				 obj->file.link ? obj->file.link : "?");
	if (m->socket && ckpt_socket_set_late(fd, m->socket, err) < 0)
		return err->code;
	return ckpt_take_fd(&fd);
}

static int open_path(const struct ckpt_object *obj, const char *path, struct ckpt_err *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd;

	if (is_socket(obj)) {
		if (strlen(path) >= sizeof(a.sun_path))
			return ckpt_fail(err, -ENAMETOOLONG, "socket %s", path);
		strcpy(a.sun_path, path);
		return connect_to(obj, &a, sizeof(a), err);
	}
	fd = open(path, (obj->file.flags & ~NOT_OPENED_WITH) | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? ckpt_fail(err, -errno, "%s: cannot open", path) : fd;
}

static int hang_up(const struct ckpt_object *obj, struct ckpt_err *err)
{
	CKPT_FD master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	int unlocked = 0, fd;

	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlocked) < 0)
		return ckpt_fail(err, -errno, "cannot open /dev/ptmx");
	fd = ioctl(master, TIOCGPTPEER, (obj->file.flags & O_ACCMODE) | O_NOCTTY);
	return fd < 0 ? ckpt_fail(err, -errno, "cannot open a terminal") : fd;
}

/* Without a connection shutdown(2) says ENOTCONN, and does it. */
static int without_other_end(const struct ckpt_object *obj, struct ckpt_err *err)
{
	bool pair = obj->file.domain == AF_UNIX, mine = 0;
	int fd[2] = { -1, -1 }, r;

	if (is_terminal(obj))
		return hang_up(obj, err);
	if (is_pipe(obj)) {
		mine = (obj->file.flags & O_ACCMODE) == O_WRONLY;
		r = pipe2(fd, O_CLOEXEC);
	} else if (pair) {
		r = socketpair(AF_UNIX, obj->file.type | SOCK_CLOEXEC, 0, fd);
	} else {
		r = fd[0] = socket(obj->file.domain, obj->file.type | SOCK_CLOEXEC, 0);
		if (r >= 0)
			shutdown(fd[0], SHUT_RDWR);
	}
	if (r < 0)
		return ckpt_fail(err, -errno, "cannot make one without another end");
	if (fd[!mine] >= 0)
		close(fd[!mine]);
	return fd[mine];
}

static int create(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__External *m = (const void *)obj->msg;
	struct ckpt_action a;
	int r = -EINVAL;

	(void)site;
	ckpt_action_parse(m->action, &a);
	if (a.act == CKPT_ACT_FD)
		r = take_given(obj, a.fd, err);
	else if (a.act == CKPT_ACT_PATH)
		r = open_path(obj, a.path, err);
	else if (a.act == CKPT_ACT_RECONNECT)
		r = connect_to(obj, m->peer.data, m->peer.len, err);
	else if (a.act == CKPT_ACT_CLOSE)
		r = without_other_end(obj, err);
	else if (a.act == CKPT_ACT_DROP)
		/* Nobody gets it. It is there for who refers to it, as epoll does. */
		r = eventfd(0, EFD_CLOEXEC);
	return r < 0 ? ckpt_in(err, r, "rule \"%s\"", m->action) : r;
}

const struct ckpt_kind ckpt_kind_external = {
	.name = "external",
	.scope = CKPT_PER_FILE,
	.message = &ckpt__external__descriptor,
	.match = match,
	.collect = collect,
	.plan = plan,
	.create = create,
};
