/* SPDX-License-Identifier: Apache-2.0 */
/* ckpt dump: freezes a process tree and writes its image; ckpt pre-dump: its memory, for a later
 * one. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "engine/base/cleanup.h"
#include "engine/store/image.h"
#include "engine/store/page-server.h"
#include "injector/lend.h"
#include "injector/ptrace.h"
#include "tools/net.h"

#define GREETING_NS 10000000000ull

int ckpt_tool_dump(struct ckpt_tool *t, const struct ckpt_dump_opts *opts, const char *doing,
		   const char *where)
{
	struct ckpt_dump_stats stats = { 0 };
	int r;

	ckpt_bar_begin(t, doing);
	r = ckpt_dump(opts, t->arena, &stats, &t->problems, &t->err);
	ckpt_bar_end(t);
	if (r < 0)
		return r;
	ckpt_report_notes(stats.losses, stats.n_losses);
	ckpt_report_notes(&stats.note, stats.note != NULL);
	ckpt_report_dump(t, &stats, where);
	return 0;
}

struct ckpt_dump_opts ckpt_tool_dump_opts(struct ckpt_tool *t)
{
	const char *action = t->opts.max_freeze_action;

	return (struct ckpt_dump_opts){
		.pid = t->opts.tree,
		.dirfd = t->dirfd,
		.dir = t->opts.images_dir,
		.compress = t->opts.compress,
		.leave_running = t->opts.leave_running,
		.leave_stopped = t->opts.leave_stopped,
		.shell_job = t->opts.shell_job,
		.file_locks = t->opts.file_locks,
		.tcp_close = t->opts.tcp_close,
		.skip_in_flight = t->opts.skip_in_flight,
		.packages = t->opts.packages,
		.rules = &t->rules,
		.live = t->opts.live || t->opts.max_freeze,
		.prev_dir = t->opts.prev_images_dir,
		.track_mem = t->opts.track_mem,
		.track_timeout_s = t->opts.track_timeout,
		.max_freeze_ns = t->opts.max_freeze * 1000000ull,
		.copies = action && !strcmp(action, "copy"),
		.timeout_s = t->opts.timeout,
		.files = ckpt_tool_file_policy(&t->opts),
		.log = &t->log,
	};
}

/* Something that listens but says nothing is not what was meant. */
static int still_patient(void *arg, struct ckpt_err *err)
{
	const uint64_t *until = arg;

	return ckpt_now_ns() < *until ?
		       0 :
		       ckpt_refuse(err, CKPT_E_NETWORK, -ETIMEDOUT,
				   "what listens there says nothing: it is no page "
				   "server of ckpt, or waits for another dump");
}

static int dump_to_server(struct ckpt_tool *t, struct ckpt_dump_opts *opts, const char *doing)
{
	struct ckpt_page_server server = { .fd = -1 };
	uint64_t until = ckpt_now_ns() + GREETING_NS;
	struct ckpt_talk talk = { .go_on = still_patient, .go_on_arg = &until };
	int r;

	CKPT_FD fd = ckpt_net_connect(t, &server.name);
	if (fd < 0)
		return fd;
	server.fd = talk.to = talk.from = fd;
	talk.where = server.name;
	r = ckpt_server_greet(&talk, &t->err);
	if (r < 0)
		return r;
	opts->server = &server;
	return ckpt_tool_dump(t, opts, doing, NULL);
}

struct lending {
	struct ckpt_tool *t;
	struct ckpt_listener listener;
	bool said;
};

/* The image is there, and may be copied to where it is restored. */
static int accept_one(void *arg, int (*go_on)(void *arg, struct ckpt_err *err), void *go_on_arg,
		      const char **namep, struct ckpt_err *err)
{
	struct lending *l = arg;
	int r;

	ckpt_bar_end(l->t);
	r = l->said ? 0 : ckpt_net_ready(l->t, &l->listener);
	l->said = true;
	if (r < 0) {
		*err = l->t->err;
		return r;
	}
	r = ckpt_net_accept(&l->listener, go_on, go_on_arg, namep, l->t->arena, err);
	ckpt_bar_begin(l->t, "lending");
	return r;
}

/* Who goes on cannot be somewhere else, and who goes elsewhere has no next image here. */
static int dump_lazily(struct ckpt_tool *t, struct ckpt_dump_opts *opts)
{
	struct lending lending = { .t = t };
	struct ckpt_lend lend = { accept_one, &lending, opts->compress };
	struct ckpt_page_server self = { .fd = -1 };
	int r;

	if (opts->leave_running || opts->leave_stopped || opts->track_mem)
		return ckpt_refuse(&t->err, CKPT_E_USAGE, -EINVAL,
				   "--lazy-pages: not with -R, -s or --track-mem: the tree moves");
	r = ckpt_net_listen(t, &lending.listener);
	if (r < 0)
		return r;
	self.name = lending.listener.name;
	opts->server = &self;
	opts->lend = &lend;
	r = ckpt_tool_dump(t, opts, "dumping", NULL);
	ckpt_net_close(&lending.listener);
	return r;
}

/* To the page server, if one is wanted. */
static int dump_to(struct ckpt_tool *t, struct ckpt_dump_opts *opts, const char *doing)
{
	bool lazy = t->opts.lazy_pages, far = t->opts.page_server;
	int r = ckpt_net_check(t, lazy, lazy || far);

	if (r < 0)
		return r;
	signal(SIGPIPE, SIG_IGN); /* who went away is an error of write(2) */
	return lazy ? dump_lazily(t, opts) :
	       far  ? dump_to_server(t, opts, doing) :
		      ckpt_tool_dump(t, opts, doing, NULL);
}

/* There is an image: what fails afterwards is no failure of the dump. */
static int dump_and_free(struct ckpt_tool *t, struct ckpt_dump_opts *opts, const char *doing)
{
	char sentence[1400], note[1500];
	const char *const notes[] = { note };
	int r = dump_to(t, opts, doing);

	if (r < 0 || !t->opts.auto_dedup || !opts->prev_dir || ckpt_tool_dedup(t) >= 0)
		return r;
	ckpt_err_sentence(&t->err, sentence, sizeof(sentence));
	snprintf(note, sizeof(note), "--auto-dedup: %s", sentence);
	ckpt_report_notes(notes, 1);
	t->err = (struct ckpt_err)CKPT_ERR_INIT;
	return 0;
}

int ckpt_cmd_dump(struct ckpt_tool *t)
{
	struct ckpt_dump_opts opts = ckpt_tool_dump_opts(t);

	if (opts.copies && !opts.leave_running)
		return ckpt_fail(
			&t->err, -EINVAL,
			"--max-freeze-action copy: needs -R: who is to end may as well stand still");
	return dump_and_free(t, &opts, "dumping");
}

int ckpt_cmd_pre_dump(struct ckpt_tool *t)
{
	struct ckpt_dump_opts opts = {
		.pid = t->opts.tree,
		.dirfd = t->dirfd,
		.dir = t->opts.images_dir,
		.memory_only = true,
		.prev_dir = t->opts.prev_images_dir,
		.track_mem = true,
		.track_timeout_s = t->opts.track_timeout,
		.timeout_s = t->opts.timeout,
		.log = &t->log,
	};

	return dump_and_free(t, &opts, "dumping memory");
}
