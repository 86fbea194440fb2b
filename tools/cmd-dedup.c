/* SPDX-License-Identifier: Apache-2.0 */
/* ckpt dedup: frees in the images that one goes on from what it overrides; dump --auto-dedup. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/store/dedup.h"
#include "tools/ckpt.h"

static void report(const struct ckpt_dedup_done *done)
{
	char freed[24], more[24];

	ckpt_print(STDOUT_FILENO, "%s: %s freed", done->folder, ckpt_size_text(done->freed, freed));
	if (done->whole && done->more)
		ckpt_print(
			STDOUT_FILENO,
			"; it stays whole: --give-up-parents would give up %s that only it needs",
			ckpt_size_text(done->more, more));
	ckpt_print(STDOUT_FILENO, "\n");
}

static int dedup(struct ckpt_tool *t, struct ckpt_image *img, struct ckpt_image **other)
{
	const struct ckpt_dedup_opts opts = { .give_up_parents = t->opts.give_up_parents,
					      .other = other,
					      .n_others = t->opts.n_words };
	struct ckpt_dedup_done *done;
	size_t n;
	int r = ckpt_image_dedup(img, &opts, t->arena, &done, &n, &t->err);

	ckpt_bar_end(t);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		report(&done[i]);
	if (!n)
		ckpt_print(STDOUT_FILENO, "%s: goes on from no image: nothing to free\n",
			   t->opts.images_dir);
	return 0;
}

static int open_other(struct ckpt_tool *t, const char *dir, struct ckpt_image **imgp)
{
	CKPT_FD fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return ckpt_refuse(&t->err, CKPT_E_NO_IMAGE, -errno, "%s: cannot open: %s", dir,
				   strerror(errno));
	return ckpt_image_open_brief(imgp, t->arena, fd, dir, &t->err);
}

int ckpt_tool_dedup(struct ckpt_tool *t)
{
	struct ckpt_image *img = NULL, *other[CKPT_MAX_WORDS] = { NULL };
	int r;

	ckpt_bar_begin(t, "freeing");
	r = ckpt_image_open_whole(&img, t->arena, t->dirfd, t->opts.images_dir, &t->err);
	for (unsigned int i = 0; r >= 0 && i < t->opts.n_words; i++)
		r = open_other(t, t->opts.words[i], &other[i]);
	if (r >= 0)
		r = dedup(t, img, other);
	ckpt_bar_end(t);
	for (unsigned int i = 0; i < t->opts.n_words; i++)
		ckpt_image_close(other[i]);
	ckpt_image_close(img);
	return r;
}

int ckpt_cmd_dedup(struct ckpt_tool *t)
{
	return ckpt_tool_dedup(t);
}
