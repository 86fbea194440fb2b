/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Before "go" the tree is let go of, but stopped: the death of ckpt from then on neither lets it
 * run while it runs at the other side, nor ends it while it does not.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "injector/handover.h"

#define READY "ready"
#define GO "go"
#define RUNNING "running"
#define FAILED "failed"
#define WORD_MAX 16
#define WAIT_MS 100
#define DEATH_MS 10000

/* ---- words ---- */

static int say(int fd, const char *word)
{
	char line[WORD_MAX];
	int n = snprintf(line, sizeof(line), "%s\n", word);
	ssize_t done;

	do
		done = write(fd, line, n); /* less than a pipe takes at once */
	while (done < 0 && (errno == EINTR || (errno == EAGAIN && poll(NULL, 0, 1) == 0)));
	return done == n ? 0 : -EPIPE;
}

static int gone(const struct ckpt_handover *h, struct ckpt_err *err)
{
	return ckpt_refuse(err, CKPT_E_OTHER_SIDE, -EPIPE, "%s: the connection ended", h->where);
}

/* Reads a line into WORD. */
static int hear(const struct ckpt_handover *h, char *word,
		int (*go_on)(void *arg, struct ckpt_err *err), void *arg, struct ckpt_err *err)
{
	struct pollfd there = { .fd = h->from, .events = POLLIN };
	size_t n = 0;

	for (;;) {
		int r = go_on ? go_on(arg, err) : 0;
		ssize_t got;

		if (r < 0)
			return r;
		if (poll(&there, 1, WAIT_MS) <= 0)
			continue;
		got = read(h->from, word + n, 1);
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got <= 0)
			return gone(h, err);
		if (word[n] == '\n')
			break;
		if (++n == WORD_MAX)
			return ckpt_refuse(err, CKPT_E_OTHER_SIDE, -EPROTO,
					   "%s: it says what ckpt does not", h->where);
	}
	word[n] = 0;
	return 0;
}

/* 0: it said WORD. */
static int expect(const struct ckpt_handover *h, const char *word,
		  int (*go_on)(void *arg, struct ckpt_err *err), void *arg, bool *failedp,
		  struct ckpt_err *err)
{
	char heard[WORD_MAX + 1];
	int r = hear(h, heard, go_on, arg, err);

	if (r < 0 || !strcmp(heard, word))
		return r;
	*failedp = !strcmp(heard, FAILED);
	if (*failedp)
		return ckpt_refuse(err, CKPT_E_OTHER_SIDE, -ECANCELED,
				   "%s: it could not be restored there", h->where);
	return ckpt_refuse(err, CKPT_E_OTHER_SIDE, -EPROTO, "%s: it says what ckpt does not",
			   h->where);
}

/* ---- the side that it leaves ---- */

/* Numbers of processes that are stopped may go to others when they are killed by somebody. */
static int hold(const struct ckpt_snapshot *snap, int *held, struct ckpt_err *err)
{
	for (size_t i = 0; i < snap->n_tasks; i++) {
		if (snap->tasks[i]->run_state == CKPT_ZOMBIE)
			continue;
		held[i] = pidfd_open(snap->tasks[i]->pid, 0);
		if (held[i] < 0)
			return ckpt_fail(err, -errno, "process %d: cannot hold it",
					 snap->tasks[i]->pid);
	}
	return 0;
}

static void give_back(const struct ckpt_snapshot *snap, int *held)
{
	for (size_t i = 0; i < snap->n_tasks; i++)
		ckpt_close_fd(&held[i]);
}

static void let_run(const struct ckpt_snapshot *snap, const int *held)
{
	for (size_t i = 0; i < snap->n_tasks; i++)
		if (held[i] >= 0 && snap->tasks[i]->run_state != CKPT_STOPPED)
			pidfd_send_signal(held[i], SIGCONT, NULL, 0);
}

static void end(const struct ckpt_snapshot *snap, const int *held)
{
	for (size_t i = 0; i < snap->n_tasks; i++)
		if (held[i] >= 0)
			pidfd_send_signal(held[i], SIGKILL, NULL, 0);
	for (size_t i = 0; i < snap->n_tasks; i++) {
		struct pollfd dead = { .fd = held[i], .events = POLLIN };

		if (held[i] >= 0)
			poll(&dead, 1, DEATH_MS);
	}
}

static int unsure(const struct ckpt_handover *h, const struct ckpt_snapshot *snap,
		  struct ckpt_err *err)
{
	struct ckpt_err why = *err;

	*err = (struct ckpt_err)CKPT_ERR_INIT;
	return ckpt_refuse(err, CKPT_E_BETWEEN, -EPIPE,
			   "%s; nobody knows whether process %d runs there, here it stays stopped",
			   why.text[0] ? why.text : h->where, snap->tasks[0]->pid);
}

static int go_there(const struct ckpt_handover *h, struct ckpt_source *src,
		    const struct ckpt_snapshot *snap, const int *held,
		    int (*go_on)(void *arg, struct ckpt_err *err), void *arg, struct ckpt_err *err)
{
	bool failed = false; /* it did, or never heard that it may */
	int r = src->ops->stop(src, err);

	if (r < 0)
		return r;
	r = say(h->to, GO);
	failed = r < 0;
	if (r >= 0)
		r = expect(h, RUNNING, go_on, arg, &failed, err);
	else
		gone(h, err);
	if (r >= 0)
		end(snap, held);
	else if (failed)
		let_run(snap, held);
	else
		r = unsure(h, snap, err);
	return r;
}

int ckpt_handover_leave(const struct ckpt_handover *h, struct ckpt_source *src,
			const struct ckpt_snapshot *snap,
			int (*go_on)(void *arg, struct ckpt_err *err), void *arg,
			struct ckpt_err *err)
{
	CKPT_FREE int *held = malloc(snap->n_tasks * sizeof(*held));
	bool failed;
	int r = held ? 0 : ckpt_fail(err, -ENOMEM, "cannot hold processes");

	if (r < 0)
		return r;
	memset(held, 0xff, snap->n_tasks * sizeof(*held));
	r = expect(h, READY, go_on, arg, &failed, err);
	if (r >= 0)
		r = hold(snap, held, err);
	if (r >= 0)
		r = go_there(h, src, snap, held, go_on, arg, err);
	give_back(snap, held);
	return r;
}

/* ---- the side that it comes to ---- */

int ckpt_handover_arrive(struct ckpt_handover *h, struct ckpt_err *err)
{
	bool failed;

	if (say(h->to, READY) < 0)
		return gone(h, err);
	return expect(h, GO, NULL, NULL, &failed, err);
}

void ckpt_handover_answer(struct ckpt_handover *h, bool runs)
{
	if (!h->answered)
		say(h->to, runs ? RUNNING : FAILED);
	h->answered = true;
}
