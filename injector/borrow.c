/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One loop over three sockets: the machine that lends, the restore (words of the handover), and who
 * fills memory (chunks). Only chunks that were asked for are taken, with the checksum that the
 * image has for them, and each once: what was said to be there never changes.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/progress.h"
#include "engine/base/words.h"
#include "engine/store/image-inside.h"
#include "engine/store/lent.h"
#include "engine/store/stream.h"
#include "injector/borrow.h"
#include "injector/lend.h"

#define WAIT_MS 100
#define AHEAD 2 /* chunks that are on their way without having been asked for */

enum chunk_state { AWAY, ASKED, WAITED_FOR, HERE };

struct borrowing {
	const struct ckpt_borrow *opts;
	struct ckpt_talk talk;    /* with the server */
	struct ckpt_received got; /* PAGES_FD: the file */
	struct ckpt_receive_opts how;
	struct ckpt_stream_in *in;
	unsigned char *state; /* of each chunk */
	uint64_t n, left;     /* chunks, and those below LEFT may be away */
	unsigned int on_way;
	int control, socket; /* of the restore; -1: closed */
	bool ready, go, running, done;
	struct ckpt_err *err;
};

/* ---- the server ---- */

static int meet_server(struct borrowing *b)
{
	char id[CKPT_WORD_MAX + 1], want[CKPT_WORD_MAX + 1];
	bool failed;
	int r = ckpt_word_expect(&b->talk, CKPT_GIVES, &failed, b->err);

	if (r >= 0)
		r = ckpt_word_hear(&b->talk, id, b->err);
	if (r < 0)
		return r;
	snprintf(want, sizeof(want), "%016llx",
		 (unsigned long long)ckpt_image_content_id(b->opts->img));
	return strcmp(id, want) ? ckpt_refuse(b->err, CKPT_E_OTHER_SIDE, -ESTALE,
					      "%s: it lends image %s, but %s is image %s",
					      b->talk.where, id, b->opts->img->image_path, want) :
				  0;
}

static bool wanted(void *arg, uint64_t chunk, uint32_t sum)
{
	const struct borrowing *b = arg;

	return chunk < b->n && (b->state[chunk] == ASKED || b->state[chunk] == WAITED_FOR) &&
	       sum == b->opts->img->crc[chunk];
}

static int ask(struct borrowing *b, uint64_t chunk, enum chunk_state as)
{
	char word[CKPT_WORD_MAX + 1];
	bool asked = b->state[chunk] == ASKED;

	b->state[chunk] = as;
	if (asked)
		return 0;
	b->on_way++;
	snprintf(word, sizeof(word), "get %u", (unsigned int)chunk);
	return ckpt_word_say(&b->talk, word, b->err);
}

/* From the back, as memory is filled. */
static int ask_ahead(struct borrowing *b)
{
	int r = 0;

	while (r >= 0 && b->on_way < AHEAD && b->left)
		if (b->state[--b->left] == AWAY)
			r = ask(b, b->left, ASKED);
	return r;
}

static int hear_server(struct borrowing *b)
{
	uint64_t chunk = 0;
	bool waited;
	int r = ckpt_stream_in_next(b->in, &chunk, b->err);

	if (r < 0)
		return r;
	if (r > 0 && (!b->ready || b->go))
		return ckpt_word_strange(&b->talk, b->err);
	if (r > 0) {
		const struct ckpt_talk restore = { b->control, b->control, "the restore" };

		b->go = true;
		return ckpt_word_say(&restore, "go", b->err);
	}
	waited = b->state[chunk] == WAITED_FOR;
	b->state[chunk] = HERE;
	b->on_way--;
	ckpt_progress_add(ckpt_arena_progress(b->opts->img->arena), CKPT_CHUNK);
	if (waited) /* who does not hear it any more is noticed when it is listened to */
		ckpt_lent_say(b->socket, CKPT_LENT_HAVE, chunk, NULL);
	return 0;
}

/* ---- the restore ---- */

