/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ckpt lazy-pages: waits for a `ckpt restore --lazy-pages`, and brings the memory of its image from
 * the `ckpt dump --lazy-pages` that holds it (injector/borrow.h). Where the folder has it, the
 * restore reads it there, and this one only waits until it has all.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/store/image.h"
#include "injector/borrow.h"
#include "injector/stops.h"
#include "tools/net.h"

struct service {
	struct ckpt_tool *t;
	struct ckpt_stops stops;
	struct ckpt_listener listener;
};

static int go_on(void *arg, struct ckpt_err *err)
{
	const struct service *s = arg;
	int sig = ckpt_stops_pending(&s->stops);

	return sig ? ckpt_fail(err, -ECANCELED, "lazy-pages: stopped by SIG%s", sigabbrev_np(sig)) :
		     0;
}

static int accept_one(void *arg, int (*may_go_on)(void *arg, struct ckpt_err *err), void *go_on_arg,
		      struct ckpt_err *err)
{
	const struct service *s = arg;
	const char *name;
	int r;

	ckpt_bar_end(s->t);
	r = ckpt_net_accept(&s->listener, may_go_on, go_on_arg, &name, s->t->arena, err);
	ckpt_bar_begin(s->t, "bringing");
	return r;
}

static int serve(struct service *s, struct ckpt_image *img, int server, const char *name)
{
	const struct ckpt_borrow borrow = { .img = img,
					    .server = server,
					    .server_name = name,
					    .accept = accept_one,
					    .go_on = go_on,
					    .arg = s,
					    .log = &s->t->log };
	struct ckpt_tool *t = s->t;
	int r;

	ckpt_stops_block(&s->stops); /* who is told that it is there may stop it */
	r = ckpt_net_listen_at(t, ckpt_work_path(t, CKPT_LAZY_SOCKET), &s->listener);
	if (r >= 0)
		r = ckpt_net_ready(t, &s->listener);
	if (r >= 0)
		r = ckpt_borrow_run(&borrow, &t->err);
	ckpt_bar_end(t);
	ckpt_net_close(&s->listener);
	if (r < 0 && t->opts.detached)
		ckpt_logf(&t->log, 1, "%s", t->err.text);
	ckpt_stops_unblock(&s->stops, r < 0);
	return r;
}

int ckpt_cmd_lazy_pages(struct ckpt_tool *t)
{
	struct service s = { .t = t, .listener = { .fd = -1, .connected = -1 } };
	const char *name = "this machine";
	CKPT_FD server = -1;
	struct ckpt_image *img;
	int r = ckpt_net_check(t, false, t->opts.page_server);

	if (r < 0)
		return r;
	signal(SIGPIPE, SIG_IGN); /* who went away is an error of write(2) */
	r = t->opts.page_server ?
		    ckpt_image_open_records(&img, t->arena, t->dirfd, t->opts.images_dir, &t->err) :
		    ckpt_image_open(&img, t->arena, t->dirfd, t->opts.images_dir, &t->err);
	if (r < 0)
		return r;
	if (t->opts.page_server)
		r = server = ckpt_net_connect(t, &name);
	if (r >= 0)
		r = serve(&s, img, server, name);
	ckpt_image_close(img);
	return r;
}
