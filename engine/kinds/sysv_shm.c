/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System V shared memory that the tree is attached to. The kernel shows it as a file whose inode is
 * the id. It outlives the program, unless it is to be removed with the last one attached: at a
 * restore it may still be there, and is then filled again; else it is made with its key and its id,
 * which needs CAP_CHECKPOINT_RESTORE, or an IPC namespace of one's own.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/capture/collect.h"
#include "engine/model/object.h"
#include "engine/plan/host.h"
#include "engine/plan/plan.h"
#include "engine/plan/site.h"
#include "proto/sysv_shm.pb-c.h"

#define PREFIX "/SYSV"
#define NEXT_ID "/proc/sys/kernel/shm_next_id"
#define TRIES 3

static bool match(const struct ckpt_probe *probe)
{
	return S_ISREG(probe->st.st_mode) && !strncmp(probe->link, PREFIX, strlen(PREFIX));
}

/* By the task: it may ask, and is in the right namespace. */
static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__SysvShm *m = (void *)msg;
	struct shmid_ds ds = { 0 };
	int64_t ret;
	int r;

	m->id = c->probe->st.st_ino;
	r = ckpt_call(c, SYS_shmctl, (uint64_t[6]){ m->id, IPC_STAT }, 2, &ds, sizeof(ds), &ret,
		      err);
	if (r < 0)
		return r;
	if (ret < 0)
		return ckpt_fail(err, ret, "shared memory segment %u: cannot ask for its state",
				 m->id);
	m->key = ds.shm_perm.__key;
	m->size = ds.shm_segsz;
	m->mode = ds.shm_perm.mode;
	m->uid = ds.shm_perm.uid;
	m->gid = ds.shm_perm.gid;
	m->cuid = ds.shm_perm.cuid;
	m->cgid = ds.shm_perm.cgid;
	if (ds.shm_nattch > ckpt_count_mappings(c))
		return ckpt_refuse(err, CKPT_E_SHM_PEER, -EOPNOTSUPP,
				   "shared memory segment %u (key %#x): a process outside of the "
				   "tree is attached to it",
				   m->id, m->key);
	if (c->fd < 0 && (uint64_t)c->probe->st.st_size < m->size)
		ckpt_lost(c, "process %d: shared memory segment %u: its end, which is not mapped",
			  c->pid, m->id);
	ckpt_has_content(c, m->size);
	return 0;
}

/* Is it still there? 1: yes, and nobody is attached; 0: neither it nor another in its place;
 * -EBUSY: it is in use; -EEXIST: another one has its id or its key. */
static int find(const Ckpt__SysvShm *m)
{
	struct shmid_ds ds;

	if (shmctl(m->id, IPC_STAT, &ds) == 0)
		return ds.shm_perm.__key != (key_t)m->key || ds.shm_segsz != m->size ||
				       ds.shm_perm.uid != m->uid || ds.shm_perm.gid != m->gid ?
			       -EEXIST :
		       ds.shm_nattch ? -EBUSY :
				       1;
	if (errno != EINVAL && errno != EIDRM)
		return -EEXIST;
	return m->key && (shmget(m->key, 0, 0) >= 0 || errno != ENOENT) ? -EEXIST : 0;
}

static int plan_here(struct ckpt_planner *p, const Ckpt__SysvShm *m)
{
	const struct ckpt_host *host = ckpt_planner_host(p);
	int r = find(m);

	if (r == 1)
		return 0;
	if (host->box) {
		ckpt_wants_ipc_namespace(p);
		ckpt_loss(p, "System V shared memory comes back in an IPC namespace of its own: "
			     "others cannot attach to it, and segments, semaphores and queues of "
			     "the machine are not seen");
		return 0;
	}
	if (r == -EBUSY)
		ckpt_problem(p, CKPT_E_SHM_IN_USE,
			     "shared memory segment %u (key %#x): a process is attached to it",
			     m->id, m->key);
	else if (r == -EEXIST)
		ckpt_problem(
			p, CKPT_E_SHM_TAKEN,
			"shared memory segment %u (key %#x): another one has its id or its key",
			m->id, m->key);
	else if ((m->cuid != host->uid || m->cgid != host->gid) &&
		 (!ckpt_host_has_cap(host, CAP_SETUID) || !ckpt_host_has_cap(host, CAP_SETGID)))
		ckpt_loss(p, "shared memory segment %u: will have been made by you, not by %u:%u",
			  m->id, m->cuid, m->cgid);
	return 0;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__SysvShm *m = (const void *)obj->msg;

	if (!m->size || m->size > INT64_MAX || m->id > INT32_MAX ||
	    m->mode & ~(0777u | SHM_DEST | SHM_LOCKED) ||
	    (obj->has_content && obj->content_size != m->size))
		return ckpt_fail(err, -EBADMSG, "shared memory segment %u: bad size, id or mode",
				 m->id);
	return ckpt_planner_host(p) ? plan_here(p, m) : 0;
}

