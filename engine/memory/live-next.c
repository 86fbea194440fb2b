/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From one dump to the next: what the dump before has tracked, and where its pages are. Between the
 * two the process may have ended, or have become another program; its number says nothing then, but
 * what was opened of its memory is of that memory for ever.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/memory/live-work.h"

void ckpt_live_go_on(struct ckpt_live *live, const struct ckpt_track *track,
		     const struct ckpt_pages *pages)
{
	live->task =
		ckpt_grow(live->arena, live->task, live->n, &live->room, 16, sizeof(*live->task));
	live->task[live->n++] = (struct ckpt_live_task){ *track, *pages, true };
}

void ckpt_live_let_go(struct ckpt_live *live)
{
	live->n = 0;
}

/* The whole text, NULL: it cannot be read. To be given back. */
static char *read_maps(int fd, size_t *sizep)
{
	size_t room = 1 << 16, n = 0;
	char *text = malloc(room);

	while (text) {
		ssize_t got = pread(fd, text + n, room - n, n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		n += got;
		if (n == room)
			text = realloc(text, room *= 2);
	}
	*sizep = n;
	return text;
}

/* The memory that was tracked may not be that of the process any more (execve(2)). */
static bool is_same_memory(const struct ckpt_track *t, struct ckpt_source *src)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;
	CKPT_FD now = src->ops->open_proc(src, t->pid, "maps", &ignored);
	size_t n[2] = { 0 };
	CKPT_FREE char *a = read_maps(t->maps, &n[0]);
	CKPT_FREE char *b = now < 0 ? NULL : read_maps(now, &n[1]);

	return a && b && n[0] && n[0] == n[1] && !memcmp(a, b, n[0]);
}

int ckpt_live_confirm(struct ckpt_live *live, struct ckpt_source *src, struct ckpt_err *err)
{
	size_t kept = 0;
	int r = 0;

	for (size_t i = 0; i < live->n; i++) {
		struct ckpt_live_task *t = &live->task[i];

		if (t->went_on && !is_same_memory(&t->track, src)) {
			ckpt_logf(
				live->opts.log, 1,
				"process %d: its memory is not the one that was tracked: all of it is copied",
				t->track.pid);
			ckpt_track_close(&t->track);
			continue;
		}
		/* An area in the place of one that was given back is not tracked yet. */
		if (t->went_on && r >= 0)
			r = ckpt_track_areas(&t->track, live->arena, err);
		live->task[kept++] = *t;
	}
	live->n = kept;
	return r;
}

int ckpt_live_protect(struct ckpt_live *live, struct ckpt_err *err)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < live->n; i++) {
		struct ckpt_run_list written = { .arena = live->arena };

		r = ckpt_track_areas(&live->task[i].track, live->arena, err);
		if (r >= 0)
			r = ckpt_track_take(&live->task[i].track, false, &written, err);
	}
	return r;
}
