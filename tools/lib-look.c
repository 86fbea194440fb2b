/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/look/look.h"
#include "tools/ckpt.h"

int ckpt_tool_look(struct ckpt_tool *t, int (*with)(struct ckpt_tool *t, struct ckpt_look *look))
{
	struct ckpt_look *look;
	int r = ckpt_look_open(&look, t->arena, t->dirfd, t->opts.images_dir, &t->err);

	if (r < 0)
		return r;
	look->debug_dir = t->opts.debug_dir;
	r = with(t, look);
	ckpt_look_close(look);
	return r;
}
