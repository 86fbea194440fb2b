/* SPDX-License-Identifier: Apache-2.0 */
/* ckpt flatten: one complete image of several that go on from each other. None of them is changed.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/store/flatten.h"
#include "injector/stops.h"
#include "tools/ckpt.h"

static int go_on(void *arg, struct ckpt_err *err)
{
	int sig = ckpt_stops_pending(arg);

	return sig ? ckpt_fail(err, -ECANCELED, "flatten: stopped by SIG%s", sigabbrev_np(sig)) : 0;
}

static int flatten(struct ckpt_tool *t, struct ckpt_image *img, int out, struct ckpt_stops *stops)
{
	struct ckpt_image_writer *w;
	unsigned int n = ckpt_image_depth(img) + 1;
	uint64_t bytes = 0;
	char size[24];
	int r = ckpt_image_create(&w, t->arena, out, t->opts.output, &t->err);

	if (r < 0)
		return r;
	r = ckpt_image_flatten(img, w, t->arena, go_on, stops, &bytes, &t->err);
	ckpt_image_writer_close(w);
	ckpt_bar_end(t);
	if (r >= 0)
		ckpt_print(STDOUT_FILENO, "%s: %s, of %u image%s\n", t->opts.output,
			   ckpt_size_text(bytes, size), n, n == 1 ? "" : "s");
	return r;
}

static int to_folder(struct ckpt_tool *t, struct ckpt_image *img)
{
	const char *dir = t->opts.output;
	struct ckpt_stops stops;
	int r = mkdir(dir, 0700) < 0 ? -errno : 0;
	bool made = r == 0;

	CKPT_FD out = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (out < 0) {
		r = r == 0 || r == -EEXIST ? -errno : r;
		return ckpt_refuse(&t->err, CKPT_E_IMAGE_UNWRITABLE, r,
				   "%s: cannot use as the images folder: %s", dir,
				   strerrordesc_np(-r));
	}
	ckpt_stops_block(&stops); /* nothing may be left there */
	r = flatten(t, img, out, &stops);
	if (r < 0 && made)
		rmdir(dir);
	ckpt_stops_unblock(&stops, true);
	return r;
}

int ckpt_cmd_flatten(struct ckpt_tool *t)
{
	struct ckpt_image *img = NULL;
	int r;

	ckpt_bar_begin(t, "flattening");
	r = ckpt_image_open(&img, t->arena, t->dirfd, t->opts.images_dir, &t->err);
	if (r >= 0)
		r = to_folder(t, img);
	ckpt_bar_end(t);
	ckpt_image_close(img);
	return r;
}
