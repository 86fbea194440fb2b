/* SPDX-License-Identifier: Apache-2.0 */
/* Names, in the file system and elsewhere, that a restore made: taken back should it fail. Only
 * what is still ours is removed. */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "injector/job.h"

int ckpt_undo_note(struct ckpt_site *site, const char *path, const char *aside,
		   struct ckpt_err *err)
{
	struct ckpt_job *job = (struct ckpt_job *)site;
	struct ckpt_undo *u = ckpt_new(job->arena, struct ckpt_undo);
	struct stat st;

	(void)err;
	u->path = ckpt_strdup(job->arena, path);
	u->aside = aside ? ckpt_strdup(job->arena, aside) : NULL;
	if (lstat(path, &st) == 0)
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

static bool still_ours(const struct ckpt_undo *u)
{
	struct stat st;

	return lstat(u->path, &st) == 0 &&
	       (!u->ino || (st.st_dev == u->dev && st.st_ino == u->ino));
}

void ckpt_undo_all(struct ckpt_job *job)
{
	for (struct ckpt_undo *u = job->undo; u; u = u->next) {
		if (u->call)
			u->call(u->arg);
		if (u->ino && still_ours(u))
			unlink(u->path);
		if (u->aside)
			rename(u->aside, u->path);
	}
	job->undo = NULL;
}

void ckpt_undo_forget(struct ckpt_job *job)
{
	for (struct ckpt_undo *u = job->undo; u; u = u->next)
		if (u->aside)
			unlink(u->aside);
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

int ckpt_undo_do_decided(struct ckpt_job *job, struct ckpt_err *err)
{
	for (const struct ckpt_decided *d = job->decided; d; d = d->next) {
		const struct ckpt_at_commit *c = &d->what;
		int r = c->from ? rename(c->from, c->path) : truncate(c->path, c->size);

		if (r < 0)
			return ckpt_fail(err, -errno, "file %s: cannot %s", c->path,
					 c->from ? "be put back" : "be cut to its old size");
	}
	return 0;
}
