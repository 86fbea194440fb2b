/* SPDX-License-Identifier: Apache-2.0 */
/* memfd_create(2): a file without a name; its seals are set when its content is there. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/capture/attributes.h"
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/host.h"
#include "engine/plan/inode.h"
#include "engine/plan/path.h"
#include "proto/memfd.pb-c.h"

#define PREFIX "/memfd:"
#define SUFFIX " (deleted)"
#ifndef MFD_EXEC
#define MFD_EXEC 0x10u /* Linux 6.3 */
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x20 /* Linux 6.3 */
#endif
#define SEALS                                                                             \
	(F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE | \
	 F_SEAL_EXEC)
#define MAX_NAME 249

static bool match(const struct ckpt_probe *probe)
{
	size_t len = strlen(probe->link), suffix = strlen(SUFFIX);

	return S_ISREG(probe->st.st_mode) && !strncmp(probe->link, PREFIX, strlen(PREFIX)) &&
	       len >= strlen(PREFIX) + suffix && !strcmp(probe->link + len - suffix, SUFFIX);
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Memfd *m = (void *)msg;
	const struct stat *st = &c->probe->st;
	int seals = c->fd >= 0 ? fcntl(c->fd, F_GET_SEALS) : 0;

	m->name = ckpt_strdup(c->arena, c->probe->link + strlen(PREFIX));
	m->name[strlen(m->name) - strlen(SUFFIX)] = '\0';
	m->has_huge_shift = c->probe->fs_magic == HUGETLBFS_MAGIC;
	if (m->has_huge_shift)
		m->huge_shift = __builtin_ctzll(st->st_blksize);
	if (seals < 0)
		return ckpt_fail(err, -errno, "memfd %s: cannot ask for its seals", m->name);
	if (c->fd < 0)
		ckpt_lost(
			c,
			"process %d: memfd %s: its seals, if it has any: it is closed and only mapped",
			c->pid, m->name);
	m->size = st->st_size;
	m->has_mode = m->has_seals = true;
	m->mode = st->st_mode & 07777;
	m->seals = seals;
	m->has_uid = m->has_gid = c->fd >= 0;
	m->uid = st->st_uid;
	m->gid = st->st_gid;
	ckpt_has_content(c, m->size);
	ckpt_lost_attributes(c, "memfd", m->name);
	return 0;
}

/* The seals come before the memory is mapped again, and this one would forbid that. */
static bool mapped_for_writing(const struct ckpt_snapshot *snap, const struct ckpt_object *obj)
{
	for (size_t t = 0; t < snap->n_tasks; t++) {
		const Ckpt__Mm *mm = snap->tasks[t]->mm;

		for (size_t i = 0; mm && i < mm->n_areas; i++) {
			const Ckpt__Area *a = mm->areas[i];
			const struct ckpt_object *file =
				a->has_file ? ckpt_snapshot_object(snap, a->file) : NULL;

			if (file && a->shared && a->prot & PROT_WRITE && ckpt_same_inode(file, obj))
				return true;
		}
	}
	return false;
}

