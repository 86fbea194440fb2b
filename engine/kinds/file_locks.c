/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks and leases on files: fcntl(2), flock(2). All but POSIX locks belong to the open file, and
 * the first task that has it takes them again. POSIX locks belong to the process, which loses them
 * when it closes any descriptor of the file: they are taken when the bank is closed, but looked at
 * before, when a failure can still say who is in the way.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include "engine/base/text.h"
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/plan.h"
#include "engine/plan/site.h"
#include "proto/file_locks.pb-c.h"

/* The word that *SP stands at, which is left behind. */
static bool take_word(const char **sp, const char *word)
{
	*sp += strspn(*sp, " ");
	if (!ckpt_word_is(*sp, word))
		return false;
	*sp += strlen(word);
	return true;
}

static void skip_word(const char **sp)
{
	*sp += strspn(*sp, " ");
	*sp += strcspn(*sp, " \n");
}

static bool parse_type(const char **sp, Ckpt__FileLock *l)
{
	static const struct {
		const char *word;
		Ckpt__FileLock__Type type;
	} types[] = {
		{ "POSIX", CKPT__FILE_LOCK__TYPE__POSIX },
		{ "OFDLCK", CKPT__FILE_LOCK__TYPE__OFD },
		{ "FLOCK", CKPT__FILE_LOCK__TYPE__FLOCK },
		{ "LEASE", CKPT__FILE_LOCK__TYPE__LEASE },
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (take_word(sp, types[i].word)) {
			l->type = types[i].type;
			return true;
		}
	return false;
}

/* "1: POSIX  ADVISORY  WRITE 123 08:01:99 0 EOF" */
static int parse_lock(const char *at, Ckpt__FileLock *l, struct ckpt_err *err)
{
	const char *line = at;
	uint64_t end;

	skip_word(&at);
	if (!parse_type(&at, l))
		return ckpt_refuse(err, CKPT_E_FILE_LOCK, -EOPNOTSUPP,
				   "fd %u: a lock of an unknown sort is held: %.*s", l->number,
				   (int)strcspn(line, "\n"), line);
	if (take_word(&at, "BREAKING"))
		return ckpt_refuse(err, CKPT_E_LEASE_BREAKING, -EAGAIN,
				   "fd %u: somebody waits for its lease to end", l->number);
	skip_word(&at); /* ADVISORY, ACTIVE */
	l->write = take_word(&at, "WRITE");
	if (!l->write && !take_word(&at, "READ"))
		return ckpt_refuse(err, CKPT_E_FILE_LOCK, -EOPNOTSUPP,
				   "fd %u: a lock of an unknown mode is held: %.*s", l->number,
				   (int)strcspn(line, "\n"), line);
	skip_word(&at); /* process */
	skip_word(&at); /* device and inode */
	if (!ckpt_parse_u64(&at, 10, &l->start))
		return ckpt_fail(err, -EBADMSG, "fd %u: cannot understand lock \"%.80s\"",
				 l->number, line);
	if (take_word(&at, "EOF"))
		l->len = 0;
	else if (ckpt_parse_u64(&at, 10, &end) && end >= l->start)
		l->len = end - l->start + 1;
	else
		return ckpt_fail(err, -EBADMSG, "fd %u: cannot understand lock \"%.80s\"",
				 l->number, line);
	l->has_start = l->start != 0;
	l->has_len = l->len != 0;
	return 0;
}

static void add(struct ckpt_collect *c, Ckpt__FileLocks *m, Ckpt__FileLock *l)
{
	if (!(m->n_locks & (m->n_locks - 1))) { /* room for a power of two */
		Ckpt__FileLock **more = ckpt_alloc(c->arena, (2 * m->n_locks + 1) * sizeof(*more));

		if (m->n_locks)
			memcpy(more, m->locks, m->n_locks * sizeof(*more));
		m->locks = more;
	}
	m->locks[m->n_locks++] = l;
}

static int collect_fd(struct ckpt_collect *c, const struct ckpt_fd_extra *x, Ckpt__FileLocks *m,
		      struct ckpt_err *err)
{
	struct ckpt_collect of_fd = *c;
	char *text;
	int r;

	of_fd.number = x->number;
	r = ckpt_fdinfo(&of_fd, &text, err);
	if (r < 0)
		return r;
	for (const char *at = text; (at = strstr(at, "lock:\t")); at++) {
		Ckpt__FileLock *l = ckpt_new(c->arena, Ckpt__FileLock);

		ckpt__file_lock__init(l);
		l->number = x->number;
		r = parse_lock(at + strlen("lock:\t"), l, err);
		if (r < 0)
			return r;
		if (x->first || l->type == CKPT__FILE_LOCK__TYPE__POSIX)
			add(c, m, l);
	}
	return 0;
}

/* Without the option the engine refuses them, all and by name. */
static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__FileLocks *m = (void *)msg;
	size_t n;
	const struct ckpt_fd_extra *x = ckpt_fd_extras(c, &n);

	for (size_t i = 0; i < n; i++) {
		int r = x[i].locked ? collect_fd(c, &x[i], m, err) : 0;

		if (r < 0)
			return r;
	}
	return m->n_locks ? 0 : 1;
}

