/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page server: it takes an image, as a stream, into a folder of its own, while the dump keeps
 * nothing but the records. Both folders get theirs, or neither does: after the stream the server
 * says "ready" when it has checked and synced all of it, the dump "keep" when its own folder is
 * committed, then the server "kept". Before all that it says what it is.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/base/words.h"
#include "engine/store/temp.h"

/* ---- the dump's side ---- */
/* Is that a page server, and one that can take it? */
int ckpt_server_greet(const struct ckpt_talk *t, struct ckpt_err *err);
int ckpt_server_await_ready(const struct ckpt_talk *t, struct ckpt_err *err);
int ckpt_server_keep(const struct ckpt_talk *t, struct ckpt_err *err);

/* ---- the server's ---- */
struct ckpt_taker {
	struct ckpt_arena *arena;
	struct ckpt_temp temp;
	const char *prev_dir; /* of what it goes on from, as seen from this folder; may be NULL */
	bool made_link;       /* to that */
};

/* Before anybody comes: refuses a folder that cannot take an image. DIRFD is borrowed. */
int ckpt_taker_open(struct ckpt_taker *k, struct ckpt_arena *arena, int dirfd, const char *dir,
		    const char *prev_dir, struct ckpt_err *err);
/* From greeting to "kept"; *BYTESP: of the stream. A failure leaves nothing. */
int ckpt_taker_take(struct ckpt_taker *k, const struct ckpt_talk *t, uint64_t *bytesp,
		    struct ckpt_err *err);
void ckpt_taker_close(struct ckpt_taker *k);
