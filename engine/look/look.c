/* SPDX-License-Identifier: Apache-2.0 */
/* Opening; and which processes there are. */
#include <errno.h>
#include <unistd.h>
#include "engine/look/elf.h"
#include "engine/look/look.h"

static void prepare(struct ckpt_look *look)
{
	size_t n = look->snap->n_objects;
	uint64_t chunks = (ckpt_image_end(look->img) + CKPT_CHUNK - 1) / CKPT_CHUNK;

	look->files = ckpt_alloc(look->arena, (n + 1) * sizeof(*look->files));
	look->elfs = ckpt_alloc(look->arena, (n + 1) * sizeof(*look->elfs));
	ckpt_look_share(look);
	look->verified = ckpt_alloc(look->arena, (chunks / 64 + 1) * sizeof(*look->verified));
}

int ckpt_look_open(struct ckpt_look **lookp, struct ckpt_arena *arena, int dirfd, const char *dir,
		   struct ckpt_err *err)
{
	struct ckpt_look *look = ckpt_new(arena, struct ckpt_look);
	int r;

	*lookp = NULL;
	look->arena = arena;
	look->dir = dir;
	r = ckpt_image_open(&look->img, arena, dirfd, dir, err);
	if (r < 0)
		return r;
	r = ckpt_image_load(look->img, &look->snap, err);
	if (r < 0) {
		ckpt_image_close(look->img);
		return r;
	}
	prepare(look);
	*lookp = look;
	return 0;
}

void ckpt_look_close(struct ckpt_look *look)
{
	if (!look)
		return;
	for (size_t i = 0; i < look->snap->n_objects; i++) {
		if (look->files[i].tried && look->files[i].fd >= 0)
			close(look->files[i].fd);
		ckpt_elf_close(look->elfs[i]);
	}
	ckpt_elf_close(look->vdso);
	ckpt_image_close(look->img);
}

const struct ckpt_task *ckpt_look_process(const struct ckpt_look *look, pid_t pid,
					  struct ckpt_err *err)
{
	for (size_t i = 0; i < look->snap->n_tasks; i++)
		if (look->snap->tasks[i]->pid == pid)
			return look->snap->tasks[i];
	ckpt_refuse(err, CKPT_E_NOT_IN_IMAGE, -ESRCH, "%s: process %d is not in this image",
		    look->dir, pid);
	return NULL;
}

const struct ckpt_task *ckpt_look_task(const struct ckpt_look *look, pid_t pid,
				       struct ckpt_err *err)
{
	const struct ckpt_task *task = ckpt_look_process(look, pid, err);

	if (!task || task->mm)
		return task;
	ckpt_refuse(err, CKPT_E_NOT_IN_IMAGE, -ESRCH,
		    "%s: process %d is a zombie: it has no memory", look->dir, pid);
	return NULL;
}
