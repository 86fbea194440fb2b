/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ckpt page-server: takes the image of one dump (engine/store/page-server.h) and ends. Who connects
 * and sends what is no image, or leaves, is sent away.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/store/page-server.h"
#include "injector/stops.h"
#include "tools/net.h"

struct server {
	struct ckpt_tool *t;
	struct ckpt_stops stops;
	struct ckpt_listener listener;
	struct ckpt_taker taker;
};

static int go_on(void *arg, struct ckpt_err *err)
{
	const struct server *s = arg;
	int sig = ckpt_stops_pending(&s->stops);

	return sig ? ckpt_fail(err, -ECANCELED, "page-server: stopped by SIG%s",
			       sigabbrev_np(sig)) :
		     0;
}

/* 1: that was none. */
static int serve_one(struct server *s)
{
	struct ckpt_err *err = &s->t->err;
	struct ckpt_talk talk = { .go_on = go_on, .go_on_arg = s };
	uint64_t bytes = 0;
	char human[24];
	int r;

	CKPT_FD fd = ckpt_net_accept(&s->listener, go_on, s, &talk.where, s->t->arena, err);
	if (fd < 0)
		return fd;
	talk.to = talk.from = fd;
	ckpt_logf(&s->t->log, 3, "%s is there", talk.where);
	ckpt_bar_begin(s->t, "taking");
	r = ckpt_taker_take(&s->taker, &talk, &bytes, err);
	ckpt_bar_end(s->t);
	if (r >= 0)
		ckpt_print(STDOUT_FILENO, "took an image of %s from %s\n",
			   ckpt_size_text(bytes, human), talk.where);
	if (r < 0 && r != -ECANCELED && s->listener.fd >= 0 &&
	    (!bytes || err->number == CKPT_E_IMAGE_FOREIGN)) {
		ckpt_logf(&s->t->log, 1, "%s", err->text);
		*err = (struct ckpt_err)CKPT_ERR_INIT;
		return 1;
	}
	return r;
}

static int serve(struct server *s)
{
	int r;

	signal(SIGPIPE, SIG_IGN);    /* who went away is an error of write(2) */
	ckpt_stops_block(&s->stops); /* who is told that it is there may stop it */
	r = ckpt_net_ready(s->t, &s->listener);
	while (r >= 0 && (r = serve_one(s)) > 0)
		;
	if (r < 0 && s->t->opts.detached)
		ckpt_logf(&s->t->log, 1, "%s", s->t->err.text);
	ckpt_stops_unblock(&s->stops, r < 0);
	return r;
}

int ckpt_cmd_page_server(struct ckpt_tool *t)
{
	struct server s = { .t = t };
	int r = ckpt_net_check(t, true, true);

	if (r < 0)
		return r;
	r = ckpt_taker_open(&s.taker, t->arena, t->dirfd, t->opts.images_dir,
			    t->opts.prev_images_dir, &t->err);
	if (r >= 0)
		r = ckpt_net_listen(t, &s.listener);
	if (r >= 0) {
		r = serve(&s);
		ckpt_net_close(&s.listener);
	}
	ckpt_taker_close(&s.taker);
	return r;
}