static bool task_has(const struct ckpt_task *task, uint32_t number)
{
	for (size_t i = 0; task && i < task->n_fds; i++)
		if ((uint32_t)task->fds[i].number == number)
			return true;
	return false;
}

static struct flock as_flock(const Ckpt__FileLock *l)
{
	return (struct flock){ .l_type = l->write ? F_WRLCK : F_RDLCK,
			       .l_whence = SEEK_SET,
			       .l_start = l->start,
			       .l_len = l->len };
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__FileLocks *m = (const void *)obj->msg;
	const struct ckpt_task *task = ckpt_snapshot_task(ckpt_planner_snapshot(p), obj->task);

	for (size_t i = 0; i < m->n_locks; i++) {
		const Ckpt__FileLock *l = m->locks[i];
		struct flock fl = as_flock(l);

		if (!task_has(task, l->number)) {
			if (!ckpt_planner_host(p)) /* it was refused */
				continue;
			return ckpt_fail(err, -EBADMSG, "file locks %u: there is no fd %u", obj->id,
					 l->number);
		}
		if (l->start > INT64_MAX || l->len > INT64_MAX - l->start ||
		    (unsigned int)l->type > CKPT__FILE_LOCK__TYPE__LEASE)
			return ckpt_fail(err, -EBADMSG, "file locks %u: bad lock of fd %u", obj->id,
					 l->number);
		if (l->type == CKPT__FILE_LOCK__TYPE__POSIX)
			ckpt_call_late(p, CKPT_AFTER_MEMORY, SYS_fcntl,
				       (int64_t[6]){ l->number, F_SETLK,
						     ckpt_late_data(p, &fl, sizeof(fl)) });
	}
	return 0;
}

static int taken(const Ckpt__FileLock *l, pid_t by, struct ckpt_err *err)
{
	char who[64] = "somebody else";

	if (by > 0)
		snprintf(who, sizeof(who), "process %d", by);
	return ckpt_refuse(err, CKPT_E_LOCK_TAKEN, -EAGAIN,
			   "fd %u: cannot lock it again: %s holds a lock on the file", l->number,
			   who);
}

static int take_record_lock(const Ckpt__FileLock *l, struct ckpt_err *err)
{
	struct flock fl = as_flock(l), test = fl;
	bool posix = l->type == CKPT__FILE_LOCK__TYPE__POSIX;

	if (fcntl(l->number, posix ? F_GETLK : F_OFD_GETLK, &test) < 0)
		return ckpt_fail(err, -errno, "fd %u: cannot ask for locks", l->number);
	if (test.l_type != F_UNLCK)
		return taken(l, test.l_pid, err);
	if (!posix && fcntl(l->number, F_OFD_SETLK, &fl) < 0)
		return ckpt_fail(err, -errno, "fd %u: cannot lock it again", l->number);
	return 0;
}

static int take(const Ckpt__FileLock *l, struct ckpt_err *err)
{
	switch (l->type) {
	case CKPT__FILE_LOCK__TYPE__FLOCK:
		if (flock(l->number, (l->write ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0)
			return 0;
		return errno == EWOULDBLOCK ?
			       taken(l, 0, err) :
			       ckpt_fail(err, -errno, "fd %u: cannot lock it again", l->number);
	case CKPT__FILE_LOCK__TYPE__LEASE:
		if (fcntl(l->number, F_SETLEASE, l->write ? F_WRLCK : F_RDLCK) == 0)
			return 0;
		if (errno == EAGAIN)
			return ckpt_refuse(err, CKPT_E_LOCK_TAKEN, -EAGAIN,
					   "fd %u: cannot take its lease again: "
					   "somebody else has the file open",
					   l->number);
		return ckpt_fail(err, -errno, "fd %u: cannot take its lease again", l->number);
	default:
		return take_record_lock(l, err);
	}
}

static int attach(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__FileLocks *m = (const void *)obj->msg;
	int r = 0;

	(void)site;
	for (size_t i = 0; r >= 0 && i < m->n_locks; i++)
		r = take(m->locks[i], err);
	return r;
}

const struct ckpt_kind ckpt_kind_file_locks = {
	.name = "file_locks",
	.scope = CKPT_PER_TASK,
	.message = &ckpt__file_locks__descriptor,
	.collect = collect,
	.plan = plan,
	.attach = attach,
};
