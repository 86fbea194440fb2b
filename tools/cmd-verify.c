/* SPDX-License-Identifier: Apache-2.0 */
/* ckpt verify: compares all of an image with its checksums; checks references and bounds. */
#include <unistd.h>
#include "engine/store/image.h"
#include "tools/ckpt.h"

static int verify(struct ckpt_tool *t, struct ckpt_image *img)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct ckpt_snapshot *snap;
	const char *heir;
	uint64_t given_up;
	char size[24];
	int r = ckpt_image_load_any(img, &snap, &t->err);

	/* What cannot be restored anyway is as good as before. */
	if (r >= 0 && !snap->inventory->memory_only)
		r = ckpt_image_check_kept(img, snap, &t->err);
	if (r >= 0)
		r = ckpt_image_verify_pages(img, cpus < 1 ? 1 : cpus > 16 ? 16 : cpus, &t->err);
	ckpt_bar_end(t);
	if (r < 0)
		return r;
	ckpt_print(STDOUT_FILENO, "ok: %s: %zu process%s, %llu records, %s, content id %016llx",
		   t->opts.images_dir, snap->n_tasks, snap->n_tasks == 1 ? "" : "es",
		   (unsigned long long)ckpt_image_n_records(img),
		   ckpt_size_text(ckpt_image_bytes(img), size),
		   (unsigned long long)ckpt_image_content_id(img));
	given_up = ckpt_image_given_up(img, &heir);
	if (given_up)
		ckpt_print(STDOUT_FILENO, "; %s given up for the image in %s",
			   ckpt_size_text(given_up, size), heir ? heir : "?");
	ckpt_print(STDOUT_FILENO, "\n");
	return 0;
}

int ckpt_cmd_verify(struct ckpt_tool *t)
{
	struct ckpt_image *img = NULL;
	int r;

	ckpt_bar_begin(t, "verifying");
	r = ckpt_image_open_brief(&img, t->arena, t->dirfd, t->opts.images_dir, &t->err);
	if (r >= 0)
		r = verify(t, img);
	ckpt_bar_end(t);
	if (img)
		ckpt_image_close(img);
	return r;
}
