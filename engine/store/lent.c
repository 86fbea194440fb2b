/* SPDX-License-Identifier: Apache-2.0 */
/* Asking for pages that are lent. One who was killed may have left an answer behind. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/progress.h"
#include "engine/store/image.h"
#include "engine/store/image-inside.h"
#include "engine/store/lent.h"

#define AT_ONCE 16 /* chunks that are asked for before the first answer */

int ckpt_lent_say(int socket, enum ckpt_lent_what what, uint64_t chunk, const struct ckpt_err *why)
{
	struct ckpt_lent_note note = { .what = what, .chunk = chunk };

	if (why) {
		note.number = why->number;
		snprintf(note.text, sizeof(note.text), "%.*s", (int)sizeof(note.text) - 1,
			 why->text);
	}
	return send(socket, &note, sizeof(note), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int ended(struct ckpt_err *err)
{
	return ckpt_refuse(err, CKPT_E_LENDER, -EPIPE,
			   "ckpt lazy-pages, which brings the memory, has ended");
}

/* ---- the greeting ---- */

#define MOST_FDS 2

struct greeting {
	struct ckpt_lent_hello hello;
	char room[CMSG_SPACE(MOST_FDS * sizeof(int))] __attribute__((aligned(8)));
	struct iovec iov;
	struct msghdr msg;
};

static void init_greeting(struct greeting *g, size_t n_fds)
{
	memset(g, 0, sizeof(*g));
	g->iov = (struct iovec){ &g->hello, sizeof(g->hello) };
	g->msg = (struct msghdr){ .msg_iov = &g->iov,
				  .msg_iovlen = 1,
				  .msg_control = g->room,
				  .msg_controllen = CMSG_SPACE(n_fds * sizeof(int)) };
}

int ckpt_lent_greet(int control, uint64_t content_id, int socket, int pages_fd,
		    struct ckpt_err *err)
{
	const int fds[MOST_FDS] = { socket, pages_fd };
	size_t n = pages_fd < 0 ? 1 : 2;
	struct greeting g;
	struct cmsghdr *c;

	init_greeting(&g, n);
	g.hello.content_id = content_id;
	memcpy(g.hello.magic, CKPT_LENT_MAGIC, sizeof(g.hello.magic));
	c = CMSG_FIRSTHDR(&g.msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	return sendmsg(control, &g.msg, MSG_NOSIGNAL) < 0 ?
		       ckpt_fail(err, -errno, "cannot greet who restores") :
		       0;
}

/* Descriptors of whoever it is are closed, or given. */
static size_t take_fds(struct greeting *g, int fds[MOST_FDS])
{
	struct cmsghdr *c = CMSG_FIRSTHDR(&g->msg);
	size_t n;

	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
		return 0;
	n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	n = n < MOST_FDS ? n : MOST_FDS;
	memcpy(fds, CMSG_DATA(c), n * sizeof(int));
	return n;
}

int ckpt_image_open_from(struct ckpt_image **imgp, struct ckpt_arena *arena, int dirfd,
			 const char *dir, int control, struct ckpt_err *err)
{
	int fds[MOST_FDS] = { -1, -1 }, r;
	struct greeting g;
	ssize_t n;

	init_greeting(&g, MOST_FDS);
	n = recvmsg(control, &g.msg, MSG_CMSG_CLOEXEC);
	if (n <= 0)
		return ended(err);
	if (!take_fds(&g, fds) || n != sizeof(g.hello) ||
	    memcmp(g.hello.magic, CKPT_LENT_MAGIC, sizeof(g.hello.magic)))
		r = ckpt_refuse(err, CKPT_E_LENDER, -EBADMSG, "what listens is no ckpt lazy-pages");
	else
		r = ckpt_image_open_lent(imgp, arena, dirfd, dir, fds, err);
	if (r >= 0 && ckpt_image_content_id(*imgp) != g.hello.content_id)
		r = ckpt_refuse(err, CKPT_E_LENDER, -EBADMSG,
				"%s: ckpt lazy-pages brings the memory of another image", dir);
	for (int i = 0; i < MOST_FDS; i++)
		ckpt_close_fd(&fds[i]);
	return r;
}

/* ---- chunks: their numbers here are those of the image's own pages ---- */

static int ask(const struct ckpt_image *img, uint64_t chunk, struct ckpt_err *err)
{
	return ckpt_lent_say(img->lent, CKPT_LENT_GET, chunk, NULL) < 0 ? ended(err) : 0;
}

/* Returns the number of a chunk that is there. */
static int64_t hear(const struct ckpt_image *img, struct ckpt_err *err)
{
	struct ckpt_lent_note note;
	ssize_t n;

	do
		n = recv(img->lent, &note, sizeof(note), 0);
	while (n < 0 && errno == EINTR);
	if (n != sizeof(note))
		return ended(err);
	note.text[sizeof(note.text) - 1] = 0;
	if (note.what == CKPT_LENT_HAVE && note.chunk < img->n_crc)
		return note.chunk;
	return ckpt_refuse(err, note.number ? (enum ckpt_code)note.number : CKPT_E_LENDER, -EIO,
			   "ckpt lazy-pages: %s", note.text);
}

int ckpt_image_fetch(const struct ckpt_image *img, uint64_t chunk, struct ckpt_err *err)
{
	const uint64_t first = img->base / CKPT_CHUNK;
	int64_t there = -1, own = chunk - first;
	int r;

	if (img->lent < 0 || chunk < first)
		return 0;
	r = ask(img, own, err);
	while (r >= 0 && there != own) {
		there = hear(img, err);
		r = there < 0 ? (int)there : 0;
	}
	return r;
}

int ckpt_image_fetch_all(const struct ckpt_image *img, const bool *which, struct ckpt_err *err)
{
	struct ckpt_progress *progress = ckpt_arena_progress(img->arena);
	const uint64_t first = img->base / CKPT_CHUNK;
	uint64_t n = 0;
	unsigned int asked = 0;
	int64_t r = 0;

	for (uint64_t i = 0; img->lent >= 0 && i < img->n_crc; i++)
		n += which[first + i];
	ckpt_progress_begin(progress, "receiving", n * CKPT_CHUNK);
	for (uint64_t i = 0; img->lent >= 0 && i < img->n_crc && r >= 0; i++) {
		if (!which[first + i])
			continue;
		r = ask(img, i, err);
		if (r >= 0 && ++asked > AT_ONCE) {
			r = hear(img, err);
			asked--;
			ckpt_progress_add(progress, CKPT_CHUNK);
		}
	}
	for (; asked && r >= 0; asked--) {
		r = hear(img, err);
		ckpt_progress_add(progress, CKPT_CHUNK);
	}
	return r < 0 ? (int)r : 0;
}

bool ckpt_image_is_lent(const struct ckpt_image *img)
{
	return img->lent >= 0;
}

int ckpt_image_lender(const struct ckpt_image *img)
{
	return img->lender;
}

void ckpt_image_give_back(const struct ckpt_image *img, const struct ckpt_err *why)
{
	if (img->lender >= 0)
		ckpt_lent_say(img->lender, why ? CKPT_LENT_FAILED : CKPT_LENT_DONE, 0, why);
}
