/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree whose memory follows it: its image is here without the pages, which stay in memory of ckpt
 * for a `ckpt lazy-pages` that asks for them. The tree stands still until all of it runs elsewhere,
 * as with a handover: after a greeting, "ckpt-gives-1" and the content id, the other side says "get
 * N" for a chunk and the words of a handover, and is sent a stream of frames.
 */
#pragma once
#include "engine/base/log.h"
#include "engine/store/image.h"
#include "injector/handover.h"

#define CKPT_GIVES "ckpt-gives-1"

struct ckpt_lend {
	/* Waits for one who connects, and asks GO_ON meanwhile; returns a socket. *NAMEP: who it
	 * is. */
	int (*accept)(void *arg, int (*go_on)(void *arg, struct ckpt_err *err), void *go_on_arg,
		      const char **namep, struct ckpt_err *err);
	void *arg;
	struct ckpt_compression compress; /* of what is sent */
};

/* As ckpt_handover_leave(). Who fails before the tree was let go of is sent away, and another one
 * may come. */
int ckpt_lend(const struct ckpt_lend *lend, struct ckpt_image_writer *w, struct ckpt_source *src,
	      const struct ckpt_snapshot *snap, int (*go_on)(void *arg, struct ckpt_err *err),
	      void *arg, struct ckpt_arena *arena, struct ckpt_log *log, struct ckpt_err *err);
