/* SPDX-License-Identifier: Apache-2.0 */
/* The package manager may know nothing, or not answer: the image is as good without it. */
#include "engine/capture/packages.h"
#include <sys/stat.h>
#include "engine/plan/owner.h"
#include "proto/file.pb-c.h"

const char *ckpt_packaged_path(const struct ckpt_object *obj)
{
	const Ckpt__File *f = (const void *)obj->msg;

	if (obj->msg->descriptor != &ckpt__file__descriptor || f->deleted || !S_ISREG(f->mode) ||
	    (obj->task && !f->has_build_id))
		return NULL;
	return f->other ? f->other : f->path;
}

void ckpt_capture_packages(struct ckpt_snapshot *snap, struct ckpt_arena *arena,
			   struct ckpt_log *log)
{
	struct ckpt_owned *v = ckpt_alloc(arena, snap->n_objects * sizeof(*v));
	size_t n = 0;

	for (size_t i = 0; i < snap->n_objects; i++)
		v[i].path = ckpt_packaged_path(snap->objects[i]);
	ckpt_owners_of(arena, v, snap->n_objects);
	for (size_t i = 0; i < snap->n_objects; i++) {
		if (!v[i].package)
			continue;
		((Ckpt__File *)snap->objects[i]->msg)->package = (char *)v[i].package;
		n++;
	}
	ckpt_logf(log, n ? 3 : 1, "packages: told of %zu files", n);
}