/* Without the server nothing can be restored any more. */
static int is_worth_it(void *arg, struct ckpt_err *err)
{
	const struct borrowing *b = arg;
	char c;

	if (b->talk.from >= 0 && recv(b->talk.from, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
		return ckpt_refuse(err, CKPT_E_OTHER_SIDE, -EPIPE, "%s: the connection ended",
				   b->talk.where);
	return b->opts->go_on(b->opts->arg, err);
}

static int meet_restore(struct borrowing *b)
{
	int ends[2], r;

	b->control = b->opts->accept(b->opts->arg, is_worth_it, b, b->err);
	if (b->control < 0)
		return b->control;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return ckpt_fail(b->err, -errno, "cannot make a socket");
	b->socket = ends[0];
	ckpt_progress_begin(ckpt_arena_progress(b->opts->img->arena), NULL, b->n * CKPT_CHUNK);
	r = ckpt_lent_greet(b->control, ckpt_image_content_id(b->opts->img), ends[1],
			    b->talk.to < 0 ? -1 : b->got.pages_fd, b->err);
	close(ends[1]);
	return r;
}

static void part(struct borrowing *b)
{
	ckpt_close_fd(&b->control);
	ckpt_close_fd(&b->socket);
	b->control = b->socket = -1;
	b->ready = false;
	for (uint64_t i = 0; b->state && i < b->n; i++)
		b->state[i] = b->state[i] == WAITED_FOR ? ASKED : b->state[i];
}

static int pass_on(struct borrowing *b, const char *word)
{
	return b->talk.to < 0 ? 0 : ckpt_word_say(&b->talk, word, b->err);
}

/* Before it was told to go it is gone without harm, and another one may come. */
static int restore_failed(struct borrowing *b)
{
	if (!b->ready) {
		part(b);
		return meet_restore(b);
	}
	pass_on(b, CKPT_WORD_FAILED);
	return b->err->code ?
		       b->err->code :
		       ckpt_refuse(b->err, CKPT_E_OTHER_SIDE, -ECANCELED, "the restore has failed");
}

static int hear_restore(struct borrowing *b)
{
	const struct ckpt_talk talk = { b->control, b->control, "the restore" };
	struct ckpt_err ended = CKPT_ERR_INIT;
	char word[CKPT_WORD_MAX + 1];

	if (ckpt_word_hear(&talk, word, &ended) < 0) {
		ckpt_close_fd(&b->control);
		b->control = -1;
		if (b->running)
			return 0;
		if (b->go) { /* it may run, or not */
			*b->err = ended;
			return b->err->code;
		}
		return restore_failed(b);
	}
	if (!strcmp(word, CKPT_WORD_FAILED))
		return restore_failed(b);
	if (!strcmp(word, "ready") && !b->ready) {
		b->ready = true;
		b->go = b->talk.to < 0;
		return b->go ? ckpt_word_say(&talk, "go", b->err) : pass_on(b, word);
	}
	if (!strcmp(word, "running") && b->go) {
		b->running = true;
		return pass_on(b, word);
	}
	return ckpt_word_strange(&talk, b->err);
}

static int want(struct borrowing *b, uint64_t chunk)
{
	if (b->state[chunk] == HERE)
		ckpt_lent_say(b->socket, CKPT_LENT_HAVE, chunk, NULL);
	else if (b->state[chunk] != WAITED_FOR)
		return ask(b, chunk, WAITED_FOR);
	return 0;
}

static int hear_filler(struct borrowing *b)
{
	struct ckpt_lent_note note;
	ssize_t n = recv(b->socket, &note, sizeof(note), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n == sizeof(note) && note.what == CKPT_LENT_GET && note.chunk < b->n && b->talk.to >= 0)
		return want(b, note.chunk);
	b->done = n == sizeof(note) && note.what == CKPT_LENT_DONE;
	if (b->done || !b->go) {
		ckpt_close_fd(&b->socket);
		b->socket = -1;
		return 0; /* what becomes of it is heard from the restore */
	}
	note.text[sizeof(note.text) - 1] = 0;
	return ckpt_refuse(b->err, CKPT_E_OTHER_SIDE, -ECANCELED,
			   "the restored tree was ended before it had all of its memory%s%s",
			   n == sizeof(note) ? ": " : "", n == sizeof(note) ? note.text : "");
}

/* ---- */

static int step(struct borrowing *b)
{
	struct pollfd p[] = { { b->talk.from, POLLIN, 0 },
			      { b->control, POLLIN, 0 },
			      { b->socket, POLLIN, 0 } };
	int r = b->opts->go_on(b->opts->arg, b->err);

	if (r >= 0 && b->talk.to >= 0)
		r = ask_ahead(b);
	if (r < 0 || poll(p, 3, WAIT_MS) <= 0)
		return r;
	if (p[0].revents)
		r = hear_server(b);
	if (r >= 0 && p[2].revents)
		r = hear_filler(b);
	if (r >= 0 && p[1].revents)
		r = hear_restore(b);
	return r;
}

static int open_file(struct borrowing *b)
{
	const struct ckpt_image *img = b->opts->img;

	b->n = b->left = img->n_crc;
	b->state = calloc(b->n + 1, 1);
	b->got.pages_fd = memfd_create("ckpt-pages", MFD_CLOEXEC);
	if (!b->state || b->got.pages_fd < 0 || ftruncate(b->got.pages_fd, img->pages_size) < 0)
		return ckpt_fail(b->err, -ENOMEM, "no memory for pages");
	b->in = ckpt_stream_in_open(&b->got, b->talk.from, b->talk.where, &b->how, b->err);
	return b->in ? 0 : b->err->code;
}

/* We have failed, and the restore notices: who fills memory says why it ends the tree. If it did
 * not run yet, the one that it comes from may go on. */
static void tell_failure(struct borrowing *b)
{
	const struct ckpt_talk talk = { b->control, b->control, "the restore", b->opts->go_on,
					b->opts->arg };
	struct ckpt_err ignored = CKPT_ERR_INIT;
	char word[CKPT_WORD_MAX + 1];

	if (b->socket >= 0)
		ckpt_lent_say(b->socket, CKPT_LENT_FAILED, 0, b->err);
	if (b->go && !b->running && b->control >= 0 && b->talk.to >= 0 &&
	    ckpt_word_hear(&talk, word, &ignored) >= 0 && !strcmp(word, CKPT_WORD_FAILED))
		ckpt_word_say(&b->talk, word, &ignored);
}

int ckpt_borrow_run(const struct ckpt_borrow *opts, struct ckpt_err *err)
{
	struct borrowing b = { .opts = opts,
			       .talk = { opts->server, opts->server, opts->server_name, opts->go_on,
					 opts->arg },
			       .control = -1,
			       .socket = -1,
			       .err = err };
	int r;

	b.how = (struct ckpt_receive_opts){ .keep = true,
					    .wanted = wanted,
					    .wanted_arg = &b,
					    .go_on = opts->go_on,
					    .go_on_arg = opts->arg };
	b.got.image_fd = -1;
	r = open_file(&b);
	if (r >= 0 && opts->server >= 0)
		r = meet_server(&b);
	if (r >= 0)
		r = meet_restore(&b);
	while (r >= 0 && !(b.done && b.running))
		r = step(&b);
	if (r >= 0)
		r = pass_on(&b, "done");
	else
		tell_failure(&b);
	part(&b);
	ckpt_stream_in_close(b.in);
	ckpt_received_close(&b.got);
	free(b.state);
	return r;
}
