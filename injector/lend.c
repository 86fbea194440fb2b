/* SPDX-License-Identifier: Apache-2.0 */
/* Who asks may be anybody, and gets no more than the pages of the image. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/progress.h"
#include "engine/base/words.h"
#include "engine/store/pack.h"
#include "engine/store/stream.h"
#include "injector/lend.h"

struct lending {
	struct ckpt_handover_later later; /* first */
	struct ckpt_talk talk;
	struct ckpt_stream_out *out;
	struct ckpt_pack *pack;
	const struct ckpt_pages_files *files;
	uint64_t size;
	const uint32_t *crc;
	unsigned char *buf; /* CKPT_CHUNK */
	struct ckpt_progress *progress;
};

static int answer(struct ckpt_handover_later *later, const char *word, struct ckpt_err *err)
{
	struct lending *l = (struct lending *)later;
	unsigned int chunk;
	char end;

	if (sscanf(word, "get %8u%c", &chunk, &end) != 1 || chunk * (uint64_t)CKPT_CHUNK >= l->size)
		return ckpt_word_strange(&l->talk, err);
	ckpt_progress_add(l->progress, CKPT_CHUNK);
	return ckpt_pack_put_from(l->pack, chunk, l->files, l->size, l->crc[chunk], l->buf, err);
}

static int say_go(struct ckpt_handover_later *later, struct ckpt_err *err)
{
	return ckpt_stream_put_go(((struct lending *)later)->out, err);
}

static int greet(const struct lending *l, uint64_t id, struct ckpt_err *err)
{
	char text[CKPT_WORD_MAX + 1];
	int r = ckpt_word_say(&l->talk, CKPT_GIVES, err);

	snprintf(text, sizeof(text), "%016llx", (unsigned long long)id);
	return r < 0 ? r : ckpt_word_say(&l->talk, text, err);
}

static int open_stream(struct lending *l, const struct ckpt_lend *lend, struct ckpt_err *err)
{
	const struct ckpt_stream_opts opts = { l->talk.to, l->talk.where, l->talk.go_on,
					       l->talk.go_on_arg };
	struct ckpt_pack_opts how = { .how = lend->compress, .fd = -1, .dir = l->talk.where };
	int r = ckpt_stream_open(&l->out, &opts, err);

	if (r < 0)
		return r;
	how.stream = l->out;
	l->pack = ckpt_pack_open(&how, err);
	return l->pack ? 0 : err->code;
}

/* With one who has connected. */
static int lend_to(struct lending *l, const struct ckpt_lend *lend, struct ckpt_image_writer *w,
		   struct ckpt_source *src, const struct ckpt_snapshot *snap, struct ckpt_err *err)
{
	const struct ckpt_handover h = { l->talk.to, l->talk.from, l->talk.where,
					 .later = &l->later };
	int r = greet(l, ckpt_image_writer_content_id(w), err);

	if (r >= 0)
		r = open_stream(l, lend, err);
	if (r >= 0)
		r = ckpt_handover_leave(&h, src, snap, l->talk.go_on, l->talk.go_on_arg, err);
	ckpt_pack_close(l->pack);
	ckpt_stream_close(l->out);
	l->pack = NULL;
	l->out = NULL;
	return r;
}

int ckpt_lend(const struct ckpt_lend *lend, struct ckpt_image_writer *w, struct ckpt_source *src,
	      const struct ckpt_snapshot *snap, int (*go_on)(void *arg, struct ckpt_err *err),
	      void *arg, struct ckpt_arena *arena, struct ckpt_log *log, struct ckpt_err *err)
{
	CKPT_FREE unsigned char *buf = malloc(CKPT_CHUNK);
	struct lending l = { .later = { answer, say_go, false },
			     .talk = { .go_on = go_on, .go_on_arg = arg },
			     .files = ckpt_image_writer_files(w),
			     .buf = buf };

	l.crc = ckpt_image_writer_checksums(w, &l.size);
	if (!buf)
		return ckpt_fail(err, -ENOMEM, "no memory for pages");
	for (;;) {
		CKPT_FD fd = lend->accept(lend->arg, go_on, arg, &l.talk.where, err);
		struct ckpt_err stopped = CKPT_ERR_INIT;
		int r = fd;

		l.talk.to = l.talk.from = fd;
		l.progress = ckpt_arena_progress(arena);
		ckpt_progress_begin(l.progress, NULL, l.size);
		if (r >= 0)
			r = lend_to(&l, lend, w, src, snap, err);
		if (r >= 0 || fd < 0 || l.later.stopped || go_on(arg, &stopped) < 0)
			return r;
		ckpt_logf(log, 1, "%s", err->text);
		*err = (struct ckpt_err)CKPT_ERR_INIT;
	}
}