/* The kernel gives the next segment this id, whoever makes it. */
static int choose_id(uint32_t id, struct ckpt_err *err)
{
	char text[16];
	CKPT_FD fd = open(NEXT_ID, O_WRONLY | O_CLOEXEC);

	snprintf(text, sizeof(text), "%u", id);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return ckpt_refuse(err, CKPT_E_PRIVILEGE, -errno,
				   "shared memory segment %u: may not choose its id "
				   "(CAP_CHECKPOINT_RESTORE): %s",
				   id, strerror(errno));
	return 0;
}

/* As who made it, if we may; of this thread only: libc's calls would change all of them. */
static int get(const Ckpt__SysvShm *m)
{
	int64_t uid = geteuid(), gid = getegid();
	int id;

	syscall(SYS_setresgid, -1l, (int64_t)m->cgid, -1l);
	syscall(SYS_setresuid, -1l, (int64_t)m->cuid, -1l);
	id = shmget(m->key, m->size, IPC_CREAT | IPC_EXCL | (m->mode & 0777));
	syscall(SYS_setresuid, -1l, uid, -1l);
	syscall(SYS_setresgid, -1l, gid, -1l);
	return id;
}

static void undo(int64_t id)
{
	shmctl(id, IPC_RMID, NULL);
}

static int make(struct ckpt_site *site, const Ckpt__SysvShm *m, struct ckpt_err *err)
{
	struct shmid_ds ds = { 0 };

	for (int i = 0;; i++) {
		int id, r = choose_id(m->id, err);

		if (r < 0)
			return r;
		id = get(m);
		if (id < 0)
			return ckpt_fail(err, -errno, "shared memory segment %u: cannot make",
					 m->id);
		if (id == (int)m->id)
			break;
		undo(id); /* somebody else was quicker */
		if (i == TRIES)
			return ckpt_refuse(err, CKPT_E_SHM_TAKEN, -EEXIST,
					   "shared memory segment %u: another one has its id",
					   m->id);
	}
	site->ops->on_failure(site, undo, m->id);
	ds.shm_perm.uid = m->uid;
	ds.shm_perm.gid = m->gid;
	ds.shm_perm.mode = m->mode & 0777;
	if (shmctl(m->id, IPC_SET, &ds) < 0)
		return ckpt_fail(err, -errno, "shared memory segment %u: cannot set its owner",
				 m->id);
	if (m->mode & SHM_LOCKED && shmctl(m->id, SHM_LOCK, NULL) < 0)
		return ckpt_fail(err, -errno, "shared memory segment %u: cannot lock", m->id);
	return 0;
}

/* Marked again as to be removed as soon as it is attached: it goes with the last of the tree, be
 * that because the restore failed. */
static int map(struct ckpt_site *site, const struct ckpt_object *obj, uint64_t at, bool writable,
	       struct ckpt_err *err)
{
	const Ckpt__SysvShm *m = (const void *)obj->msg;
	void *to = (void *)(uintptr_t)at, *p;
	int r = 0, there = find(m);

	if (!there)
		r = make(site, m, err);
	if (r < 0)
		return r;
	p = shmat(m->id, to, SHM_REMAP | (writable ? 0 : SHM_RDONLY));
	if (p != to)
		return ckpt_fail(err, -errno, "shared memory segment %u: cannot attach", m->id);
	/* What it held since the dump. */
	if (there == 1 && obj->has_content && writable && madvise(to, m->size, MADV_REMOVE) < 0)
		return ckpt_fail(err, -errno, "shared memory segment %u: cannot empty", m->id);
	if (m->mode & SHM_DEST && shmctl(m->id, IPC_RMID, NULL) < 0)
		return ckpt_fail(err, -errno, "shared memory segment %u: cannot be marked", m->id);
	return 0;
}

const struct ckpt_kind ckpt_kind_sysv_shm = {
	.name = "sysv_shm",
	.scope = CKPT_PER_FILE,
	.message = &ckpt__sysv_shm__descriptor,
	.match = match,
	.collect = collect,
	.plan = plan,
	.map = map,
};
