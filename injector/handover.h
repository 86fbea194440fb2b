/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree that moves to another place ends here only when it runs there. Behind its image, a stream,
 * both sides say a word a line: that it comes to "ready" (all of it stands there) or "failed", that
 * it leaves "go" when it is stopped here, and then the other one "running" or "failed". Whatever
 * dies in between, the tree does not run twice.
 */
#pragma once
#include <stdbool.h>
#include "engine/capture/source.h"
#include "engine/model/snapshot.h"

struct ckpt_handover {
	int to, from;      /* borrowed */
	const char *where; /* the other side, for messages */
	/* Until it takes more of what is sent; and for the first word, when it has all, and
	 * besides for what it does with the memory. 0: as long as it takes. */
	unsigned int patience_s;
	bool answered; /* it was: nobody waits for a word any more */
	/* Of a tree whose memory follows later: what is said between these words is for OTHER, "go"
	 * is said by GO, and what is left here ends with the word "done". NULL: it has gone before.
	 */
	struct ckpt_handover_later *later;
};

struct ckpt_handover_later {
	int (*other)(struct ckpt_handover_later *l, const char *word, struct ckpt_err *err);
	int (*go)(struct ckpt_handover_later *l, struct ckpt_err *err);
	bool stopped; /* set: it has been let go of */
};

/* While the image is sent: who says more than a word is no ckpt, and may well take nothing before
 * it has been heard. H NULL is fine. */
int ckpt_handover_listen(const struct ckpt_handover *h, struct ckpt_err *err);
/* The side that it leaves, which has frozen it. While it waits it asks GO_ON, whose failure ends
 * it. 0: it runs there, and is dead here. A failure: it is to be thawed, and goes on as it was; but
 * if the other side goes silent at the last moment it stays stopped, as by SIGSTOP: it may run
 * there. */
int ckpt_handover_leave(const struct ckpt_handover *h, struct ckpt_source *src,
			const struct ckpt_snapshot *snap,
			int (*go_on)(void *arg, struct ckpt_err *err), void *arg,
			struct ckpt_err *err);
/* The side that it comes to, when all of it stands: may it run? */
int ckpt_handover_arrive(struct ckpt_handover *h, struct ckpt_err *err);
/* That it RUNS, or has failed. Nobody may be there any more to hear it. */
void ckpt_handover_answer(struct ckpt_handover *h, bool runs);