/* For what it holds, and for who has a copy of his own. */
static uint64_t huge_bytes(const struct ckpt_snapshot *snap, const struct ckpt_object *obj,
			   uint64_t page)
{
	uint64_t bytes = 0, end = 0;

	for (size_t i = 0; i < obj->content.n; i++) {
		uint64_t at = obj->content.run[i].at & ~(page - 1);

		at = at < end ? end : at;
		end = (ckpt_run_end(&obj->content.run[i]) + page - 1) & ~(page - 1);
		bytes += end > at ? end - at : 0;
		end = end > at ? end : at;
	}
	for (size_t t = 0; t < snap->n_tasks; t++) {
		const Ckpt__Mm *mm = snap->tasks[t]->mm;

		for (size_t i = 0; mm && i < mm->n_areas; i++) {
			const Ckpt__Area *a = mm->areas[i];

			if (a->has_file && a->file == obj->id && !a->shared &&
			    !(a->flags & CKPT__AREA__FLAG__NO_RESERVE))
				bytes += a->end - a->start;
		}
	}
	return bytes;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Memfd *m = (const void *)obj->msg;
	const struct ckpt_object *first = ckpt_inode_first(ckpt_planner_snapshot(p), obj);
	const struct ckpt_host *host = ckpt_planner_host(p);
	char who[CKPT_WHO];

	if (first->kind != obj->kind)
		return 0;
	if ((m->has_huge_shift && (m->huge_shift < 16 || m->huge_shift > 40)) ||
	    m->size > INT64_MAX || strlen(m->name) > MAX_NAME || m->mode & ~07777u ||
	    m->seals & ~SEALS || (obj->has_content && obj->content_size != m->size) ||
	    (obj->content.n && ((const Ckpt__Memfd *)(const void *)first->msg)->size != m->size))
		return ckpt_fail(err, -EBADMSG, "memfd %u: bad name, size, mode or seals", obj->id);
	if (m->seals & F_SEAL_FUTURE_WRITE && mapped_for_writing(ckpt_planner_snapshot(p), obj))
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
				   "%smemfd %s: it is sealed against future writing "
				   "and mapped for writing",
				   ckpt_path_who(p, obj, who, sizeof(who)), m->name);
	if (m->has_huge_shift)
		ckpt_takes_huge(p, m->huge_shift,
				huge_bytes(ckpt_planner_snapshot(p), obj, 1ull << m->huge_shift));
	if (first != obj)
		ckpt_comes_with(p, first->id);
	else if (host && m->has_uid && (m->uid != host->uid || m->gid != host->gid) &&
		 !ckpt_host_has_cap(host, CAP_CHOWN))
		ckpt_loss(p, "%smemfd %s: will belong to you, not to %u:%u",
			  ckpt_path_who(p, obj, who, sizeof(who)), m->name, m->uid, m->gid);
	return 0;
}

/* Without sealing a memfd has just the seal that forbids others. */
static int create(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Memfd *m = (const void *)obj->msg;
	unsigned int huge = m->has_huge_shift ? MFD_HUGETLB | m->huge_shift << MAP_HUGE_SHIFT : 0,
		     flags = MFD_CLOEXEC | huge | (m->seals == F_SEAL_SEAL ? 0 : MFD_ALLOW_SEALING);
	CKPT_FD fd = memfd_create(m->name, flags | MFD_EXEC);
	int r;

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(m->name, flags);
	/* vm.memfd_noexec=2 */
	if (fd < 0 && errno == EACCES && !(m->mode & 0111))
		fd = memfd_create(m->name, flags);
	if (fd < 0)
		return ckpt_fail(err, -errno, "memfd %s: cannot create", m->name);
	if (ftruncate(fd, m->size) < 0)
		return ckpt_fail(err, -errno, "memfd %s: cannot make it %llu bytes long", m->name,
				 (unsigned long long)m->size);
	r = ckpt_inode_put_others(site, obj, fd, err);
	return r < 0 ? r : ckpt_take_fd(&fd);
}

/* Permissions before the seals, one of which forbids to change them; but after opening it for
 * writing once more. */
static int finish(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Memfd *m = (const void *)obj->msg;
	int r, now, bank = site->ops->fd_of(site, obj->id, err);

	if (bank < 0)
		return bank;
	CKPT_FD fd = ckpt_inode_reopen(bank, O_RDWR, err);
	if (fd < 0)
		return fd;
	r = ckpt_inode_attributes(site, obj, m->has_uid ? m->uid : geteuid(),
				  m->has_gid ? m->gid : getegid(), m->mode, NULL, err);
	if (r < 0)
		return r;
	now = fcntl(fd, F_GET_SEALS);
	if (now < 0 || (m->seals & ~now && fcntl(fd, F_ADD_SEALS, m->seals & ~now) < 0))
		return ckpt_fail(err, -errno, "cannot set its seals");
	return 0;
}

static int settle(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Memfd *m = (const void *)obj->msg;
	int r = ckpt_inode_settle(site, obj, err);

	if (r >= 0 && ckpt_inode_last(site->snap, obj) == obj)
		r = finish(site, obj, err);
	return ckpt_in(err, r, "memfd %s", m->name);
}

const struct ckpt_kind ckpt_kind_memfd = {
	.name = "memfd",
	.scope = CKPT_PER_FILE,
	.message = &ckpt__memfd__descriptor,
	.match = match,
	.collect = collect,
	.plan = plan,
	.create = create,
	.link = settle,
};
