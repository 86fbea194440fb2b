/* SPDX-License-Identifier: Apache-2.0 */
/* Names, in the file system and elsewhere, that a restore made: taken back should it fail. Only
 * what is still ours is removed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/plan/path.h"
#include "injector/job.h"

/* By the folders: no link of somebody else leads them astray. FLAGS: of renameat2(2). */
static int rename_to(const char *from, const char *path, unsigned int flags)
{
	const char *old, *new;
	CKPT_FD source = ckpt_path_folder(from, &old), target = ckpt_path_folder(path, &new);

	if (source < 0 || target < 0)
		return source < 0 ? source : target;
	return renameat2(source, old, target, new, flags) < 0 ? -errno : 0;
}

int ckpt_undo_note(struct ckpt_site *site, const char *path, const char *aside,
		   struct ckpt_err *err)
{
	struct ckpt_job *job = (struct ckpt_job *)site;
	struct ckpt_undo *u = ckpt_new(job->arena, struct ckpt_undo);
	struct stat st;

	(void)err;
	u->path = ckpt_strdup(job->arena, path);
	u->aside = aside ? ckpt_strdup(job->arena, aside) : NULL;
	/* Of what was put aside: nothing is at PATH by now. */
	CKPT_FD fd = ckpt_path_look(aside ? aside : path);
	if (fd >= 0 && fstat(fd, &st) == 0)
		u->dev = st.st_dev, u->ino = st.st_ino;
	u->next = job->undo;
	job->undo = u;
	return 0;
}

void ckpt_undo_call(struct ckpt_site *site, void (*undo)(int64_t arg), int64_t arg)
{
	struct ckpt_job *job = (struct ckpt_job *)site;
	struct ckpt_undo *u = ckpt_new(job->arena, struct ckpt_undo);

	*u = (struct ckpt_undo){ .call = undo, .arg = arg, .next = job->undo };
	job->undo = u;
}

/* Removes PATH, if it still is what was made or put aside. */
static void remove_ours(const struct ckpt_undo *u, const char *path)
{
	const char *last;
	CKPT_FD folder = ckpt_path_folder(path, &last);
	struct stat st;

	if (folder >= 0 && fstatat(folder, last, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_dev == u->dev && st.st_ino == u->ino)
		unlinkat(folder, last, 0);
}

void ckpt_undo_all(struct ckpt_job *job)
{
	for (struct ckpt_undo *u = job->undo; u; u = u->next) {
		if (u->call)
			u->call(u->arg);
		/* What somebody else has put there meanwhile is theirs. */
		if (u->aside && rename_to(u->aside, u->path, RENAME_NOREPLACE) == -EINVAL)
			rename_to(u->aside, u->path, 0);
		else if (u->ino)
			remove_ours(u, u->path);
	}
	job->undo = NULL;
}

void ckpt_undo_forget(struct ckpt_job *job)
{
	for (struct ckpt_undo *u = job->undo; u; u = u->next)
		if (u->aside && u->ino)
			remove_ours(u, u->aside);
	job->undo = NULL;
}

int ckpt_undo_decide(struct ckpt_site *site, const struct ckpt_at_commit *c, struct ckpt_err *err)
{
	struct ckpt_job *job = (struct ckpt_job *)site;
	struct ckpt_decided *d = ckpt_new(job->arena, struct ckpt_decided);

	(void)err;
	d->what = *c;
	d->what.path = ckpt_strdup(job->arena, c->path);
	d->what.from = c->from ? ckpt_strdup(job->arena, c->from) : NULL;
	d->next = job->decided;
	job->decided = d;
	return 0;
}

static int cut(const char *path, uint64_t size)
{
	CKPT_FD fd = ckpt_path_open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return fd;
	return ftruncate(fd, size) < 0 ? -errno : 0;
}

int ckpt_undo_do_decided(struct ckpt_job *job, struct ckpt_err *err)
{
	for (const struct ckpt_decided *d = job->decided; d; d = d->next) {
		const struct ckpt_at_commit *c = &d->what;
		int r = c->from ? rename_to(c->from, c->path, 0) : cut(c->path, c->size);

		if (r < 0)
			return ckpt_fail(err, r, "file %s: cannot %s", c->path,
					 c->from ? "be put back" : "be cut to its old size");
	}
	return 0;
}
